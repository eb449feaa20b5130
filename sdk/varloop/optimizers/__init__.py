"""Optimizers by ask and tell, with state that is plain data. Numbers only: no circuits, no I/O, no clock.

| name | each iteration measures | for |
|---|---|---|
| spsa | 2 points, whatever the number of parameters | shot noise, many parameters |
| adam, gradient-descent | 1 point and its gradient | few parameters, exact or many shots |
| rotosolve | 3 points along one parameter | rotations that each have a parameter of their own |
| cobyla | 1 point (replay of SciPy's) | few parameters, little noise, no gradient |
| l-bfgs-b | 1 point and its gradient (replay of SciPy's) | exact runs to full precision |

An optimizer of your own satisfies :class:`Optimizer`; a minimizer of your own becomes one with
:class:`varloop.optimizers.replay.Replay`. A spec can name it if your package has an entry point of the group
``varloop.optimizers``: its name leads to a module with ``Options``, a frozen msgspec.Struct that refuses unknown fields,
and ``create(options, seed)``. It has to be installed wherever the functions are.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import msgspec

from varloop.errors import SpecError
from varloop.evaluation import Evaluation
from varloop.optimizers import options as _options
from varloop.optimizers.protocol import Ask, Optimizer, State
from varloop.spec import OptimizerSpec, converted

__all__ = ["NAMES", "Ask", "Evaluation", "Optimizer", "State", "create", "faults"]

GROUP = "varloop.optimizers"
NAMES = ("spsa", "adam", "gradient-descent", "rotosolve", "cobyla", "l-bfgs-b")


def create(spec: OptimizerSpec, seed: int) -> Optimizer:
    """The optimizer of a spec.

    :param seed: of the run, ≥ 0; all randomness derives from it and the iteration counter in the state.
    :raises SpecError: if the name or the options have faults.
    """
    module: Any = None
    options = None
    with suppress(ImportError, msgspec.ValidationError):  # faults tells all of them
        module = _module(spec.name)
        options = module and converted(spec.options, module.Options)
    if options is None:
        raise SpecError(faults({"optimizer": spec}))
    optimizer: Optimizer = module.create(options, seed)
    return optimizer


def faults(parts: dict[str, Any]) -> list[str]:
    """Every fault of a spec's optimizer, of its options and of what it needs (a :data:`varloop.spec.Check`)."""
    spec = parts.get("optimizer")
    if spec is None:
        return []
    try:
        module = _module(spec.name)
    except ImportError as error:
        return [f"optimizer.name: {spec.name} is installed but cannot be imported: {error}"]
    if module is None:
        known = ", ".join((*NAMES, *sorted(entry_points(group=GROUP).names - {*NAMES})))
        return [f"optimizer.name: got {spec.name!r}, expected one of {known}"]
    found = [f"optimizer.options.{fault}" for fault in _options.faults(module.Options, spec.options)]
    if parts.get("gradient") == "none" and create(OptimizerSpec(name=spec.name), 0).needs_gradient:
        found.append(f"gradient: none, but {spec.name} needs one; expected auto")
    if parts.get("shots") is not None and getattr(module, "EXACT_ONLY", False):
        found.append(f"optimizer.name: {spec.name} expects exact values; with shots take spsa or adam")
    return found


@lru_cache(maxsize=64)
def _module(name: str) -> Any:
    """The module of an optimizer: it has ``Options`` and ``create(options, seed)``. None if there is none of this name.

    varloop's own come first: an installed package does not change what their names mean.
    """
    if name in NAMES:
        return import_module(f"{__name__}.{name.replace('-', '_')}")
    return next((point.load() for point in entry_points(group=GROUP, name=name)), None)
