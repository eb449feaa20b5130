"""The identity of a call is its event: two events are two calls, or the second is refused by name, never dropped."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from core.toys import cancellation, deliver, invoker, submission
from varloop.app import App
from varloop.context import Context
from varloop.events import Body, CancelRequested, Event, RunCancelled, RunFailed, RunSubmitted
from varloop.host import Outcome, Verdict
from varloop.journal import Record, read_record
from varloop.store.layout import step_key
from varloop.store.memory import MemoryStore
from varloop.wire.codec import from_http, from_json, to_http, to_json

SUBMITTED = submission()


class Part(Body, frozen=True):
    type = "com.example.part"
    number: int


class Done(Body, frozen=True):
    type = "com.example.done"
    number: int
    seed: int = 0


class Next(Body, frozen=True):
    type = "com.example.next"
    advances = True


def scattering(count: int = 3, *, pure: bool = False) -> tuple[App, Counter[int]]:
    """An app whose first step emits several bodies of one type, each for a call of the next; numbers of its calls."""
    app, calls = App(), Counter[int]()

    @app.function(on=RunSubmitted, emits=Part, pure=pure)
    def scatter(event: Event[RunSubmitted], ctx: Context) -> list[Part]:
        return [Part(number) for number in range(count)]

    @app.function(on=Part, emits=Done)
    def work(event: Event[Part], ctx: Context) -> Done:
        calls[event.data.number] += 1
        return Done(event.data.number, ctx.seed if event.run == "seeded" else 0)

    return app, calls


def dones(deliveries: list[tuple[Event[Any], Outcome]]) -> list[int]:
    """Numbers of the parts that were worked on."""
    return [event.data.number for event, _ in deliveries if isinstance(event.data, Done)]


@pytest.mark.parametrize("pure", [False, True])
def test_several_bodies_of_one_type_are_calls_of_their_own(pure: bool) -> None:
    """Each is a shard with a record of its own; none is lost, and a duplicate of each is one."""
    store = MemoryStore()
    app, calls = scattering(pure=pure)
    host = invoker(app, store=store)
    deliveries = deliver(host, SUBMITTED, confirm=False)
    again = [host.invoke(event) for event, _ in deliveries if event.type == Part.type]

    assert dones(deliveries) == [0, 1, 2]
    assert calls == {0: 1, 1: 1, 2: 1}
    assert [(event.shard, event.shards) for event, _ in deliveries[1:4]] == [(0, 3), (1, 3), (2, 3)]
    assert [key for key in store.keys("runs/r/journal/") if "work" in key] == [
        f"runs/r/journal/000000/work@{number}of3" for number in range(3)
    ]
    assert [outcome.events for outcome in again] == [outcome.events for _, outcome in deliveries[1:4]]


def test_equal_bodies_are_two_shards() -> None:
    """Two shards of the same content have ids of their own."""
    app = App()

    @app.function(on=RunSubmitted, emits=Part)
    def scatter(event: Event[RunSubmitted], ctx: Context) -> list[Part]:
        return [Part(7), Part(7)]

    first, second = invoker(app).invoke(SUBMITTED).events
    assert first.data == second.data
    assert first.id != second.id


def test_each_shard_draws_its_own_numbers() -> None:
    """The seeds of an iteration's shards differ; that of an undivided iteration is what it always was."""
    app, _ = scattering()
    spec = {
        "problem": {"kind": "energy", "observable": [["Z", 1.0]]},
        "circuit": {"library": "real_amplitudes", "options": {"num_qubits": 1}},
    }
    submitted = msgspec.structs.replace(submission("seeded"), data=RunSubmitted(spec=spec))
    seeds = {event.data.seed for event, _ in deliver(invoker(app), submitted) if isinstance(event.data, Done)}

    assert len(seeds) == 3


@pytest.mark.parametrize("lost", range(3))
def test_the_scattering_step_is_answered_again_until_every_shard_is_taken_up(lost: int) -> None:
    """If one of the shards was lost, a duplicate of their cause brings them again."""
    app, calls = scattering()
    host = invoker(app)
    parts = host.invoke(SUBMITTED).events
    for part in parts:
        if part.shard != lost:
            host.invoke(part)

    assert host.invoke(SUBMITTED).events == parts
    host.invoke(parts[lost])
    assert host.invoke(SUBMITTED).verdict is Verdict.DROP
    assert calls == {0: 1, 1: 1, 2: 1}


def test_shards_travel() -> None:
    """A shard is one on every wire, and its id vouches for its number."""
    app, _ = scattering()
    event = invoker(app).invoke(SUBMITTED).events[1]
    types = {Part.type: Part}

    assert from_json(to_json(event), types) == event
    headers, body = to_http(event)
    assert (headers["ce-shard"], headers["ce-shards"]) == ("1", "3")
    assert from_http(headers, body, types) == event
    assert "shard" not in to_json(SUBMITTED).decode()


def other(event: Event[Any], **changes: Any) -> Event[Any]:
    """An event like another one, from another function."""
    return msgspec.structs.replace(event, **{"id": "another", "source": "varloop/elsewhere", **changes})


def test_another_event_for_a_call_is_refused_by_name(caplog: pytest.LogCaptureFixture) -> None:
    """It says which call, which event has it, and what to do; the first event's outcome stays."""
    app, calls = scattering(1)
    host = invoker(app)
    (part,) = host.invoke(SUBMITTED).events
    done = host.invoke(part)
    refused = host.invoke(other(part, data=Part(8), encoded=b""))

    assert (refused.verdict, refused.error) == (Verdict.DEAD, "ConflictError")
    assert refused.reason.startswith(
        f"run r: work was called in iteration 0 for varloop/scatter {part.id} already, and this is varloop/elsewhere another"
    )
    assert calls == {0: 1}
    assert host.invoke(part) == done


def test_the_same_id_from_another_source_is_another_event() -> None:
    """CloudEvents are told apart by source and id."""
    app = App()
    app.function(on=CancelRequested, emits=Done, name="step")(lambda event, ctx: Done(1))
    host = invoker(app)
    first = host.invoke(other(cancellation(), id="e", source="a"))
    second = host.invoke(other(cancellation(), id="e", source="b"))

    assert first.verdict is Verdict.EMIT
    assert second.verdict is Verdict.DEAD


def test_the_loser_of_a_race_between_two_events_is_refused() -> None:
    """Two events that compete for one call: one is done, the other refused."""
    app, store = App(), MemoryStore()

    @app.function(on=CancelRequested, emits=Done)
    def step(event: Event[CancelRequested], ctx: Context) -> Done:
        if event.id == "slow":
            assert invoker(app, store=store).invoke(cancellation(id="quick")).verdict is Verdict.EMIT
        return Done(1)

    assert invoker(app, store=store).invoke(cancellation(id="slow")).verdict is Verdict.DEAD


def test_another_event_of_a_run_that_has_ended_is_dropped() -> None:
    """Nobody has to look at what comes too late."""
    app, _ = scattering(1)
    app.function(on=CancelRequested, emits=RunCancelled, name="cancel")(lambda event, ctx: RunCancelled())
    host = invoker(app)
    (part,) = host.invoke(SUBMITTED).events
    host.invoke(part)
    host.invoke(cancellation())

    assert host.invoke(other(part)).verdict is Verdict.DROP


def test_a_pure_function_calculated_otherwise_elsewhere_is_the_same_call() -> None:
    """A machine with another last digit brings another event of a pure function; what is recorded heals the run."""
    store, values = MemoryStore(), iter([1, 2])
    app = App()

    @app.function(on=RunSubmitted, emits=Part, pure=True)
    def calculate(event: Event[RunSubmitted], ctx: Context) -> Part:
        return Part(next(values))

    @app.function(on=Part, emits=Done)
    def work(event: Event[Part], ctx: Context) -> Done:
        return Done(event.data.number)

    host = invoker(app, store=store)
    (here,) = host.invoke(SUBMITTED).events
    recorded = host.invoke(here)
    (there,) = host.invoke(SUBMITTED).events

    assert here.id != there.id
    assert host.invoke(there).events == recorded.events  # its publication may have been lost
    assert from_json(to_json(there), {Part.type: Part}).call == here.call


def test_records_know_their_cause() -> None:
    """A record says which event it is the outcome of; one that does not, an old one, is for any."""
    store = MemoryStore()
    app, calls = scattering(1)
    host = invoker(app, store=store)
    (part,) = host.invoke(SUBMITTED).events
    host.invoke(part)
    key = step_key(0, "work")
    record = read_record(store.get(f"runs/r/journal/{key}"))

    assert record.cause == f"varloop/scatter {part.id}"
    assert msgspec.structs.replace(record, cause="") != Record()
    store.put(f"runs/r/journal/{key}", msgspec.json.encode(msgspec.structs.replace(record, cause="")))
    assert invoker(app, store=store).invoke(other(part)).events
    assert calls == {0: 1}


def test_a_shard_is_not_divided_again_and_opens_no_iteration() -> None:
    """What would multiply the loop fails the run, and says why."""
    app = App()

    @app.function(on=RunSubmitted, emits=Part)
    def scatter(event: Event[RunSubmitted], ctx: Context) -> list[Part]:
        return [Part(0), Part(1)]

    @app.function(on=Part, emits=(Done, Next))
    def work(event: Event[Part], ctx: Context) -> Any:
        return Next() if event.data.number else [Done(1), Done(2)]

    host = invoker(app)
    failures = [host.invoke(part).events[0].data for part in host.invoke(SUBMITTED).events]

    assert isinstance(failures[0], RunFailed)
    assert failures[0].detail == "work returned 2 Done for one shard"
    other_app = App()
    other_app.function(on=RunSubmitted, emits=Part, name="scatter")(lambda event, ctx: [Part(1), Part(1)])
    other_app.function(on=Part, emits=Next, name="work")(lambda event, ctx: Next())
    host = invoker(other_app)
    (failed,) = host.invoke(host.invoke(SUBMITTED).events[0]).events
    assert failed.data.detail == "work returned Next for one shard of 2"
    assert "gathered" in failed.data.hint


def test_an_event_that_does_not_say_its_time_is_not_from_1970() -> None:
    """Nobody writes a time into it that it never had."""
    event = msgspec.structs.replace(cancellation(), time=0.0)

    assert b"1970" not in to_json(event)
    assert from_json(to_json(event)) == event
    headers, body = to_http(event)
    assert "ce-time" not in headers
    assert from_http(headers, body) == event
