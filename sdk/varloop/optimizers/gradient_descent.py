"""Gradient descent, with the heavy ball's momentum if wanted.

B. T. Polyak, *Some methods of speeding up the convergence of iteration methods*, 1964:
v ← momentum·v − learning_rate·∇f(x), x ← x + v.
"""

from __future__ import annotations

from varloop.evaluation import Evaluation
from varloop.optimizers import checks
from varloop.optimizers import options as _options
from varloop.optimizers.protocol import Ask, State

__all__ = ["GradientDescent", "Options", "create"]


class Options(_options.Options, frozen=True):
    """Options of gradient descent."""

    learning_rate: _options.Positive = 0.1
    """radians per unit of the gradient. Overshoots above 2 / (largest curvature); along one rotation's angle
    the curvature is at most the sum of the observable's absolute coefficients, so 0.1 suits sums up to some 10."""
    momentum: _options.Fraction = 0.0
    """share of the last step that is kept; 0 is plain gradient descent"""


class GradientDescent:
    """Needs a gradient each iteration; recommends the point that it would measure next."""

    name = "gradient-descent"
    needs_gradient = True

    def __init__(self, options: Options) -> None:
        self._options = options

    def start(self, x0: list[float]) -> State:
        x = checks.first(x0)
        return {"iteration": 0, "x": x, "velocity": [0.0] * len(x)}

    def ask(self, state: State) -> Ask:
        return Ask([list(state["x"])], True)

    def tell(self, state: State, evaluation: Evaluation) -> State:
        rate, keep, x = self._options.learning_rate, self._options.momentum, state["x"]
        checks.values(state, evaluation, 1)
        gradient = checks.gradient(state, evaluation, len(x))
        velocity = [keep * v - rate * g for v, g in zip(state["velocity"], gradient, strict=True)]
        x = [xi + v for xi, v in zip(x, velocity, strict=True)]
        checks.finite(state, x, velocity)
        return {"iteration": state["iteration"] + 1, "x": x, "velocity": velocity}

    def best(self, state: State) -> list[float]:
        return list(state["x"])


def create(options: Options, seed: int) -> GradientDescent:
    """Gradient descent uses no randomness; the seed changes nothing."""
    return GradientDescent(options)
