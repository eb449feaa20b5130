from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varloop.report.axis import Gap, Linear, Log, Time, decimals, ticks

spans = st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e3)), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 10.0, [0, 2, 4, 6, 8, 10]),
        (-1.145, -1.113, [-1.14, -1.13, -1.12]),
        (0.0, 0.9, [0.0, 0.2, 0.4, 0.6, 0.8]),
        (3.0, 3.0, [3.0]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    """1, 2, 2.5 or 5 times a power of ten, inside the range."""
    assert ticks(low, high) == pytest.approx(expected)


@given(st.floats(-1e3, 1e3), st.floats(1e-6, 1e9))
def test_ticks_are_few_and_inside(low: float, width: float) -> None:
    """Whatever the range, there are between two and ten ticks and none outside."""
    found = ticks(low, low + width)

    assert 2 <= len(found) <= 10
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in found)


def test_decimals_tell_ticks_apart() -> None:
    """As many digits as neighbours need, and no more."""
    assert [decimals(ticks(*ends)) for ends in ((0, 10), (0, 1), (-1.145, -1.113), (0, 0.12))] == [0, 1, 2, 3]
    assert f"{0.025:.{decimals([0.0, 0.025, 0.05])}f}" == "0.025"


def test_scales_meet_their_ends() -> None:
    """The ends of a range stand at the ends of the paper; a range without width stands at its start."""
    assert [Linear(2, 4, 100, 200)(value) for value in (2, 3, 4)] == [100, 150, 200]
    assert Linear(2, 2, 100, 200)(2) == 100
    assert Log(1e-4, 1.0, 0, 40)(1e-2) == pytest.approx(20)
    assert Log(1e-4, 1.0, 0, 40)(0.0) == 0
    assert Log(1e-10, 1.0, 0, 40).powers(6) == pytest.approx([1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1])


def test_a_long_pause_is_cut_short() -> None:
    """Two seconds of work around two hours of nothing share the paper evenly, but for the cut."""
    axis = Time([(0, 1), (7201, 7202)], start=0, stop=220, gap=10, cut=20)

    assert axis.gaps == [Gap(1, 7201)]
    assert [axis(time) for time in (0, 1, 3600, 7201, 7202)] == [0, 100, 100, 120, 220]


def test_a_short_pause_is_not() -> None:
    """Moments between calls are drawn as long as they were."""
    axis = Time([(0, 1), (3, 4)], start=0, stop=100, gap=10, cut=20)

    assert axis.gaps == []
    assert axis(2) == 50


@given(spans)
def test_time_never_runs_backwards(found: list[tuple[float, float]]) -> None:
    """Later times stand further right, and everything that ran is on the paper."""
    calls = [(begin, begin + length) for begin, length in found]
    axis = Time(calls, start=10, stop=500, gap=50, cut=5)

    places = [axis(time) for time in sorted(time for call in calls for time in call)]
    assert places == sorted(places)
    assert all(9.9 <= place <= 500.1 for place in places)
