"""Adam: steps scaled by running averages of the gradient and of its square.

D. P. Kingma, J. Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015, algorithm 1.
"""

from __future__ import annotations

from math import sqrt

from varloop.evaluation import Evaluation
from varloop.optimizers import checks
from varloop.optimizers import options as _options
from varloop.optimizers.protocol import Ask, State

__all__ = ["Adam", "Options", "create"]


class Options(_options.Options, frozen=True):
    """Options of Adam, named as in the paper's algorithm 1."""

    learning_rate: _options.Positive = 0.1
    """α, radians: about the size of the first steps. The paper's 0.001 suits millions of steps on network
    weights; angles have to travel a radian or so within some hundred iterations."""
    beta1: _options.Fraction = 0.9
    """decay per iteration of the average of gradients; the paper's default"""
    beta2: _options.Fraction = 0.999
    """decay per iteration of the average of squared gradients; the paper's default"""
    epsilon: _options.Positive = 1e-8
    """units of the gradient: keeps steps finite where it vanishes; the paper's default"""


class Adam:
    """Needs a gradient each iteration; recommends the point that it would measure next."""

    name = "adam"
    needs_gradient = True

    def __init__(self, options: Options) -> None:
        self._options = options

    def start(self, x0: list[float]) -> State:
        x = checks.first(x0)
        return {"iteration": 0, "x": x, "mean": [0.0] * len(x), "square": [0.0] * len(x)}

    def ask(self, state: State) -> Ask:
        return Ask([list(state["x"])], True)

    def tell(self, state: State, evaluation: Evaluation) -> State:
        options, x, step = self._options, state["x"], state["iteration"] + 1
        checks.values(state, evaluation, 1)
        gradient = checks.gradient(state, evaluation, len(x))
        b1, b2 = options.beta1, options.beta2
        mean = [b1 * m + (1 - b1) * g for m, g in zip(state["mean"], gradient, strict=True)]
        square = [b2 * v + (1 - b2) * g * g for v, g in zip(state["square"], gradient, strict=True)]
        rate, unbias = options.learning_rate / (1 - b1**step), 1 / (1 - b2**step)
        x = [
            xi - rate * m / (sqrt(v * unbias) + options.epsilon)
            for xi, m, v in zip(x, mean, square, strict=True)
        ]
        checks.finite(state, x, mean, square)
        return {"iteration": step, "x": x, "mean": mean, "square": square}

    def best(self, state: State) -> list[float]:
        return list(state["x"])


def create(options: Options, seed: int) -> Adam:
    """Adam uses no randomness; the seed changes nothing."""
    return Adam(options)
