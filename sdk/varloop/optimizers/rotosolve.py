"""Rotosolve: jumps to the exact minimum along one parameter after the other.

M. Ostaszewski, E. Grant, M. Benedetti, *Structure optimization for parameterized quantum circuits*,
Quantum 5, 391 (2021), algorithm 1.

Assumes that the objective along each parameter is A·cos φ + B·sin φ + C. That holds for an expectation
value if each parameter is the angle, unscaled, of one rotation exp(−iφP/2), P² = 1 (RX, RY, RZ, RXX, RYY,
RZZ, RZX), or of one P or U angle. It fails for a parameter that several gates share (QAOA), for controlled
rotations, for scaled angles and for CVaR objectives: such a spec is refused.
"""

from __future__ import annotations

from math import atan2, hypot, pi

from varloop.evaluation import Evaluation
from varloop.optimizers import checks
from varloop.optimizers import options as _options
from varloop.optimizers.protocol import Ask, State

__all__ = ["Options", "Rotosolve", "create"]

FLAT = 1e-12
"""amplitudes below this share of the values are rounding: there is no minimum to jump to"""


class Options(_options.Options, frozen=True):
    """Options of Rotosolve."""

    tolerance: _options.NotNegative = 1e-6
    """radians: ends the run after a sweep that moved no parameter further. The default is reached by exact
    runs only, as shot noise keeps moving the minimum; 0 ends it when nothing moves at all."""


class Rotosolve:
    """Iteration k moves parameter k mod n; points[0] is where it stands, so every recommended point but the
    last has been measured. The value along a parameter is measured afresh at all three angles, which costs
    a row more than reusing the predicted one and lets no error pile up.
    """

    name = "rotosolve"
    needs_gradient = False

    def __init__(self, options: Options) -> None:
        self._options = options

    def start(self, x0: list[float]) -> State:
        return {"iteration": 0, "x": checks.first(x0), "moved": 0.0, "converged": False}

    def ask(self, state: State) -> Ask | None:
        if state["converged"]:
            return None
        x = state["x"]
        at = state["iteration"] % len(x)
        return Ask([list(x), _turned(x, at, pi / 2), _turned(x, at, -pi / 2)], False)

    def tell(self, state: State, evaluation: Evaluation) -> State:
        here, ahead, behind = checks.values(state, evaluation, 0 if state["converged"] else 3)
        count = state["iteration"] + 1
        turn = _to_minimum(here, ahead, behind)
        x = _turned(state["x"], state["iteration"] % len(state["x"]), turn)
        checks.finite(state, x)
        moved = max(state["moved"], abs(turn))
        swept = count % len(x) == 0
        return {
            "iteration": count,
            "x": x,
            "moved": 0.0 if swept else moved,
            "converged": swept and moved <= self._options.tolerance,
        }

    def best(self, state: State) -> list[float]:
        return list(state["x"])


def _to_minimum(here: float, ahead: float, behind: float) -> float:
    """The turn, in (−π, π], to the minimum of the sinusoid through values at 0, π/2 and −π/2; 0 if flat."""
    middle = ahead / 2 + behind / 2
    cosine, sine = here - middle, ahead / 2 - behind / 2
    if hypot(cosine, sine) <= FLAT * max(abs(here), abs(ahead), abs(behind)):
        return 0.0
    return atan2(-sine, -cosine)


def _turned(x: list[float], at: int, angle: float) -> list[float]:
    return [*x[:at], x[at] + angle, *x[at + 1 :]]


def create(options: Options, seed: int) -> Rotosolve:
    """Rotosolve uses no randomness; the seed changes nothing."""
    return Rotosolve(options)
