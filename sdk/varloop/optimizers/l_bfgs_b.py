"""L-BFGS by replay of SciPy's L-BFGS-B, without bounds: curvature from the latest gradients.

R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, *A Limited Memory Algorithm for Bound Constrained Optimization*, SIAM
Journal on Scientific Computing 16 (1995) 1190. Its line search expects exact values: not for shot noise.

A process that takes over a run replays it in some 0.02 ms per recorded value, once. On a busy machine set OPENBLAS_NUM_THREADS=1: the solves are tiny,
and waiting for threads makes them a hundred times slower.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec

from varloop.optimizers import options as _options
from varloop.optimizers.replay import UNLIMITED, Minimize, Replay

__all__ = ["Options", "create"]


EXACT_ONLY = True
"""its line search takes noise for curvature: a spec with shots is refused"""


class Options(_options.Options, frozen=True):
    """Options of L-BFGS-B."""

    memory: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    """steps whose gradients are kept (SciPy's ``maxcor`` and its default)"""
    gradient_tolerance: _options.NotNegative = 1e-5
    """units of the gradient: ends the run when no component is larger (SciPy's ``gtol`` and its default)"""
    value_tolerance: _options.NotNegative = 2.220446049250313e-09
    """share of the value: ends the run when a step improves by less (SciPy's ``ftol`` and its default)"""


def create(options: Options, seed: int) -> Replay:
    """L-BFGS-B uses no randomness; the seed changes nothing."""
    return Replay(partial(_minimize, options), gradient=True, name="l-bfgs-b", key=options)


def _minimize(options: Options, fun: Minimize, x0: Any, jac: Minimize) -> Any:
    from scipy.optimize import minimize

    limits = {
        "maxcor": options.memory,
        "gtol": options.gradient_tolerance,
        "ftol": options.value_tolerance,
        "maxiter": UNLIMITED,
        "maxfun": UNLIMITED,
    }
    return minimize(fun, x0, method="L-BFGS-B", jac=jac, options=limits)
