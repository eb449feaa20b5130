from __future__ import annotations

from types import MappingProxyType

import pytest

from optimizers.optimizer_contract import OptimizerContract
from varloop.errors import PermanentError
from varloop.evaluation import Evaluation
from varloop.optimizers import gradient_descent
from varloop.optimizers.gradient_descent import GradientDescent

CURVATURES = [0.5, 1.0, 4.0]


class TestGradientDescent(OptimizerContract):
    name = "gradient-descent"


class TestHeavyBall(TestGradientDescent):
    options = MappingProxyType({"momentum": 0.5})


def descend(optimizer: GradientDescent, x0: list[float], steps: int) -> list[float]:
    """Where steps on the parabola Σ λx²/2 lead."""
    state = optimizer.start(x0)
    for _ in range(steps):
        gradient = [c * x for c, x in zip(CURVATURES, optimizer.ask(state).points[0], strict=True)]
        state = optimizer.tell(state, Evaluation([0.0], [0.0], gradient))
    return optimizer.best(state)


def test_it_contracts_a_parabola_as_theory_says() -> None:
    """After k steps, x is (1 − learning_rate·curvature)ᵏ times its start."""
    optimizer = GradientDescent(gradient_descent.Options(learning_rate=0.2))

    expected = [3.0 * (1 - 0.2 * curvature) ** 30 for curvature in CURVATURES]
    assert descend(optimizer, [3.0, 3.0, 3.0], 30) == pytest.approx(expected, rel=1e-12)


def test_momentum_is_the_heavy_ball() -> None:
    """Two steps agree with v ← μv − ηλx, x ← x + v worked out by hand."""
    optimizer = GradientDescent(gradient_descent.Options(learning_rate=0.2, momentum=0.5))

    expected = [(1 - a) * (1 - a) - 0.5 * a for a in (0.2 * curvature for curvature in CURVATURES)]
    assert descend(optimizer, [1.0, 1.0, 1.0], 2) == pytest.approx(expected, rel=1e-12)


def test_steps_that_grow_without_bound_are_refused() -> None:
    """A learning rate far too large ends in a permanent error that advises a smaller one."""
    optimizer = GradientDescent(gradient_descent.Options(learning_rate=1e11))

    with pytest.raises(PermanentError, match=r"iteration 2\d: .*not finite.*smaller learning rate"):
        descend(optimizer, [1.0, 1.0, 1.0], 100)
