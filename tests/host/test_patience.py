"""Duplicates in flight do not breed: an outcome recorded just now is not emitted again at once."""

from core.toys import Toy, invoker, submission
from varloop.context import Resources
from varloop.host import Invoker, Verdict
from varloop.settings import Settings
from varloop.store.memory import MemoryStore
from varloop.testing import FakeClock


def test_a_duplicate_in_flight_is_put_off_and_a_late_one_emits_again() -> None:
    """Within the patience it is delivered later; after it, the outcome is emitted again unless it was taken up."""
    clock, store = FakeClock(), MemoryStore()
    pipelines = invoker(Toy().app).pipelines
    first, second = (
        Invoker(pipelines, Resources(store, clock, pipelines.types), settings=Settings(patience=2.0))
        for _ in range(2)
    )
    event = submission()
    emitted = first.invoke(event)
    assert emitted.verdict is Verdict.EMIT

    early = second.invoke(event)
    assert (early.verdict, early.delay, early.events) == (Verdict.RETRY, 2.0, ())

    clock.sleep(2.1)
    assert second.invoke(event).events == emitted.events

    first.invoke(emitted.events[0])
    assert second.invoke(event).verdict is Verdict.DROP


def test_without_patience_a_duplicate_emits_at_once() -> None:
    """Also when the recorded time was rounded up past the clock's."""
    clock, store = FakeClock(1_800_000_001.2391136), MemoryStore()
    pipelines = invoker(Toy().app).pipelines
    first, second = (Invoker(pipelines, Resources(store, clock, pipelines.types)) for _ in range(2))
    event = submission()
    emitted = first.invoke(event)
    assert emitted.events[0].time > clock.now()

    assert second.invoke(event).events == emitted.events


def test_a_clock_that_is_far_behind_does_not_put_off_for_long() -> None:
    """What was recorded in the far future by another machine's clock is emitted again at once."""
    ahead, behind, store = FakeClock(), FakeClock(1_700_000_000.0), MemoryStore()
    pipelines = invoker(Toy().app).pipelines
    first, second = (
        Invoker(pipelines, Resources(store, clock, pipelines.types), settings=Settings(patience=2.0))
        for clock in (ahead, behind)
    )
    event = submission()

    assert first.invoke(event).verdict is Verdict.EMIT
    assert second.invoke(event).verdict is Verdict.EMIT


def test_whoever_could_not_publish_does_so_at_the_next_delivery() -> None:
    """A process that failed to publish an outcome need not wait for anybody: nobody else is about to."""
    clock, store = FakeClock(), MemoryStore()
    pipelines = invoker(Toy().app).pipelines
    first, second = (
        Invoker(pipelines, Resources(store, clock, pipelines.types), settings=Settings(patience=20.0))
        for _ in range(2)
    )
    event = submission()
    emitted = first.invoke(event)
    first.unpublished(event)

    assert second.invoke(event).verdict is Verdict.RETRY
    assert first.invoke(event) == emitted
    first.confirm(event)
    assert first.invoke(event).verdict is Verdict.RETRY
