from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core.toys import Toy, cancellation, submission
from varloop.app import App, Pipelines
from varloop.context import Context, Resources
from varloop.errors import EventError, TemporaryError
from varloop.events import Body, Event, RunCompleted, RunFailed, RunSubmitted
from varloop.host.embedded import EmbeddedHost
from varloop.store.memory import MemoryStore
from varloop.testing import Boundaries, FakeClock


def a_host(*apps: App, store: MemoryStore | None = None, **options: Any) -> EmbeddedHost:
    """A host with the clock of tests."""
    pipelines = Pipelines(apps)
    place = store if store is not None else MemoryStore()
    return EmbeddedHost(pipelines, Resources(place, FakeClock(), pipelines.types), **options)


def words(host: EmbeddedHost) -> list[str]:
    """Deliver everything; the last words of the delivered events' types."""
    return [event.type.rpartition(".")[2] for event in host.run()]


def test_a_run_is_driven_by_whoever_iterates() -> None:
    """Nothing happens until somebody asks for the next event; each is yielded as it is delivered."""
    toy = Toy(iterations=2)
    host = a_host(toy.app)
    host.publish(submission())
    events = host.run()

    assert not toy.calls
    assert next(events).type == RunSubmitted.type
    assert not toy.calls
    assert next(events).type.endswith("circuit.encoded")
    assert list(toy.calls) == ["encode r 0"]
    assert isinstance(list(events)[-1].data, RunCompleted)


def test_who_breaks_off_loses_nothing() -> None:
    """Whoever asks next goes on with the event that was being looked at; it is delivered once, whoever asks."""
    toy = Toy(iterations=2)
    host = a_host(toy.app)
    host.publish(submission())
    first = host.run()
    seen = [next(first), next(first)]

    rest = list(host.run())
    assert rest[0] == seen[-1]
    assert isinstance(rest[-1].data, RunCompleted)
    assert list(first) == []
    assert set(toy.calls.values()) == {1}


def test_who_is_interrupted_loses_nothing() -> None:
    """An interrupt in the middle of a step leaves its event to whoever asks next."""

    def interrupt(name: str, event: Event[Any]) -> None:
        if name == "execute" and toy.calls[f"execute r {event.iteration}"] == 1:
            raise KeyboardInterrupt

    toy = Toy(iterations=2, before=interrupt)
    host = a_host(toy.app)
    host.publish(submission())
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            host.drain()

    assert isinstance(list(host.run())[-1].data, RunCompleted)


def test_draining_an_empty_bus() -> None:
    """With nothing to do, nothing is done, at once."""
    host = a_host(Toy().app)
    host.drain()

    assert words(host) == []


def test_boundaries_are_told() -> None:
    """An observer is told when an event is received, its outcome recorded, and its outcome published."""
    told: list[tuple[str, str]] = []
    host = a_host(
        Toy(iterations=1).app,
        observer=Boundaries(lambda boundary, event: told.append((boundary, event.type[12:]))),
    )
    host.publish(submission())
    host.drain()

    assert told[:4] == [
        *((boundary, "run.submitted") for boundary in ("received", "recorded", "published")),
        ("received", "circuit.encoded"),
    ]
    assert told[-1][1] == "run.completed"


def test_what_is_told_as_recorded_is_recorded() -> None:
    """At "recorded" the outcome is in the journal and not yet published; at "published" it is."""
    seen: list[tuple[str, bool, int]] = []
    store = MemoryStore()

    def observe(boundary: str, event: Event[Any]) -> None:
        if isinstance(event.data, RunSubmitted):
            queued = len(host.bus._groups["varloop"].queue)
            seen.append((boundary, "runs/r/journal/000000/encode" in store.keys(), queued))

    host = a_host(Toy().app, store=store, observer=Boundaries(observe))
    host.publish(submission())
    host.drain()

    assert seen == [
        ("received", False, 0),
        ("recorded", True, 0),
        ("published", True, 1),
    ]


def test_a_temporary_error_is_waited_for() -> None:
    """An event that was put off comes again after its time; other runs go on meanwhile."""
    failures = [TemporaryError("busy", retry_after=30.0), TemporaryError("busy", retry_after=60.0)]

    def before(name: str, event: Event[Any]) -> None:
        if event.run == "slow" and failures:
            raise failures.pop(0)

    host = a_host(Toy(before=before, iterations=1).app)
    clock = host.resources.clock
    started = clock.now()
    host.publish(submission("slow"))
    host.publish(submission("fast"))
    ends = [
        (event.run, clock.now() - started) for event in host.run() if isinstance(event.data, RunCompleted)
    ]

    assert ends == [("fast", 0.0), ("slow", 90.0)]


def test_a_temporary_error_is_not_waited_for_endlessly() -> None:
    """After eight attempts the run fails, with as many waits."""

    def before(name: str, event: Event[Any]) -> None:
        raise TemporaryError("busy", retry_after=2.0)

    host = a_host(Toy(before=before).app)
    host.publish(submission())
    (*again, end) = host.run()

    assert len(again) == 8
    assert isinstance(end.data, RunFailed)
    assert host.resources.clock.now() == 1_800_000_000.0 + 7 * 2.0


def test_what_cannot_be_accepted_is_kept_with_its_reason() -> None:
    """An event that is refused lies in the dead letters, with why, and harms nothing else."""

    def before(name: str, event: Event[Any]) -> None:
        if event.run == "bad":
            raise EventError("not mine")

    host = a_host(Toy(before=before).app)
    host.publish(submission("bad"))
    host.publish(submission("good"))

    assert words(host)[-1] == "completed"
    (letter,) = host.dead_letters
    assert (letter.reason, letter.error, letter.attempt) == ("not mine", "EventError", 1)
    assert letter.event == submission("bad")


def test_a_pipeline_that_is_not_here() -> None:
    """An event of an unknown pipeline names it and the known ones."""
    host = a_host(Toy().app, Toy("mine").app)
    host.publish(submission(pipeline="yours"))
    host.drain()

    assert [letter.reason for letter in host.dead_letters] == ["no pipeline 'yours' here, only default, mine"]


class Notice(Body, frozen=True):
    type = "com.example.notice"
    run: str


def test_steps_may_take_the_end_of_a_run() -> None:
    """A step on run.completed is called as on any bus, once, and may emit events of its own."""
    app, told = App(), []

    @app.function(on=RunCompleted, emits=Notice)
    def announce(event: Event[RunCompleted], ctx: Context) -> Notice:
        return Notice(event.run)

    @app.function(on=Notice)
    def post(event: Event[Notice], ctx: Context) -> None:
        told.append(event.data.run)

    host = a_host(Toy().app, app)
    for _ in range(2):
        host.publish(submission())
        host.drain()

    assert told == ["r"]


def test_a_step_that_fails_after_the_end() -> None:
    """A step on run.completed that fails cannot unmake the result, and does not go on failing."""
    app = App()

    @app.function(on=RunCompleted)
    def announce(event: Event[RunCompleted], ctx: Context) -> None:
        raise ValueError("no")

    host = a_host(Toy().app, app)
    host.publish(submission())
    events = list(host.run())

    assert {event.type for event in events if event.type.endswith(("completed", "failed"))} == {
        RunCompleted.type
    }
    assert len(events) < 20


def test_what_was_not_acknowledged_is_given_back() -> None:
    """A host that stops in the middle leaves its event to the next one on the same bus, as one attempt more."""

    class Stop(BaseException):
        pass

    def stop(boundary: str, event: Event[Any]) -> None:
        if boundary == "recorded":
            raise Stop

    toy, store = Toy(), MemoryStore()
    first = a_host(toy.app, store=store, observer=Boundaries(stop))
    first.publish(submission())
    with pytest.raises(Stop):
        first.drain()
    first.close()

    second = a_host(toy.app, store=store, bus=first.bus)
    assert words(second)[-1] == "completed"
    assert set(toy.calls.values()) == {1}


def test_an_event_published_twice_runs_once() -> None:
    """Every event published once more, at any time, changes no call and no end."""
    toy = Toy()
    host = a_host(toy.app)
    host.publish(submission())
    for event in list(host.run()):
        host.publish(event)
        host.publish(msgspec.structs.replace(event, encoded=b""))
    ends = [event for event in host.run() if isinstance(event.data, RunCompleted)]

    assert {end.id for end in ends} <= {event.id for event in ends[:1]}
    assert {count for name, count in toy.calls.items() if not name.startswith("postprocess")} == {1}


def test_cancelling_while_it_runs() -> None:
    """A cancel that is published while a run is under way ends it with the next job unborn."""
    toy = Toy(iterations=100)
    host = a_host(toy.app)
    host.publish(submission())
    seen = []
    for number, event in enumerate(host.run()):
        seen.append(event.type.rpartition(".")[2])
        if number == 5:
            host.publish(cancellation())

    assert seen.count("cancelled") == 1
    assert "completed" not in seen
    assert seen.count("executed") <= 2
