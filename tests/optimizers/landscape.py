"""A function to optimise, and how tests drive an optimizer over it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from varloop.evaluation import Evaluation
from varloop.optimizers import Ask, Optimizer, State

__all__ = ["drive", "landscape", "measured"]


def landscape(x: list[float]) -> tuple[float, list[float]]:
    """A smooth function with period 2π in each parameter, and its gradient; its minimum is −(2 + 3 + … )."""
    value = -sum((k + 2) * math.cos(xi - k) for k, xi in enumerate(x))
    return value, [(k + 2) * math.sin(xi - k) for k, xi in enumerate(x)]


def measured(ask: Ask) -> Evaluation:
    """The exact evaluation of what was asked, on the landscape."""
    gradient = landscape(ask.points[0])[1] if ask.gradient else None
    values = [landscape(point)[0] for point in ask.points]
    return Evaluation(
        values, [0.0] * len(values), gradient, None if gradient is None else [0.0] * len(gradient)
    )


def drive(optimizer: Optimizer, state: State, iterations: int) -> Iterator[tuple[Ask, State]]:
    """Each ask and the state after its answer, until the optimizer or the iterations end."""
    for _ in range(iterations):
        ask = optimizer.ask(state)
        if ask is None:
            return
        state = optimizer.tell(state, measured(ask))
        yield ask, state
