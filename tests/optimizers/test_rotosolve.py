from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers.landscape import drive, measured
from optimizers.optimizer_contract import X0, OptimizerContract
from varloop.errors import PermanentError
from varloop.evaluation import Evaluation
from varloop.optimizers import rotosolve
from varloop.optimizers.rotosolve import Rotosolve

angles = st.floats(-10, 10)


class TestRotosolve(OptimizerContract):
    name = "rotosolve"
    iterations = 6


def one(value: float) -> Evaluation:
    """The same value at all three points."""
    return Evaluation([value] * 3, [0.0] * 3)


def test_one_sweep_reaches_the_exact_minimum() -> None:
    """A sum of sinusoids, one per parameter, is at its minimum after one step each."""
    optimizer = Rotosolve(rotosolve.Options())
    *_, (_, last) = drive(optimizer, optimizer.start(X0), len(X0))

    assert optimizer.best(last) == pytest.approx([0, 1, 2], abs=1e-14)


@settings(max_examples=100, deadline=None)
@given(angles, angles, st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_one_step_minimises_any_sinusoid(start: float, phase: float, amplitude: float, offset: float) -> None:
    """A·cos(x − phase) + offset is at offset − A after one step, which turns by at most half a turn."""
    optimizer = Rotosolve(rotosolve.Options())
    state = optimizer.start([start])
    ask = optimizer.ask(state)
    assert ask is not None
    values = [amplitude * math.cos(x - phase) + offset for (x,) in ask.points]
    (x,) = optimizer.best(optimizer.tell(state, Evaluation(values, [0.0] * 3)))

    assert math.cos(x - phase) == pytest.approx(-1, abs=1e-9)
    assert abs(x - start) <= math.pi + 1e-12


def test_it_measures_where_it_stands_and_a_quarter_turn_either_way() -> None:
    """Iteration k asks for x, and x turned by ±π/2 in parameter k modulo their number."""
    optimizer = Rotosolve(rotosolve.Options())
    state = optimizer.start([1.0, 2.0])
    for k in range(3):
        ask, x = optimizer.ask(state), optimizer.best(state)
        assert ask is not None
        turned = [
            [xi + turn * (i == k % 2) for i, xi in enumerate(x)] for turn in (math.pi / 2, -math.pi / 2)
        ]
        assert ask.points == [x, *turned]
        state = optimizer.tell(state, measured(ask))


def test_it_ends_after_a_sweep_in_which_nothing_moves() -> None:
    """Once a whole sweep stays within the tolerance there is nothing to ask, and nothing may be told."""
    optimizer = Rotosolve(rotosolve.Options())
    *_, (_, last) = drive(optimizer, optimizer.start(X0), 50)

    assert last["iteration"] == 2 * len(X0)
    assert optimizer.ask(last) is None
    with pytest.raises(PermanentError, match=r"iteration 6: .* nothing was asked"):
        optimizer.tell(last, one(0.0))


def test_a_late_move_keeps_it_going() -> None:
    """A sweep in which one parameter moves is followed by another, whichever parameter it is."""
    optimizer = Rotosolve(rotosolve.Options())
    state = optimizer.start([0.0, 0.0])
    for evaluation in (Evaluation([1.0, 0.0, 0.0], [0.0] * 3), one(0.0)):
        state = optimizer.tell(state, evaluation)

    assert optimizer.ask(state) is not None


@pytest.mark.parametrize("value", [0.0, 1.0, -123.456, 1e300])
def test_a_flat_direction_is_left_alone(value: float) -> None:
    """Where the objective does not depend on a parameter but for rounding, the parameter stays."""
    optimizer = Rotosolve(rotosolve.Options())
    state = optimizer.start([0.5, 0.25])
    rounded = Evaluation([value, math.nextafter(value, 1e308), value], [0.0] * 3)

    assert optimizer.best(optimizer.tell(state, one(value))) == [0.5, 0.25]
    if value:
        assert optimizer.best(optimizer.tell(state, rounded)) == [0.5, 0.25]
