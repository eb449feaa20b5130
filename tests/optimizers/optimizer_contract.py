"""What every optimizer does, whichever way it descends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pytest

from optimizers.landscape import drive, landscape, measured
from varloop.errors import PermanentError
from varloop.evaluation import Evaluation
from varloop.optimizers import Optimizer, State, create
from varloop.spec import OptimizerSpec

__all__ = ["X0", "OptimizerContract", "through_json"]

X0 = [0.3, -0.7, 1.9]
BAD = [math.nan, math.inf, -math.inf]


def through_json(state: State) -> State:
    """The state as another process would read it."""
    read: State = msgspec.json.decode(msgspec.json.encode(state))
    return read


class OptimizerContract:
    name: str
    options: Mapping[str, Any] = MappingProxyType({})
    iterations = 20

    def create(self, seed: int) -> Optimizer:
        """A new instance with this seed."""
        return create(OptimizerSpec(name=self.name, options=dict(self.options)), seed)

    @pytest.fixture
    def optimizer(self) -> Optimizer:
        """The one under test."""
        return self.create(7)

    @pytest.fixture
    def underway(self, optimizer: Optimizer) -> State:
        """A state after two iterations, at which something is asked."""
        *_, (_, state) = drive(optimizer, optimizer.start(X0), 2)
        assert optimizer.ask(state) is not None
        return state

    def test_it_has_its_name(self, optimizer: Optimizer) -> None:
        """An optimizer knows the name by which it is created."""
        assert optimizer.name == self.name

    def test_it_descends(self, optimizer: Optimizer) -> None:
        """The recommended point is lower after some iterations than at the start."""
        *_, (_, last) = drive(optimizer, optimizer.start(X0), self.iterations)

        assert landscape(optimizer.best(last))[0] < landscape(X0)[0] - 1

    def test_the_state_survives_json_between_every_step(self, optimizer: Optimizer) -> None:
        """A state read from JSON leads to the same bits at every ask and every tell as one never written."""
        read = through_json(optimizer.start(X0))
        for ask, kept in drive(optimizer, optimizer.start(X0), self.iterations):
            assert repr(optimizer.ask(read)) == repr(ask)
            read = through_json(optimizer.tell(read, measured(ask)))
            assert repr(read) == repr(kept)
            assert repr(optimizer.best(read)) == repr(optimizer.best(kept))

    def test_a_new_instance_goes_on_where_another_left(self, optimizer: Optimizer) -> None:
        """Nothing is remembered outside of the state: a fresh instance per step changes nothing."""
        state = self.create(7).start(X0)
        for ask, expected in drive(optimizer, optimizer.start(X0), self.iterations):
            assert self.create(7).ask(state) == ask
            state = self.create(7).tell(state, measured(ask))
            assert state == expected

    def test_asking_again_gives_the_same_points(self, optimizer: Optimizer, underway: State) -> None:
        """An ask is idempotent, and older states can be asked after newer ones."""
        ask = optimizer.ask(underway)
        for _ in drive(optimizer, underway, 3):
            pass

        assert optimizer.ask(underway) == ask

    def test_telling_leaves_the_old_state_untouched(self, optimizer: Optimizer, underway: State) -> None:
        """The old state has the same bytes after a tell, and telling it again gives the same new state."""
        before = msgspec.json.encode(underway)
        ask = optimizer.ask(underway)
        assert ask is not None
        told = optimizer.tell(underway, measured(ask))

        assert msgspec.json.encode(underway) == before
        assert optimizer.tell(underway, measured(ask)) == told

    def test_what_it_hands_out_is_the_callers(self, optimizer: Optimizer, underway: State) -> None:
        """Changing the asked points, the best point or x0 does not change the state."""
        x0 = list(X0)
        started = optimizer.start(x0)
        before = msgspec.json.encode([started, underway])
        ask = optimizer.ask(underway)
        assert ask is not None
        for owned in (*ask.points, optimizer.best(underway), optimizer.best(started), x0):
            owned[0] = 99.0

        assert msgspec.json.encode([started, underway]) == before

    def test_asks_have_the_right_shape(self, optimizer: Optimizer) -> None:
        """Every point has all parameters, finite; gradients are asked for by who needs them; iterations count."""
        for count, (ask, state) in enumerate(drive(optimizer, optimizer.start(X0), self.iterations), 1):
            assert ask.points
            assert all(len(point) == len(X0) and all(map(math.isfinite, point)) for point in ask.points)
            assert ask.gradient == optimizer.needs_gradient
            assert state["iteration"] == count
            assert len(optimizer.best(state)) == len(X0)

    def test_one_parameter_is_enough(self, optimizer: Optimizer) -> None:
        """A single parameter is optimised like many."""
        *_, (_, last) = drive(optimizer, optimizer.start([1.0]), self.iterations)

        assert landscape(optimizer.best(last))[0] < landscape([1.0])[0]

    def test_the_start_is_recommended_before_anything_is_known(self, optimizer: Optimizer) -> None:
        """Without an evaluation the best point is x0."""
        assert optimizer.best(optimizer.start(X0)) == X0

    def test_other_floats_become_plain_ones(self, optimizer: Optimizer) -> None:
        """NumPy's floats and whole numbers give the same plain state as floats do."""
        start = optimizer.start([np.float64(1), 2, 3])
        assert through_json(start) == start == optimizer.start([1.0, 2.0, 3.0])
        ask = optimizer.ask(start)
        assert ask is not None
        exact = measured(ask)
        odd: Any = [np.float64(value) for value in exact.values]
        gradient: Any = exact.gradient and [np.float64(value) for value in exact.gradient]
        told = optimizer.tell(start, Evaluation(odd, exact.errors, gradient))

        assert repr(told) == repr(optimizer.tell(start, exact))

    def test_a_bad_start_is_refused(self, optimizer: Optimizer) -> None:
        """No parameters, or one that is not finite, is a permanent error that names it."""
        with pytest.raises(PermanentError, match="no parameters"):
            optimizer.start([])
        with pytest.raises(PermanentError, match=r"initial\[1\] is nan"):
            optimizer.start([0.0, math.nan])

    def test_too_many_or_too_few_values_are_refused(self, optimizer: Optimizer, underway: State) -> None:
        """An evaluation of other than the asked points names the iteration, what came and what was due."""
        ask = optimizer.ask(underway)
        assert ask is not None
        due = measured(ask)
        count = len(due.values)
        for values in (due.values[1:], [*due.values, 1.0]):
            told = msgspec.structs.replace(due, values=values)
            with pytest.raises(
                PermanentError, match=f"iteration 2: got {len(values)} values, expected {count}"
            ):
                optimizer.tell(underway, told)
        with pytest.raises(PermanentError, match=f"iteration 2: got {count + 1} errors, expected {count}"):
            optimizer.tell(underway, msgspec.structs.replace(due, errors=[*due.errors, 0.0]))

    @pytest.mark.parametrize("bad", BAD)
    @pytest.mark.parametrize("field", ["values", "errors", "gradient", "gradient_errors"])
    def test_what_is_not_finite_is_refused(
        self, optimizer: Optimizer, underway: State, field: str, bad: float
    ) -> None:
        """A number that is NaN or infinite, anywhere in an evaluation, names the iteration and the place."""
        ask = optimizer.ask(underway)
        assert ask is not None
        due = measured(ask)
        numbers = list(getattr(due, field) or X0)
        numbers[-1] = bad

        with pytest.raises(PermanentError, match=rf"iteration 2: {field}\[{len(numbers) - 1}\] is {bad}"):
            optimizer.tell(underway, msgspec.structs.replace(due, **{field: numbers}))

    def test_a_gradient_that_is_needed_must_be_there(self, optimizer: Optimizer, underway: State) -> None:
        """A missing or misshapen gradient is a permanent error, but only for who needs one."""
        ask = optimizer.ask(underway)
        assert ask is not None
        due = measured(ask)
        without = msgspec.structs.replace(due, gradient=None)
        short = msgspec.structs.replace(due, gradient=[0.0])
        if not optimizer.needs_gradient:
            assert optimizer.tell(underway, short) == optimizer.tell(underway, without)
            return
        with pytest.raises(PermanentError, match="iteration 2: no gradient was measured"):
            optimizer.tell(underway, without)
        with pytest.raises(PermanentError, match="iteration 2: got 1 gradient, expected 3"):
            optimizer.tell(underway, short)
