"""What a call costs is paid once: an outcome that the store does not take waits for the next attempt."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from core.toys import Toy, invoker, submission
from host.test_worker import until
from loop.cases import RUNS
from varloop.client import EmbeddedClient
from varloop.context import Resources
from varloop.errors import StoreUnavailable, TemporaryError
from varloop.events import CircuitExecuted, Event, RunCompleted
from varloop.host import Verdict, load_pipelines
from varloop.host.embedded import EmbeddedHost
from varloop.host.server.service import Service
from varloop.quantum.backends import Backends
from varloop.runs import StoredRun
from varloop.store.memory import MemoryStore
from varloop.support.clock import SystemClock
from varloop.testing import FakeClock, trial
from varloop.wire.claims import Claims


class Busy(MemoryStore):
    """Answers 503 to half of what it is asked to write, having written it or not (409: it cannot tell).

    :param seed: of which half.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._draw = random.Random(seed)
        self.writes, self.reads = True, False
        """whether half of the writes, and of the reads, are refused"""
        self.refused = 0

    def _create(self, key: str, sealed: bytes) -> bool:
        lot = self._draw.random() if self.writes else 1.0
        created = lot >= 0.25 and super()._create(key, sealed)
        if lot < 0.5:
            self.refused += 1
            raise StoreUnavailable("SlowDown", retry_after=0.1)
        return created

    def _read(self, key: str) -> bytes | None:
        if self.reads and self._draw.random() < 0.5:
            raise StoreUnavailable("SlowDown", retry_after=0.1)
        return super()._read(key)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("reads", [False, True])
def test_a_store_that_refuses_half_of_the_writes_costs_no_call(seed: int, reads: bool) -> None:
    """Each step that leaves a record is called once, whatever the store answers."""
    toy, store = Toy(iterations=6), Busy(seed)
    pipelines = invoker(toy.app).pipelines
    host = EmbeddedHost(pipelines, Resources(store, FakeClock(), pipelines.types))
    host.publish(submission())
    store.reads = reads
    host.drain()

    assert store.refused > 5
    calls = {name: count for name, count in toy.calls.items() if not name.startswith("postprocess")}
    assert set(calls.values()) == {1}, calls
    assert len(calls) == 13
    assert host.dead_letters == []


@pytest.mark.parametrize("name", ["budget of shots", "readout mitigation", "maxcut, CVaR"])
def test_jobs_are_counted_exactly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With half of all writes and reads refused, as many jobs and shots are run as are reported."""
    jobs: list[int] = []
    backend_of = Backends.get

    def counting(backends: Backends, name: str) -> Any:
        backend = backend_of(backends, name)
        if not hasattr(backend, "uncounted"):
            backend.uncounted = backend.run  # type: ignore[attr-defined]

            def run(*args: Any, **options: Any) -> Any:
                done = backend.uncounted(*args, **options)  # type: ignore[attr-defined]
                jobs.append(done.shots)
                return done

            backend.run = run  # type: ignore[method-assign]
        return backend

    straight = trial(RUNS[name])
    monkeypatch.setattr(Backends, "get", counting)
    store, pipelines = Busy(3), load_pipelines()
    client = EmbeddedClient(EmbeddedHost(pipelines, Resources(store, FakeClock(), pipelines.types)))
    store.writes = False
    run = client.submit(RUNS[name], run="trial")
    store.writes = True
    store.reads = True
    client.host.drain()
    store.reads = False
    result = run.result()

    assert store.refused > 5
    assert result == straight.end.data
    assert sum(jobs) == result.shots
    assert len(jobs) == len({event.id for event in straight.events if event.type == CircuitExecuted.type})


def unsafe(times: int) -> Callable[[], bool]:
    """Cannot make sure for some times."""
    answers = [True] + [False] * times

    def safe() -> bool:
        if not answers.pop():
            raise TemporaryError("not published")
        return True

    return safe


def test_a_call_whose_cause_is_not_safe_yet_is_not_made_again() -> None:
    """If it cannot be made sure that the event comes again, the outcome waits until it can."""
    toy = Toy()
    host = invoker(toy.app)
    safe = unsafe(2)
    verdicts = [host.invoke(submission(), 1, safe).verdict for _ in range(3)]

    assert verdicts == [Verdict.RETRY, Verdict.RETRY, Verdict.EMIT]
    assert toy.calls == {"encode r 0": 1}


def test_outcomes_that_wait_are_bounded() -> None:
    """The oldest are forgotten: their calls are made again then."""
    toy = Toy()
    host = invoker(toy.app)

    def never() -> bool:
        raise TemporaryError("not published")

    for number in range(host.KEPT + 1):
        host.invoke(submission(f"r{number}"), 1, never)
    for number in (1, 0):
        host.invoke(submission(f"r{number}"))

    assert (toy.calls["encode r1 0"], toy.calls["encode r0 0"]) == (1, 2)


def test_a_call_that_failed_for_a_while_is_made_again() -> None:
    """Only outcomes wait: a function that raised a TemporaryError has none."""
    failures = [TemporaryError("busy")]

    def before(name: str, event: Event[Any]) -> None:
        if failures:
            raise failures.pop()

    toy = Toy(before=before)
    host = invoker(toy.app)

    assert host.invoke(submission()).verdict is Verdict.RETRY
    assert host.invoke(submission(), 2).verdict is Verdict.EMIT
    assert toy.calls == {"encode r 0": 2}


def test_another_process_makes_the_call_anew() -> None:
    """What waits in a process is lost with it, and nothing else is."""
    toy, store = Toy(iterations=1), Busy(0)
    queue, end = [submission()], None
    while queue:
        event = queue.pop(0)
        outcome = invoker(toy.app, store=store).invoke(event)
        queue += [event] if outcome.verdict is Verdict.RETRY else outcome.events
        end = next((each for each in outcome.events if isinstance(each.data, RunCompleted)), end)

    assert end is not None


def test_the_threads_of_a_server_share_what_waits() -> None:
    """Whichever thread is delivered an event again finds the outcome of the call that another made."""
    toy, store = Toy(iterations=12), Busy(5)
    service = Service(invoker(toy.app).pipelines, MemoryStore(), SystemClock())
    service.resources.store = store
    service.resources.claims = Claims(store)
    service.start()
    service._bus.publish(submission())
    until(lambda: StoredRun(Resources(store), "r").ending())
    service.stop()

    assert store.refused > 3
    calls = {name: count for name, count in toy.calls.items() if not name.startswith("postprocess")}
    assert set(calls.values()) == {1}, calls
