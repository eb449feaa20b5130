"""COBYLA by replay of SciPy's: linear models in a shrinking trust region, without gradients.

M. J. D. Powell, *A direct search optimization method that models the objective and constraint functions by
linear interpolation*, 1994.

SciPy's code is Python since 1.16: a process that takes over a run replays it in just under a millisecond per recorded
value, once.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from varloop.optimizers import options as _options
from varloop.optimizers.replay import UNLIMITED, Minimize, Replay

__all__ = ["Options", "create"]


class Options(_options.Options, frozen=True):
    """Options of COBYLA."""

    first_step: _options.Positive = 1.0
    """radians: size of the first trust region (SciPy's ``rhobeg`` and its default)"""
    tolerance: _options.Positive = 1e-4
    """radians: size of the trust region that ends the run (SciPy's ``tol`` and its default)"""

    def __post_init__(self) -> None:
        if self.tolerance > self.first_step:
            raise ValueError(
                f"tolerance: {self.tolerance} is more than first_step, {self.first_step}; "
                "the trust region only shrinks"
            )


def create(options: Options, seed: int) -> Replay:
    """COBYLA uses no randomness; the seed changes nothing."""
    return Replay(partial(_minimize, options), name="cobyla", key=options)


def _minimize(options: Options, fun: Minimize, x0: Any) -> Any:
    from scipy.optimize import minimize

    limits = {"rhobeg": options.first_step, "maxiter": UNLIMITED}
    return minimize(fun, x0, method="COBYLA", tol=options.tolerance, options=limits)
