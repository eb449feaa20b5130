"""Optimizers by ask and tell, with state that is plain data. Numbers only: no circuits, no I/O, no clock.

| name | each iteration measures | for |
|---|---|---|
| spsa | 2 points, whatever the number of parameters | shot noise, many parameters |
| adam, gradient-descent | 1 point and its gradient | few parameters, exact or many shots |
| rotosolve | 3 points along one parameter | rotations that each have a parameter of their own |
| cobyla | 1 point (replay of SciPy's) | few parameters, little noise, no gradient |
| l-bfgs-b | 1 point and its gradient (replay of SciPy's) | exact runs to full precision |

An optimizer of your own satisfies :class:`Optimizer`; a minimizer of your own becomes one with
:class:`varloop.optimizers.replay.Replay`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import msgspec

from varloop.errors import SpecError
from varloop.evaluation import Evaluation
from varloop.optimizers import options as _options
from varloop.optimizers.protocol import Ask, Optimizer, State
from varloop.spec import OptimizerSpec

__all__ = ["NAMES", "Ask", "Evaluation", "Optimizer", "State", "create", "faults"]

NAMES = ("spsa", "adam", "gradient-descent", "rotosolve", "cobyla", "l-bfgs-b")


def create(spec: OptimizerSpec, seed: int) -> Optimizer:
    """The optimizer of a spec.

    :param seed: of the run, ≥ 0; all randomness derives from it and the iteration counter in the state.
    :raises SpecError: if the name or the options have faults.
    """
    if spec.name in NAMES:
        module = _module(spec.name)
        try:
            optimizer: Optimizer = module.create(msgspec.convert(spec.options, module.Options), seed)
        except msgspec.ValidationError:
            pass  # it names the first fault only
        else:
            return optimizer
    raise SpecError(faults({"optimizer": spec}))


def faults(parts: dict[str, Any]) -> list[str]:
    """Every fault of a spec's optimizer, of its options and of what it needs (a :data:`varloop.spec.Check`)."""
    spec = parts.get("optimizer")
    if spec is None:
        return []
    if spec.name not in NAMES:
        return [f"optimizer.name: got {spec.name!r}, expected one of {', '.join(NAMES)}"]
    found = [
        f"optimizer.options.{fault}" for fault in _options.faults(_module(spec.name).Options, spec.options)
    ]
    if parts.get("gradient") == "none" and create(OptimizerSpec(name=spec.name), 0).needs_gradient:
        found.append(f"gradient: none, but {spec.name} needs one; expected auto")
    return found


def _module(name: str) -> Any:
    """The module of an optimizer: it has ``Options`` and ``create(options, seed)``."""
    return import_module(f"{__name__}.{name.replace('-', '_')}")
