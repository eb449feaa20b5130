from __future__ import annotations

import json
import logging
from typing import Any

import msgspec
import numpy as np
import pytest

from core.toys import FlakyStore, Toy, cancellation, deliver, invoker, submission
from varloop.app import App
from varloop.context import Context
from varloop.errors import EventError, PermanentError, SpecError, TemporaryError
from varloop.evaluation import Evaluation
from varloop.events import (
    Body,
    CancelRequested,
    CircuitEncoded,
    CircuitExecuted,
    Claim,
    Event,
    Memo,
    ObjectiveEvaluated,
    ParametersProposed,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunSubmitted,
    event_id,
)
from varloop.host import Invoker, Outcome, Verdict
from varloop.host.timeline import Timeline
from varloop.journal import Record, read_record, write_record
from varloop.settings import Settings
from varloop.store.layout import step_key
from varloop.store.memory import MemoryStore
from varloop.wire.codec import encode_body, from_json, to_json

SUBMITTED = submission()


def types(deliveries: list[tuple[Event[Any], Outcome]]) -> list[str]:
    """Last words of the delivered events' types."""
    return [event.type.rpartition(".")[2] for event, _ in deliveries]


def failure(outcome: Outcome) -> RunFailed:
    """The only event of an outcome, a failure."""
    (event,) = outcome.events
    assert isinstance(event.data, RunFailed)
    assert outcome.verdict is Verdict.EMIT
    return event.data


def raising(error: Exception, step: str = "execute") -> Toy:
    """A toy whose one step raises."""

    def before(name: str, event: Event[Any]) -> None:
        if name == step:
            raise error

    return Toy(before=before)


# ------------------------------------------------------------------ the plain course of things


def test_a_run_ends_with_its_result() -> None:
    """Each event calls the step that takes it; the last one ends the run."""
    toy = Toy()
    deliveries = deliver(invoker(toy.app), SUBMITTED)

    assert types(deliveries) == [
        *("submitted", "encoded", "executed", "evaluated"),
        *("proposed", "executed", "evaluated") * 2,
        "completed",
    ]
    assert deliveries[-1][0].data.value == 0.25
    assert deliveries[-1][1].verdict is Verdict.DROP
    assert set(toy.calls.values()) == {1}


def test_events_say_where_they_come_from() -> None:
    """An emitted event has the run, pipeline and trace of its cause, and its content in its id."""
    cause = msgspec.structs.replace(SUBMITTED, traceparent="00-1-2-01", tracestate="a=b")
    (event,) = invoker(Toy().app).invoke(cause).events

    assert (event.run, event.pipeline, event.iteration) == ("r", "default", 0)
    assert (event.source, event.time) == ("varloop/encode", 1_800_000_000.0)
    assert (event.traceparent, event.tracestate) == ("00-1-2-01", "a=b")
    assert event.id == event_id("default", "r", 0, event.type, event.encoded)


def test_only_proposals_open_an_iteration() -> None:
    """Iterations count proposals; every other event stays in its cause's iteration."""
    deliveries = deliver(invoker(Toy().app), SUBMITTED)

    assert [event.iteration for event, _ in deliveries] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2]


def test_an_event_that_nobody_takes_is_dropped() -> None:
    """An event without a function in this host is somebody else's."""
    assert invoker(App()).invoke(SUBMITTED) == Outcome(Verdict.DROP)


# ------------------------------------------------------------------ duplicates


def test_a_duplicate_before_the_next_step_is_answered_again() -> None:
    """While nothing later is recorded, the same outcome comes again, without a call: it may be lost."""
    toy = Toy()
    host = invoker(toy.app)
    first = host.invoke(SUBMITTED)

    assert host.invoke(SUBMITTED) == first
    assert host.invoke(SUBMITTED).events[0].id == first.events[0].id
    assert toy.calls == {"encode r 0": 1}


def test_a_duplicate_after_the_next_step_is_dropped() -> None:
    """Once the next step is recorded, its cause is a duplicate."""
    toy = Toy()
    host = invoker(toy.app)
    deliveries = deliver(host, SUBMITTED, confirm=False)

    for event, _ in deliveries[:-3]:
        if event.type != CircuitExecuted.type:  # its step is pure
            assert host.invoke(event).verdict is Verdict.DROP, event
    assert sum(toy.calls.values()) == 10


def test_a_duplicate_after_an_early_record_is_dropped_when_the_step_after_it_is_recorded() -> None:
    """A record that was made before its event was safe is no proof that it was published; the next one is."""
    host = invoker(Toy().app)
    queue, events = [SUBMITTED], list[Event[Any]]()
    while queue:
        events.append(queue.pop())
        queue += host.invoke(events[-1], 1, lambda: False).events

    answered = [event for event in events if host.invoke(event).verdict is Verdict.EMIT]
    assert [(event.type.rpartition(".")[2], event.iteration) for event in answered] == [
        *(("executed", iteration) for iteration in range(2)),  # its step is pure
        ("proposed", 2),
        ("executed", 2),
        ("evaluated", 2),
    ]


def test_the_last_step_answers_every_duplicate() -> None:
    """Nobody records that the end was seen, so the event that caused it brings it again."""
    host = invoker(Toy().app)
    deliveries = deliver(host, SUBMITTED, confirm=False)
    (last, outcome) = deliveries[-2]

    assert host.invoke(last) == outcome
    assert isinstance(outcome.events[0].data, RunCompleted)


def test_a_pure_step_is_computed_again() -> None:
    """A pure step's duplicate has the same event by the same id, which the next step then drops."""
    toy = Toy()
    host = invoker(toy.app)
    deliveries = deliver(host, SUBMITTED, confirm=False)
    executed, first = deliveries[2]
    again = host.invoke(executed)

    assert [event.id for event in again.events] == [event.id for event in first.events]
    assert toy.calls["postprocess r 0"] == 2
    assert host.invoke(again.events[0]).verdict is Verdict.DROP


def test_a_confirmed_event_is_dropped_without_a_look() -> None:
    """A host that published an event's outcome needs no store to know its duplicates."""
    store = FlakyStore(lambda n: False)
    host = invoker(Toy().app, store=store)
    deliveries = deliver(host, SUBMITTED)
    spent = store.operations

    assert all(host.invoke(event).verdict is Verdict.DROP for event, _ in deliveries[1:])
    assert store.operations == spent


def test_memory_of_confirmed_events_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of confirmed events forgets the oldest; the journal does not."""
    monkeypatch.setattr(Invoker, "SEEN", 2)
    toy = Toy()
    host = invoker(toy.app)
    known = [host.confirmed(event.id) for event, _ in deliver(host, SUBMITTED)]

    assert known == [False] * (len(known) - 2) + [True, True]
    assert host.invoke(SUBMITTED).verdict is Verdict.DROP
    assert toy.calls["encode r 0"] == 1


def test_another_process_takes_over_anywhere() -> None:
    """A new process at every single delivery changes nothing: no state outlives a call but the store's."""
    store, toy = MemoryStore(), Toy()
    queue, end = [SUBMITTED], None
    while queue:
        end = queue.pop(0)
        queue += invoker(toy.app, store=store).invoke(end).events

    assert isinstance(end.data, RunCompleted)
    assert end.data.value == 0.25
    assert set(toy.calls.values()) == {1}


def test_a_step_without_an_outcome_is_called_once() -> None:
    """A step that returns nothing is recorded as well."""
    app, calls = App(), []

    @app.function(on=RunSubmitted)
    def note(event: Event[RunSubmitted], ctx: Context) -> None:
        calls.append(event.id)

    host = invoker(app)

    assert host.invoke(SUBMITTED) == Outcome(Verdict.EMIT, function="note")
    assert host.invoke(SUBMITTED) == Outcome(Verdict.DROP, function="note")
    assert calls == ["r"]


# ------------------------------------------------------------------ races


def test_the_loser_of_a_race_takes_the_winners_outcome() -> None:
    """Two hosts call a step at once: both are called, one outcome is recorded, both emit that one."""
    store, results, other = MemoryStore(), iter(["first", "second"]), []
    app = App()

    @app.function(on=RunSubmitted, emits=CancelRequested)
    def step(event: Event[RunSubmitted], ctx: Context) -> CancelRequested:
        if not other:
            other.append(None)
            other[0] = invoker(app, store=store).invoke(event)
        return CancelRequested(reason=next(results))

    late = invoker(app, store=store).invoke(SUBMITTED)

    assert late == other[0]
    assert late.events[0].data == CancelRequested(reason="first")


@pytest.mark.parametrize("latest", [-2, 0, 1, 5])
def test_optimism_changes_no_outcome(latest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a process guesses that a record is new or looks first, a recorded step keeps its outcome."""
    store, toy = MemoryStore(), Toy()
    recorded = deliver(invoker(toy.app, store=store), SUBMITTED)
    fresh = invoker(toy.app, store=store)
    fresh.resources.journal("r")._latest = latest

    for event, outcome in recorded:
        again = fresh.invoke(event)
        assert [e.id for e in again.events] in ([], [e.id for e in outcome.events])
        if event.type in (ParametersProposed.type, CircuitEncoded.type):
            assert again.verdict is Verdict.DROP


# ------------------------------------------------------------------ cancelling


def test_cancelling_ends_the_run_before_its_next_job() -> None:
    """After a cancel no job starts, and the run's only end is its cancellation."""
    toy = Toy()
    host = invoker(toy.app)
    (encoded,) = host.invoke(SUBMITTED).events
    deliveries = deliver(host, cancellation(), encoded)

    assert types(deliveries) == ["requested", "encoded", "cancelled"]
    assert deliveries[1][1].verdict is Verdict.DROP
    assert not toy.calls["execute r 0"]


@pytest.mark.parametrize("when", range(11))
def test_a_cancel_at_any_moment_leaves_one_end(when: int) -> None:
    """Whenever a cancel comes, every terminal event of the run is the same one."""
    toy = Toy()
    host = invoker(toy.app)
    queue, ends, jobs, delivered = [SUBMITTED], [], None, 0
    while queue:
        if delivered == when:
            queue.append(cancellation())
        event = queue.pop(0)
        if event.type == CancelRequested.type:
            jobs = len([key for key in toy.calls if key.startswith("execute")])
        delivered += 1
        events = host.invoke(event).events
        queue += events
        ends += [event for event in events if event.type.rpartition(".")[2] in ("completed", "cancelled")]

    assert len({end.id for end in ends}) == 1
    assert {end.type for end in ends} == {(RunCancelled if when < 9 else RunCompleted).type}
    assert jobs is None or len([key for key in toy.calls if key.startswith("execute")]) <= jobs + 1


def test_cancelling_between_call_and_record_wins_the_race() -> None:
    """A cancel that comes while a job runs takes the place of its record; the job's outcome is dropped."""
    store = MemoryStore()

    def before(name: str, event: Event[Any]) -> None:
        if name == "execute":
            deliver(invoker(Toy().app, store=store), cancellation())

    host = invoker(Toy(before=before).app, store=store)
    (encoded,) = host.invoke(SUBMITTED).events

    assert host.invoke(encoded) == Outcome(Verdict.DROP, function="execute")


def test_two_requests_cancel_once() -> None:
    """A second request, by another id, brings the same end."""
    host = invoker(Toy().app)
    host.invoke(SUBMITTED)

    (first,), (second,) = (host.invoke(cancellation(id=id)).events for id in "ab")
    assert first == second


def test_an_end_wins_over_a_failure() -> None:
    """A step that fails after its run was cancelled brings the cancellation, not another end."""

    def before(name: str, event: Event[Any]) -> None:
        if name == "postprocess":
            deliver(host, cancellation())
            raise PermanentError("too late")

    host = invoker(Toy(before=before).app)
    ends = [event for event, _ in deliver(host, SUBMITTED) if event.type.endswith(("failed", "cancelled"))]

    assert {event.type for event in ends} == {RunCancelled.type}


# ------------------------------------------------------------------ errors of functions


def test_a_temporary_error_is_delivered_again() -> None:
    """A temporary error records nothing and asks for another delivery after its time."""
    toy = raising(TemporaryError("the device sleeps", retry_after=7.0, run="r"), "encode")
    host = invoker(toy.app)

    assert host.invoke(SUBMITTED) == Outcome(
        Verdict.RETRY, delay=7.0, reason="run r: the device sleeps", error="TemporaryError", function="encode"
    )
    host.invoke(SUBMITTED, attempt=2)
    assert toy.calls["encode r 0"] == 2


@pytest.mark.parametrize("step", ["execute", "postprocess"])
def test_temporary_errors_are_capped(step: str) -> None:
    """The last attempt at a temporary error ends the run, in a recorded step as in a pure one."""
    toy = raising(TemporaryError("the device sleeps", hint="wake it"), step)
    host = invoker(toy.app, settings=Settings(retries=2))
    cause = deliver(host, SUBMITTED, confirm=False)[-1][0]

    assert host.invoke(cause, attempt=2).verdict is Verdict.RETRY
    failed = failure(host.invoke(cause, attempt=3))
    assert (failed.error, failed.detail, failed.function) == ("TemporaryError", "the device sleeps", step)
    assert failed.hint == "gave up after 3 attempts; wake it"


def test_a_permanent_error_ends_the_run() -> None:
    """A permanent error becomes run.failed with what happened, what to do and where."""
    host = invoker(raising(SpecError(["a: wrong", "b: wrong"], hint="mend it")).app)
    failed = failure(deliver(host, SUBMITTED)[1][1])

    assert failed == RunFailed(
        error="SpecError",
        detail="the spec has 2 faults: a: wrong; b: wrong",
        hint="mend it",
        function="execute",
        faults=["a: wrong", "b: wrong"],
    )


def test_a_failure_is_emitted_again_and_not_called_again() -> None:
    """A failed step's duplicate brings the same failure."""
    toy = raising(PermanentError("no"))
    host = invoker(toy.app)
    deliveries = deliver(host, SUBMITTED, confirm=False)

    assert host.invoke(deliveries[1][0]).events == deliveries[1][1].events
    assert toy.calls["execute r 0"] == 1


def test_an_unexpected_error_ends_the_run(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in a function ends the run, says where the traceback is, and never reaches the host."""
    with caplog.at_level(logging.ERROR, "varloop.host"):
        failed = failure(deliver(invoker(raising(KeyError("angle")).app), SUBMITTED)[1][1])

    assert (failed.error, failed.detail, failed.function) == ("KeyError", "'angle'", "execute")
    assert "log has the traceback" in failed.hint
    assert "raise error\nKeyError: 'angle'" in caplog.text


def test_an_error_is_cut() -> None:
    """A message of any length becomes an event of bounded size."""
    failed = failure(deliver(invoker(raising(ValueError("x" * 10**6)).app), SUBMITTED)[1][1])

    assert len(failed.detail) == 2000


def test_an_unacceptable_event_is_dead() -> None:
    """An EventError of a function is the event's fault, not the run's."""
    host = invoker(raising(EventError("not mine", hint="send it elsewhere"), "encode").app)

    assert host.invoke(SUBMITTED) == Outcome(
        Verdict.DEAD, reason="not mine (send it elsewhere)", error="EventError", function="encode"
    )


def test_secrets_stay_out(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """No value of a secret environment variable and no URL's password is in an event, a reason or a log."""
    monkeypatch.setenv("DEVICE_API_KEY", "hunter2000")
    text = "GET https://me:pa55word@device?key=hunter2000"
    errors = [
        TemporaryError(text, hint=text),
        PermanentError(text, hint=text),
        SpecError([text], hint=text),
        EventError(text, hint=text),
        ValueError(text),
    ]
    with caplog.at_level(logging.DEBUG, "varloop"):
        for error in errors:
            host = invoker(raising(error).app, settings=Settings(retries=1))
            cause = deliver(host, SUBMITTED, confirm=False)[-1][0]
            for attempt in (1, 2):
                outcome = host.invoke(cause, attempt=attempt)
                written = b"".join(map(to_json, outcome.events)).decode() + outcome.reason
                assert "https://***@device?key=***" in written or outcome.verdict is Verdict.DROP
                assert "hunter2000" not in written
                assert "pa55word" not in written

    assert "hunter2000" not in caplog.text
    assert "pa55word" not in caplog.text


class Surprise(Body, frozen=True):
    type = "com.example.surprise"
    reason: str = ""


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (Surprise(), "step returned Surprise, it emits RunCompleted"),
        ([RunCancelled(), Surprise()], "step returned RunCancelled, it emits RunCompleted"),
        ("text", "step returned str, it emits RunCompleted"),
        ({"value": 1.0}, "step returned str, it emits RunCompleted"),
        (5, "step returned int, it emits RunCompleted"),
    ],
    ids=str,
)
def test_a_step_emits_what_it_declared(returned: Any, message: str) -> None:
    """A body that was not declared ends the run and is not published."""
    app = App()

    @app.function(on=RunSubmitted, emits=RunCompleted)
    def step(event: Event[RunSubmitted], ctx: Context) -> Any:
        return returned

    failed = failure(invoker(app).invoke(SUBMITTED))
    assert failed.detail == message


@pytest.mark.parametrize("value", [np.ones(1), "\ud800"], ids=["array", "surrogate"])
@pytest.mark.parametrize("body", [RunCancelled, Surprise])
def test_a_body_that_cannot_travel_ends_the_run(body: type[Any], value: Any) -> None:
    """What JSON cannot hold in a body ends that run, and never reaches the host that serves others too."""
    app = App()

    @app.function(on=RunSubmitted, emits=body)
    def step(event: Event[RunSubmitted], ctx: Context) -> Any:
        return body(reason=value)

    failed = failure(invoker(app).invoke(SUBMITTED))
    assert failed.detail.startswith(f"a {body.__name__} cannot become JSON: ")
    assert failed.function == "step"


# ------------------------------------------------------------------ faults of the store


@pytest.mark.parametrize("operation", range(1, 40))
def test_a_store_that_fails_anywhere_costs_time_only(operation: int) -> None:
    """Whichever operation of the store fails, the event is delivered again and the result is the same."""
    store = FlakyStore(lambda n: n == operation)
    host = invoker(Toy().app, store=store)
    queue, retries, ends = [SUBMITTED], 0, []
    while queue:
        event = queue.pop(0)
        outcome = host.invoke(event)
        retries += outcome.verdict is Verdict.RETRY
        queue += [event] if outcome.verdict is Verdict.RETRY else outcome.events
        ends += [event for event in outcome.events if isinstance(event.data, RunCompleted | RunFailed)]

    assert [end.data.value for end in ends] == [0.25]
    assert retries == (operation <= store.operations - 1)


def test_a_store_that_fails_while_a_run_is_failed() -> None:
    """If the store fails while a run is being ended for a lost object, the event is delivered again."""
    store = FlakyStore(lambda n: False)
    host = invoker(Toy().app, store=store)
    host.invoke(SUBMITTED)
    lost = own(Claim(of=CircuitExecuted.type, ref="runs/r/objects/" + "0" * 64))

    for operation in (1, 2, 3):
        store.operations, store.fails = 0, lambda n, k=operation: n == k
        assert host.invoke(lost).verdict is Verdict.RETRY
    store.fails = lambda n: False
    assert failure(host.invoke(lost)).error == "MissingObject"


def own(body: Body, iteration: int = 0) -> Event[Any]:
    """An event of one of varloop's functions."""
    data = encode_body(body)
    type = body.of if isinstance(body, Claim) else body.type
    id = event_id("default", "r", iteration, type, data)
    return Event(id=id, source="varloop/execute", run="r", data=body, time=0.0, iteration=iteration)


@pytest.mark.parametrize("damage", ["gone", "altered"])
def test_a_lost_object_of_ours_ends_the_run(damage: str) -> None:
    """If what a function deposited is gone or altered, the run fails and says so."""
    store = MemoryStore()
    host = invoker(Toy().app, store=store)
    host.invoke(SUBMITTED)
    ref = "runs/r/objects/" + "0" * 64
    if damage == "altered":
        store.put(ref, b"{}")
    failed = failure(host.invoke(own(Claim(of=CircuitExecuted.type, ref=ref))))

    assert failed.error == {"gone": "MissingObject", "altered": "CorruptObject"}[damage]
    assert failed.function == "postprocess"


def test_a_foreign_claim_on_nothing_is_dead() -> None:
    """An event from elsewhere that refers to nothing harms no run."""
    host = invoker(Toy().app)
    host.invoke(SUBMITTED)
    event = msgspec.structs.replace(
        own(Claim(of=CancelRequested.type, ref="runs/r/objects/" + "0" * 64)), source="elsewhere"
    )
    outcome = host.invoke(event)

    assert (outcome.verdict, outcome.error) == (Verdict.DEAD, "MissingObject")
    assert types(deliver(host, SUBMITTED))[-1] == "completed"


def test_what_functions_emit_is_taken_from_functions_alone() -> None:
    """A stranger's events of the loop's inner types are dead letters, and no function is called for them."""
    toy = Toy()
    host = invoker(toy.app)
    deliver(host, SUBMITTED)
    called = dict(toy.calls)
    forged = msgspec.structs.replace(
        own(ParametersProposed(template="none", points=[[9.0]], memo=Memo("000000/encode", ""))),
        source="evil",
    )

    outcome = host.invoke(forged)

    assert (outcome.verdict, outcome.error) == (Verdict.DEAD, "EventError")
    assert "is not taken from applications" in outcome.reason
    assert toy.calls == called


@pytest.mark.parametrize(
    "ref", ["runs/r/submitted", "runs/r/objects/../submitted", "", "runs/s/objects/" + "0" * 64]
)
def test_a_claim_reads_only_objects(ref: str) -> None:
    """A claim cannot be used to read anything but objects."""
    host = invoker(Toy().app)
    host.invoke(SUBMITTED)
    claim = Claim(of=CircuitExecuted.type, ref=ref)

    assert host.invoke(msgspec.structs.replace(own(claim), source="elsewhere")).verdict is Verdict.DEAD


def test_a_damaged_record_ends_the_run() -> None:
    """A record that does not match its seal cannot be used, and ends the run it belongs to."""
    store = MemoryStore()
    (encoded,) = invoker(Toy().app, store=store).invoke(SUBMITTED).events
    key = "runs/r/journal/000000/encode"
    store._objects[key] = store._objects[key][:-1]
    host = invoker(Toy().app, store=store)
    deliveries = deliver(host, encoded)

    assert types(deliveries)[-1] == "failed"
    assert deliveries[-1][0].data.error == "CorruptObject"


def test_a_record_nobody_can_read_is_dead() -> None:
    """A record that is sealed but not of this version's form is reported, not raised."""
    store = MemoryStore()
    store.put("runs/r/journal/000000/encode", b'{"events":5}')
    outcome = invoker(Toy().app, store=store).invoke(SUBMITTED)

    assert outcome.verdict is Verdict.DEAD
    assert "000000/encode" in outcome.reason


def test_an_altered_memory_ends_the_run() -> None:
    """What a step remembered must be what the event was made with."""
    toy = Toy()
    host = invoker(toy.app)
    event = SUBMITTED
    for _ in range(3):
        (event,) = host.invoke(event).events
    evaluated = event
    body = msgspec.structs.replace(
        evaluated.data, memo=msgspec.structs.replace(evaluated.data.memo, digest="0" * 32)
    )
    failed = failure(host.invoke(own(body, iteration=7)))

    assert failed.error == "CorruptObject"
    assert "000000/encode is not the one the event was made with" in failed.detail


# ------------------------------------------------------------------ whose event it is


def test_an_event_of_an_unknown_run_is_dead() -> None:
    """A cancel for a run that was never submitted says which run, and what to do."""
    from varloop_functions.execute import app

    outcome = invoker(app).invoke(cancellation("ghost"))

    assert (outcome.verdict, outcome.error) == (Verdict.DEAD, "UnknownRun")
    assert outcome.reason == "run ghost: memory: knows no such run (submit it first)"


def test_a_run_id_belongs_to_its_first_spec() -> None:
    """Another spec under a taken run id is dead, and the run it belongs to does not notice."""
    toy = Toy()
    host = invoker(toy.app)
    first = host.invoke(SUBMITTED)
    other = host.invoke(submission(id="another", start=5.0))

    assert (other.verdict, other.error) == (Verdict.DEAD, "ConflictError")
    assert other.reason.startswith("run r: this run id belongs to another spec")
    assert deliver(host, *first.events)[-1][0].data.value == 0.25


def test_the_conflict_is_noticed_whatever_the_events_id() -> None:
    """Another spec under the very event id of the first is no duplicate of it."""
    host = invoker(Toy().app)
    deliver(host, SUBMITTED)

    assert host.invoke(submission(start=5.0)).verdict is Verdict.DEAD
    assert host.invoke(submission(source="another")).verdict is Verdict.DROP


def test_the_same_spec_again_is_the_same_run() -> None:
    """The same spec under the same run id, by whatever event, is a duplicate."""
    toy = Toy()
    host = invoker(toy.app)
    first = host.invoke(SUBMITTED)

    assert host.invoke(submission(id="another", source="elsewhere")) == first
    assert toy.calls["encode r 0"] == 1


def test_two_runs_do_not_meet() -> None:
    """Runs side by side in one host have their own results."""
    toy = Toy()
    deliveries = deliver(invoker(toy.app), submission("a"), submission("b", start=5.0))
    ends = {event.run: event.data.value for event, _ in deliveries if isinstance(event.data, RunCompleted)}

    assert ends == {"a": 0.25, "b": 1.0}


# ------------------------------------------------------------------ pipelines and events of your own


class Checked(Body, frozen=True):
    type = "com.example.checked"
    value: float


def test_a_pipeline_inherits_its_other_steps() -> None:
    """An app that defines one step gets all others from the default pipeline, and changes no other run."""
    own_app = App("double")

    @own_app.function(on=CircuitExecuted, emits=ObjectiveEvaluated, pure=True)
    def doubled(event: Event[CircuitExecuted], ctx: Context) -> ObjectiveEvaluated:
        values = [2 * value for value in event.data.measurement.values or []]
        return ObjectiveEvaluated(memo=event.data.request.memo, evaluation=Evaluation(values, [0.0]))

    host = invoker(Toy().app, own_app)
    deliveries = deliver(host, submission("a", pipeline="double"), submission("b"))
    ends = {event.run: event.data.value for event, _ in deliveries if isinstance(event.data, RunCompleted)}

    assert ends == {"a": 0.5, "b": 0.25}
    assert {event.pipeline for event, _ in deliveries if event.run == "a"} == {"double"}


@pytest.mark.parametrize("pure", [False, True])
def test_a_step_between_two_others(pure: bool) -> None:
    """A pipeline may route an event of its own between two inherited steps, with all their guarantees."""
    own_app, calls = App("checked"), []

    @own_app.function(on=CircuitExecuted, emits=Checked, pure=pure)
    def check(event: Event[CircuitExecuted], ctx: Context) -> Checked:
        calls.append(event.iteration)
        assert event.data.measurement.values is not None
        return Checked(event.data.measurement.values[0])

    @own_app.function(on=Checked, emits=ObjectiveEvaluated, pure=True)
    def go_on(event: Event[Checked], ctx: Context) -> ObjectiveEvaluated:
        record = ctx.journal.find(step_key(event.iteration, "execute"))
        assert record is not None
        executed: Event[Any] = from_json(bytes(read_record(record).events[0]))
        return ObjectiveEvaluated(
            memo=executed.data.request.memo, evaluation=Evaluation([event.data.value], [0.0])
        )

    host = invoker(Toy().app, own_app)
    deliveries = deliver(host, submission(pipeline="checked"), confirm=False)
    again = [host.invoke(event) for event, _ in deliveries[:-1]]

    assert deliveries[-1][0].data.value == 0.25
    assert calls == [0, 1, 2] * (2 if pure else 1)
    assert {event.id for outcome in again for event in outcome.events} <= {e.id for e, _ in deliveries}


def test_a_circle_of_pure_steps_is_no_trap() -> None:
    """Asking who takes up an event ends even where pure steps feed each other."""
    app = App()

    @app.function(on=RunSubmitted, emits=Checked)
    def first(event: Event[RunSubmitted], ctx: Context) -> Checked:
        return Checked(1.0)

    @app.function(on=Checked, emits=(Surprise, CancelRequested), pure=True)
    def there(event: Event[Checked], ctx: Context) -> CancelRequested:
        return CancelRequested()

    @app.function(on=Surprise, emits=Checked, pure=True)
    def back(event: Event[Surprise], ctx: Context) -> Checked:
        return Checked(1.0)

    host = invoker(app)

    assert host.invoke(SUBMITTED) == host.invoke(SUBMITTED)


def test_large_bodies_are_deposited() -> None:
    """A body over 32 KiB travels as a claim, is redeemed before the call, and is recorded as a claim."""
    toy, store = Toy(), MemoryStore()
    host = invoker(toy.app, store=store)
    large = submission(notes="x" * 40_000)
    body, encoded = host.resources.claims.deposit(large.data, large.run)
    event = msgspec.structs.replace(large, data=body, encoded=encoded)

    assert isinstance(body, Claim)
    assert types(deliver(host, event))[-1] == "completed"
    assert invoker(toy.app, store=store).invoke(large).verdict is Verdict.DROP


def test_calls_that_no_record_takes_are_forgotten_in_the_end() -> None:
    """A host of pure steps alone, which writes no records, does not grow with the calls it made."""
    app = App()

    @app.function(on=CancelRequested, emits=Checked, pure=True)
    def look(event: Event[CancelRequested], ctx: Context) -> Checked:
        return Checked(0.0)

    host = invoker(app)
    for number in range(1500):
        host.invoke(cancellation("same", id=f"c{number}"))
        host.invoke(cancellation(f"r{number}"))

    assert len(host.timeline) <= Timeline.RUNS
    assert max(len(host.timeline.of(run)) for run in ("same", "r1499")) <= Timeline.CALLS


def test_calls_are_recorded_with_the_next_outcome() -> None:
    """A record has its step's call and those of the pure steps before it: who, when, where."""
    store = MemoryStore()
    deliver(invoker(Toy().app, store=store), SUBMITTED)
    record = json.loads(store.get("runs/r/journal/000001/optimize"))

    assert [(call[0], call[1], call[4]) for call in record["calls"]] == [
        ("postprocess", 1, "test"),
        ("optimize", 1, "test"),
    ]


def test_an_empty_record_voids_a_step() -> None:
    """A record without events, put in a step's place, is a barrier: the step is dropped, uncalled."""
    store, toy = MemoryStore(), Toy()
    (encoded,) = invoker(toy.app, store=store).invoke(SUBMITTED).events
    store.create("runs/r/journal/000000/execute", write_record(Record()))

    assert invoker(toy.app, store=store).invoke(encoded).verdict is Verdict.DROP
    assert not toy.calls["execute r 0"]
