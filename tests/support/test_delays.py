from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from varloop.support.delays import DelayQueue


def test_what_was_put_off_comes_first_when_its_time_has_come() -> None:
    """Others come in the order they were put; nothing comes before its time."""
    queue: DelayQueue[str] = DelayQueue()
    queue.put("a", "b")
    queue.put_at(5.0, "late")
    queue.put_at(2.0, "early")

    assert [queue.take(1.0), queue.take(3.0), queue.take(3.0), queue.take(3.0)] == ["a", "early", "b", None]
    assert (queue.wait(3.0), len(queue), queue.ready) == (2.0, 1, 0)
    assert queue.take(5.0) == "late"
    assert (queue.wait(5.0), len(queue)) == (None, 0)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers()), max_size=30))
def test_nothing_is_lost_and_order_is_that_of_times(entries: list[tuple[float, int]]) -> None:
    """Taken whenever something is due, items come by their times, equal times in the order they were put."""
    queue: DelayQueue[tuple[float, int]] = DelayQueue()
    for due, number in entries:
        queue.put_at(due, (due, number))
    now, taken = 0.0, []
    while (wait := queue.wait(now)) is not None:
        now += wait
        if (item := queue.take(now)) is not None:
            taken.append(item)
        else:
            now = now + max(now, 1.0) * 1e-15

    assert taken == sorted(entries, key=lambda entry: entry[0])


def test_some_are_forgotten() -> None:
    """Those that wait and those that are due."""
    queue: DelayQueue[int] = DelayQueue()
    queue.put(1, 2)
    queue.put_at(1.0, 3)
    queue.put_at(1.0, 4)
    queue.discard(lambda item: item % 2 == 0)

    assert [queue.take(1.0) for _ in range(3)] == [3, 1, None]
