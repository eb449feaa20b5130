from __future__ import annotations

from typing import Any

import pytest

import toy
from core.toys import Toy, cancellation, invoker, submission
from varloop import runs
from varloop.app import App, Pipelines
from varloop.client import EmbeddedClient
from varloop.context import Context, Resources
from varloop.errors import UnknownRun
from varloop.events import CircuitEncoded, Event, RunCancelled, RunCompleted, RunFailed, RunSubmitted
from varloop.host import load_pipelines
from varloop.host.embedded import EmbeddedHost
from varloop.journal import Record, write_record
from varloop.runs.listing import states
from varloop.store import Store
from varloop.store.layout import index_key
from varloop.store.memory import MemoryStore
from varloop.testing import FakeClock
from varloop.wire.claims import LIMIT


def a_host(store: Store, *apps: App) -> EmbeddedHost:
    """A process of its own over a store: with the functions given, or the installed ones and the toy's."""
    pipelines = Pipelines(apps) if apps else load_pipelines([toy.app])
    return EmbeddedHost(pipelines, Resources(store, FakeClock(), pipelines.types))


def drive(host: EmbeddedHost, *, deliveries: int = 10**6) -> list[Event[Any]]:
    """Deliver what is on the bus, as many events as told."""
    events = []
    for event in host.run():
        events.append(event)
        if len(events) == deliveries:
            break
    return events


def a_toy_run(store: Store, *, deliveries: int = 10**6, **changes: Any) -> Resources:
    """A run of the toy pipeline that was driven so far; the resources of another process."""
    client = EmbeddedClient(a_host(store), ids=lambda: "r")
    client.submit({**toy.SPEC, **changes}, pipeline="toy")
    drive(client.host, deliveries=deliveries)
    return a_host(store).resources


def test_a_run_that_was_just_submitted() -> None:
    """Before its first step a run is running, with nothing to show."""
    resources = a_toy_run(MemoryStore(), deliveries=1)

    assert runs.StoredRun(resources, "r").state() == runs.RunState(
        run="r", state="running", pipeline="toy", submitted=1_800_000_000.0, iterations=0
    )
    assert runs.StoredRun(resources, "r").history() == []
    assert runs.StoredRun(resources, "r").calls() == []
    assert runs.StoredRun(resources, "r").ending() is None
    assert runs.StoredRun(resources, "r").find_iteration(0) is None


def test_a_run_under_way() -> None:
    """A run is known by the last iteration that was finished."""
    resources = a_toy_run(MemoryStore(), deliveries=11)
    state, history = runs.StoredRun(resources, "r").state(), runs.StoredRun(resources, "r").history()

    assert (state.state, state.iterations, state.outcome) == ("running", 3, None)
    assert [step.iteration for step in history] == [0, 1, 2]
    assert state.value == history[-1].value == min(step.value for step in history)
    assert history[1] == runs.StoredRun(resources, "r").find_iteration(1)


def test_a_completed_run() -> None:
    """A completed run has its result, and all its iterations and calls in order."""
    resources = a_toy_run(MemoryStore(), shots=100)
    state, history = runs.StoredRun(resources, "r").state(), runs.StoredRun(resources, "r").history()

    assert state.state == "completed"
    assert isinstance(state.outcome, RunCompleted)
    assert (state.iterations, state.shots) == (state.outcome.iterations, state.outcome.shots) == (6, 1200)
    assert [step.shots for step in history] == [*(100 * n for n in range(1, 7)), 1200]
    assert all(step.error == 0.1 for step in history)
    assert [step.lowest for step in history][:6] == [
        min(step.value for step in history[: n + 1]) for n in range(6)
    ]
    assert [call.function for call in runs.StoredRun(resources, "r").calls()][:4] == [
        *("encode", "execute", "postprocess", "optimize")
    ]
    assert len(runs.StoredRun(resources, "r").calls()) == 1 + 3 * 7


def test_any_step_reports_progress_and_memory_is_its_own() -> None:
    """A pipeline whose steps remember something else, under any names, hides no run and shows what it reports."""
    store, app = MemoryStore(), App("mine")

    @app.function(on=RunSubmitted, emits=CircuitEncoded, name="optimize")
    def begin(event: Event[RunSubmitted], ctx: Context) -> CircuitEncoded:
        ctx.progress(runs.Iteration(iteration=0, value=2.5, error=0.5, lowest=2.5, shots=7))
        return CircuitEncoded(template="", points=[[1.0]], memo=ctx.remember(["no", "loop"]))

    EmbeddedClient(a_host(store, app)).submit({}, run="mine", pipeline=app)
    resources = a_toy_run(store)
    found = {state.run: state for state in states(resources)}

    assert (found["mine"].state, found["r"].state) == ("running", "completed")
    assert found["mine"].value is None
    host = a_host(store, app)
    host.publish(resources.submitted("mine"))
    drive(host)
    state = runs.StoredRun(resources, "mine").state()
    assert (state.iterations, state.value, state.error, state.shots) == (1, 2.5, 0.5, 7)


def test_a_failed_run() -> None:
    """A failed run says why, and keeps what it had."""
    broken = {"optimizer": {"name": "spsa", "options": {"broken": 2}}}
    state = runs.StoredRun(a_toy_run(MemoryStore(), **broken), "r").state()

    assert (state.state, state.iterations) == ("failed", 2)
    assert isinstance(state.outcome, RunFailed)
    assert state.outcome.hint == "do not tell it to"


def test_a_cancelled_run() -> None:
    """A cancelled run says so."""
    store, app = MemoryStore(), Toy().app
    host = a_host(store, app)
    host.publish(submission())
    drive(host, deliveries=1)
    host.publish(cancellation())
    drive(host)

    assert runs.STATES[type(runs.StoredRun(host.resources, "r").ending().data)] == "cancelled"  # type: ignore[union-attr]


def test_an_unknown_run() -> None:
    """Asking for a run that was never submitted names it."""
    resources = a_host(MemoryStore()).resources

    for ask in (runs.StoredRun.state, runs.StoredRun.pending):
        with pytest.raises(UnknownRun, match="run ghost: memory: knows no such run"):
            ask(runs.StoredRun(resources, "ghost"))


def test_what_cannot_be_read_hides_no_run() -> None:
    """Among all runs, a damaged one is told as such."""
    store = MemoryStore()
    resources = a_toy_run(store)
    store.put("runs/broken/submitted", b"no event")
    store.put(index_key(0.0, "broken"), b"")

    assert [(each.run, each.state) for each in states(resources)] == [
        ("r", "completed"),
        ("broken", "unreadable"),
    ]


def test_an_end_too_large_for_an_event() -> None:
    """An end that travels as a claim is an end all the same: for its state, its result and who waits."""
    app = App()
    large = [0.1 + index for index in range(10_000)]

    @app.function(on=RunSubmitted, emits=RunCompleted)
    def encode(event: Event[RunSubmitted], ctx: Context) -> RunCompleted:
        return RunCompleted(value=0.0, error=0.0, parameters=large, iterations=0, shots=0, reason="converged")

    store = MemoryStore()
    run = EmbeddedClient(a_host(store, app)).submit({"start": 1.0}, run="r")
    *_, end = run.watch()

    assert isinstance(end.data, RunCompleted)
    assert end.data.parameters == run.result().parameters == large
    assert runs.StoredRun(a_host(store, app).resources, "r").state().outcome == end.data
    assert len(store.get("runs/r/journal/end")) < LIMIT


# ------------------------------------------------------------------ setting a stopped run going again


@pytest.mark.parametrize("deliveries", range(12))
def test_pending_events_resume_a_run_from_anywhere(deliveries: int) -> None:
    """However far a run came, the events it waits for bring it to the same end, and no step runs twice."""
    toy_app = Toy()
    straight = a_host(MemoryStore(), toy_app.app)
    straight.publish(submission())
    (expected,) = [event for event in drive(straight) if isinstance(event.data, RunCompleted)]

    store, again = MemoryStore(), Toy()
    first = a_host(store, again.app)
    first.resources.register(submission())
    if deliveries:
        first.publish(submission())
        drive(first, deliveries=deliveries)

    second = a_host(store, again.app)
    for event in runs.StoredRun(second.resources, "r").pending():
        second.publish(event)
    drive(second)
    assert runs.StoredRun(second.resources, "r").ending() == expected
    assert {count for name, count in again.calls.items() if not name.startswith("postprocess")} == {1}
    assert runs.StoredRun(second.resources, "r").pending() == []


def test_pending_is_short_however_long_the_run() -> None:
    """To resume a long run, only its last two iterations are published again."""
    store = MemoryStore()
    host = a_host(store, Toy(iterations=50).app)
    host.publish(submission())
    drive(host, deliveries=120)

    assert len(runs.StoredRun(host.resources, "r").pending()) <= 4


def test_notes_of_a_step_are_no_records() -> None:
    """What a step computed once for itself is not mistaken for a step's outcome."""
    store = MemoryStore()
    host = invoker(Toy().app, store=store)
    (encoded,) = host.invoke(submission()).events
    Context(host.resources, encoded, "execute").once("note", lambda: {"events": "none"})

    assert [event.id for event in runs.StoredRun(host.resources, "r").pending()] == [encoded.id]


def test_a_half_done_cancel_is_pending() -> None:
    """A process that died between voiding the next job and ending the run leaves a run that can be ended."""
    store = MemoryStore()
    invoker(Toy().app, store=store).invoke(submission())
    assert store.create("runs/r/journal/000000/execute", write_record(Record()))

    host = a_host(store, Toy().app)
    for event in runs.StoredRun(host.resources, "r").pending():
        host.publish(event)
    drive(host)

    end = runs.StoredRun(host.resources, "r").ending()
    assert end is not None
    assert isinstance(end.data, RunCancelled)
