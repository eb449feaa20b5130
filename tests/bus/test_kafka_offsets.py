from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varloop.bus.kafka.offsets import Offsets, murmur2, partition_of


@given(st.data())
def test_commits_up_to_the_first_open_record(data: st.DataObject) -> None:
    """Whatever the order in which records are finished, what is committed is the first open one's offset."""
    gaps = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=20))
    offsets, open_, position = Offsets(), list[int](), 0
    committed = -1
    for gap in gaps:
        position += gap
        assert offsets.begin(position)
        open_.append(position)
        for done in data.draw(st.lists(st.sampled_from(open_), unique=True)):
            offsets.complete(done)
            open_.remove(done)
        expected = min(open_, default=position + 1)
        assert offsets.outstanding == len(open_)
        assert offsets.to_commit() == (expected if expected > committed else None)
        committed = max(committed, expected)
        assert offsets.to_commit() is None
        open_ = open_ or [position := position + 1]
        offsets.begin(position)


def test_a_record_in_hand_is_not_handed_out_again() -> None:
    """A record that comes twice before it is committed is known."""
    offsets = Offsets()
    assert offsets.begin(5)
    assert not offsets.begin(5)
    assert offsets.begin(6)
    offsets.complete(5)
    assert not offsets.begin(5)


def test_a_group_that_was_reset_starts_anew() -> None:
    """A record from before what was committed is new, and commits follow it."""
    offsets = Offsets()
    for offset in range(10):
        offsets.begin(offset)
        offsets.complete(offset)
    assert offsets.to_commit() == 10

    assert offsets.begin(0)
    assert offsets.begin(1)
    offsets.complete(9)
    offsets.complete(0)
    assert offsets.to_commit() == 1


def test_nothing_read_commits_nothing() -> None:
    """A partition without records has nothing to commit."""
    assert Offsets().to_commit() is None


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_hashes_as_javas_client_does(data: bytes, value: int) -> None:
    """The values that Kafka's own tests expect (UtilsTest.testMurmur2)."""
    assert murmur2(data) == value % 2**32


@given(st.binary(max_size=40), st.integers(1, 64))
def test_a_key_has_one_partition(key: bytes, count: int) -> None:
    """A partition is one of those there are."""
    assert 0 <= partition_of(key, count) < count
