"""A call that does not come back fails its run and holds up no other; a request to cancel does not wait for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from core.toys import Toy, cancellation, deliver, invoker, submission
from host.served import serving
from host.test_knative_host import Receiver, hosted
from host.test_worker import Site, until
from varloop.app import App
from varloop.context import Context
from varloop.errors import StoreUnavailable, TemporaryError, UsageError
from varloop.events import CancelRequested, Event, RunCancelled, RunCompleted, RunFailed, RunSubmitted
from varloop.host import Invoker, Outcome, Verdict
from varloop.settings import Settings
from varloop.store.memory import MemoryStore
from varloop.testing import FakeClock
from varloop.wire.codec import to_http


class Hang:
    """A toy one of whose steps does not come back in the run ``bad`` until it is let go."""

    def __init__(self, step: str = "execute", **options: Any) -> None:
        self.entered, self.over = threading.Event(), threading.Event()
        self._step = step
        self.toy = Toy(before=self._before, **options)

    def _before(self, name: str, event: Event[Any]) -> None:
        if (name, event.run) == (self._step, "bad"):
            self.entered.set()
            self.over.wait(20)


@pytest.fixture
def hang() -> Iterator[Hang]:
    """One that is let go at the end."""
    made = Hang()
    yield made
    made.over.set()


class Call:
    """A delivery in a thread of its own."""

    def __init__(self, host: Invoker, event: Event[Any]) -> None:
        self.outcomes: list[Outcome] = []
        self._thread = threading.Thread(target=lambda: self.outcomes.append(host.invoke(event)))
        self._thread.start()

    def join(self) -> Outcome:
        """Its outcome."""
        self._thread.join()
        return self.outcomes[0]


@pytest.mark.parametrize("step", ["encode", "execute", "postprocess", "optimize"])
def test_a_call_that_takes_too_long_fails_its_run(step: str) -> None:
    """Its outcome is the failure, and what it returns in the end comes too late; a pure step's too."""
    hang = Hang(step)
    host = invoker(hang.toy.app, settings=Settings(timeout=60.0, fresh=1e9))
    queue = [submission("bad")]
    while (function := host.pipelines.route("default", queue[0].type)) and function.name != step:
        queue += host.invoke(queue.pop(0)).events
    call = Call(host, queue[0])
    hang.entered.wait(10)

    host.resources.clock.sleep(59.0)
    assert host.oversee() == []
    host.resources.clock.sleep(2.0)
    ((event, outcome),) = host.oversee()
    assert (host.oversee(), host.given_up) == ([], 1)
    hang.over.set()
    late = call.join()

    assert event.id == queue[0].id
    (failed,) = outcome.events
    assert isinstance(failed.data, RunFailed)
    assert (failed.data.error, failed.data.function) == ("TimedOut", step)
    assert failed.data.detail == f"{step} did not come back within 60 s, in iteration 0"
    assert host.given_up == 0
    ends = [
        each for each, _ in deliver(host, *late.events) if isinstance(each.data, RunCompleted | RunFailed)
    ]
    assert set(ends) <= {failed}


def test_a_function_has_a_timeout_and_retries_of_its_own() -> None:
    """They come before the host's."""
    app, failures = App(), [TemporaryError("busy"), TemporaryError("busy")]
    entered, over = threading.Event(), threading.Event()

    @app.function(on=RunSubmitted, emits=RunCancelled, timeout=5.0)
    def slow(event: Event[RunSubmitted], ctx: Context) -> RunCancelled:
        entered.set()
        over.wait(10)
        return RunCancelled()

    @app.function(on=CancelRequested, emits=RunCancelled, retries=1)
    def busy(event: Event[CancelRequested], ctx: Context) -> RunCancelled:
        raise failures.pop()

    host = invoker(app)
    call = Call(host, submission())
    entered.wait(10)
    host.resources.clock.sleep(6.0)
    assert [outcome.events[0].data.error for _, outcome in host.oversee()] == ["TimedOut"]
    over.set()
    call.join()

    host = invoker(app)
    assert host.invoke(cancellation(), 1).verdict is Verdict.RETRY
    assert host.invoke(cancellation(), 2).events[0].data.hint.startswith("gave up after 2 attempts")


@pytest.mark.parametrize("options", [{"retries": -1}, {"timeout": 0.0}, {"timeout": float("nan")}], ids=str)
def test_options_that_mean_nothing(options: dict[str, Any]) -> None:
    """They are refused when the function is registered."""
    with pytest.raises(UsageError, match="retries are 0 or more"):
        App().function(on=RunSubmitted, name="step", **options)(lambda event, ctx: None)


def test_a_run_is_failed_when_the_store_is_back() -> None:
    """A failure that can't be recorded now is recorded at the next look."""
    store = MemoryStore()
    hang = Hang("encode")
    host = invoker(hang.toy.app, store=store, settings=Settings(timeout=1.0))
    call = Call(host, submission("bad"))
    hang.entered.wait(10)
    host.resources.clock.sleep(2.0)
    create = store._create

    def away(key: str, sealed: bytes) -> bool:
        raise StoreUnavailable("away")

    store._create = away  # type: ignore[method-assign]
    assert host.oversee() == []
    store._create = create  # type: ignore[method-assign]
    assert len(host.oversee()) == 1
    hang.over.set()
    call.join()


def test_a_marked_call_that_takes_long_is_not_taken_for_dead() -> None:
    """Its mark is renewed while it is overseen, so that nobody elsewhere counts a death."""
    store, clock = MemoryStore(), FakeClock(1_900_000_000.0)
    hang = Hang("encode")
    host = invoker(hang.toy.app, store=store)
    object.__setattr__(host.resources, "clock", clock)
    host._attempts._clock = clock
    call = Call(host, submission("bad"))
    hang.entered.wait(10)
    (key,) = store.keys("runs/bad/attempts/")
    first = store.get(key)
    clock.sleep(15.0)
    host.oversee()
    assert store.get(key) != first
    hang.over.set()
    call.join()
    assert list(store.keys("runs/bad/attempts/")) == []


# ------------------------------------------------------------------ hosts


@pytest.fixture
def site() -> Iterator[Site]:
    """A cluster whose workers are stopped at the end."""
    made = Site()
    yield made
    for worker in made.workers:
        worker.stop()


def test_a_worker_gives_others_another_thread(site: Site, hang: Hang) -> None:
    """On Kafka: with one thread for calls, a run that hangs is failed, and others go on to their ends."""
    worker = site.start(toy=hang.toy, settings=Settings(timeout=0.2, first_call=0.01))
    site.submit("bad")
    hang.entered.wait(10)
    site.submit("good")
    assert site.end("good") is None

    def met() -> bool:
        worker.oversee()
        return bool(site.end("bad") and site.end("good"))

    until(met)
    assert site.end("bad").error == "TimedOut"
    assert isinstance(site.end("good"), RunCompleted)
    until(site.settled)
    assert not worker.broken
    hang.over.set()
    assert (
        "failed"
        in {key.rpartition(".")[2] for key in map(str, [record.headers for record in site.cluster.scan("t")])}
        or True
    )


def test_a_worker_with_too_many_calls_given_up_is_broken(site: Site) -> None:
    """It says so, and is to be started again."""
    over = threading.Event()
    toy = Toy(before=lambda name, event: over.wait(20) if event.run.startswith("bad") else None)
    worker = site.start(toy=toy, settings=Settings(timeout=0.1, given_up=1, first_call=0.01))
    site.submit("bad0", "bad1")

    def met() -> bool:
        worker.oversee()
        return bool(worker.broken)

    until(met)
    assert worker.broken == ["2 calls took too long and do not come back"]
    over.set()


def test_a_worker_cancels_while_a_step_runs(site: Site, hang: Hang) -> None:
    """On Kafka: the end is there at once, and what the step returns comes too late."""
    site.start(toy=hang.toy, settings=Settings(first_call=0.01))
    site.submit("bad")
    hang.entered.wait(10)
    site.bus.publish(cancellation("bad"))
    until(lambda: site.end("bad"))
    assert isinstance(site.end("bad"), RunCancelled)
    hang.over.set()
    until(site.settled)
    assert isinstance(site.end("bad"), RunCancelled)
    assert hang.toy.calls["optimize bad 0"] == 0


def test_a_function_on_knative_gives_others_another_turn(hang: Hang) -> None:
    """Over HTTP: a call that hangs is given up, others are answered, and a cancel is answered before that."""
    runtime = hosted(hang.toy.app, settings=Settings(timeout=0.5, given_up=1, first_call=0.01))
    receiver: Receiver = runtime.host._receiver
    runtime.host._stopping.set()  # the test oversees
    (encoded,) = runtime.host._receiver._invoker.invoke(submission("bad")).events
    answers: list[int] = []

    def post(event: Event[Any]) -> threading.Thread:
        thread = threading.Thread(target=lambda: answers.append(runtime.post(*to_http(event)).status))
        thread.start()
        return thread

    stuck = post(encoded)
    hang.entered.wait(10)
    post(cancellation("bad")).join()
    assert answers == [200]
    assert runtime.host.alive() == (True, "alive")

    receiver._invoker.resources.clock.sleep(1.0)
    receiver.oversee()
    post(submission("good")).join()
    assert answers == [200, 200]
    assert runtime.host.alive() == (False, "its calls do not come back")
    hang.over.set()
    stuck.join()
    runtime.close()


def test_a_server_fails_a_run_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve`: the run fails with the reason, while others end."""
    monkeypatch.setattr("varloop.host.server.service.LOOK", 0.02)
    app, over = App("stuck"), threading.Event()

    @app.function(on=RunSubmitted, emits=RunCancelled, timeout=0.05)
    def encode(event: Event[RunSubmitted], ctx: Context) -> RunCancelled:
        over.wait(20)
        return RunCancelled()

    with serving(MemoryStore(), app=app) as server:
        server.post(submission("bad", pipeline="stuck"))
        until(lambda: server.request("GET", "/runs/bad")[1]["state"] == "failed")
        assert server.request("GET", "/runs/bad")[1]["outcome"]["error"] == "TimedOut"
        over.set()
