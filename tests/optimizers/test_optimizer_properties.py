from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers.optimizer_contract import through_json
from varloop.evaluation import Evaluation
from varloop.optimizers import NAMES, create
from varloop.spec import OptimizerSpec

angles = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5)
answers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)
few = settings(max_examples=25, deadline=None, database=None)


@pytest.mark.parametrize("name", NAMES)
@few
@given(x0=angles, numbers=answers, seed=st.integers(0, 2**53))
def test_any_answers_keep_the_state_plain_and_finite(
    name: str, x0: list[float], numbers: list[float], seed: int
) -> None:
    """Whatever finite values come, the state stays plain JSON with finite floats, bit for bit after a round
    trip, and the same answers lead to the same state.
    """
    spec = OptimizerSpec(name=name)
    optimizer, twin = create(spec, seed), create(spec, seed)
    state, copy = optimizer.start(x0), twin.start(x0)
    for k in range(6):
        ask = optimizer.ask(state)
        assert twin.ask(copy) == ask
        if ask is None:
            break
        answer = Evaluation(
            [numbers[(k + i) % len(numbers)] for i in range(len(ask.points))],
            [0.0] * len(ask.points),
            [numbers[(k * i) % len(numbers)] for i in range(len(x0))] if ask.gradient else None,
        )
        state, copy = optimizer.tell(state, answer), through_json(twin.tell(copy, answer))
        assert repr(copy) == repr(state)
        assert all(map(math.isfinite, optimizer.best(state)))


@few
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_floats_survive_json_bit_for_bit(numbers: list[float]) -> None:
    """What all of this rests on: any finite float, −0.0 and subnormal ones too, is itself after JSON."""
    read: Any = msgspec.json.decode(msgspec.json.encode(numbers))

    assert [x.hex() for x in read] == [x.hex() for x in numbers]
