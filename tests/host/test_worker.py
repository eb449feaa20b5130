"""Workers on a fake cluster, with the loop that needs no circuits."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bus.fake_kafka import Cluster, bus_on
from core.toys import FlakyStore, Toy, cancellation, submission
from varloop import runs
from varloop.app import App, Pipelines
from varloop.bus.kafka import KafkaBus
from varloop.bus.kafka.driver import Done, Record
from varloop.context import Context, Resources
from varloop.errors import PermanentError, StoreUnavailable, TemporaryError, UsageError
from varloop.events import Body, CircuitEncoded, CircuitExecuted, Event, RunCancelled, RunCompleted, RunFailed
from varloop.host.kafka.thread import _backoff
from varloop.host.kafka.worker import Worker
from varloop.host.probes import Probes
from varloop.journal import Journal, read_record
from varloop.quantum.sandbox import Sandbox
from varloop.settings import Settings
from varloop.store.memory import MemoryStore
from varloop.wire.codec import from_kafka

DEADLINE = 10.0


def until(met: Callable[[], object]) -> None:
    """Wait for other threads."""
    deadline = time.monotonic() + DEADLINE
    while not met():
        assert time.monotonic() < deadline, "it did not come to pass"
        threading.Event().wait(0.005)


class Site:
    """A cluster, a store and a toy, and the workers of a test."""

    def __init__(self) -> None:
        self.cluster = Cluster({"t": 4, "t.dead-letters": 1})
        self.store = MemoryStore()
        self.toy = Toy(iterations=4)
        self.workers: list[Worker] = []
        self.bus = bus_on(self.cluster)

    def start(self, *functions: str, toy: Toy | None = None, **options: Any) -> Worker:
        """One more worker."""
        pipelines = Pipelines([(toy or self.toy).app])
        bus = bus_on(self.cluster, pipelines.types)
        worker = Worker(pipelines, self.store, bus, functions=functions, **options)
        self.workers.append(worker)
        return worker

    def submit(self, *names: str) -> None:
        """Submit runs."""
        self.bus.publish(*map(submission, names))

    def end(self, run: str) -> Any:
        """How a run ended, or None."""
        end = runs.StoredRun(Resources(self.store), run).ending()
        return end.data if end else None

    def published(self) -> Counter[str]:
        """How often each event lies in the topic."""
        events = [from_kafka(record.headers, record.value) for record in self.cluster.scan("t")]
        return Counter(event.id for event in events)

    def early(self) -> dict[str, bool]:
        """Which steps of the run r are recorded, and whether they were before their events were safe."""
        journal = Journal(self.store, "r")
        return {key: read_record(journal.find(key) or b"").early for key in journal.keys()}

    def settled(self) -> bool:
        """Whether every group has committed all there is."""
        total = len(self.cluster.scan("t"))
        groups = self.cluster.committed.values()
        return len(groups) > 0 and all(sum(offsets.values()) == total for offsets in groups)


@pytest.fixture
def site() -> Iterator[Site]:
    """An empty one."""
    site = Site()
    yield site
    for worker in site.workers:
        worker.stop()


@pytest.mark.parametrize("fusion", [True, False])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_runs_end_and_every_step_is_called_once(site: Site, fusion: bool, concurrency: int) -> None:
    """One worker brings runs to their ends, calls each step once, publishes each event once, commits all."""
    names = [f"r{number}" for number in range(6)]
    worker = site.start(fusion=fusion, concurrency=concurrency)
    site.submit(*names)

    until(lambda: all(map(site.end, names)))
    until(site.settled)
    assert set(site.toy.calls.values()) == {1}
    assert set(site.published().values()) == {1}
    assert [type(site.end(name)) for name in names] == [RunCompleted] * 6
    assert not worker.faults


def test_circuits_of_strangers_are_read_in_a_sandbox(site: Site) -> None:
    """All threads of a worker share one."""
    worker = site.start(concurrency=2)
    readers = {thread._invoker.resources.load.__self__ for thread in worker._call_threads}  # type: ignore[attr-defined]

    assert [type(reader) for reader in readers] == [Sandbox]


def test_results_do_not_depend_on_who_hosts_what(site: Site) -> None:
    """Workers with one function each come to the same events as one worker with all of them."""
    whole = Site()
    whole.start()
    for name in ("encode", "execute", "postprocess", "optimize", "cancel"):
        site.start(name)
    for each in (site, whole):
        each.submit("r")
        until(lambda each=each: each.end("r"))  # type: ignore[misc]
        until(each.settled)

    assert site.published() == whole.published()
    assert set(site.toy.calls.values()) == {1}
    for worker in whole.workers:
        worker.stop()


def test_fusion_leaves_no_round_trip(site: Site) -> None:
    """With fusion a run goes on although Kafka delivers nothing any more."""
    site.start()
    until(lambda: not site.workers[0].faults)
    readers = [reader for group in site.cluster.groups.values() for reader in group]
    encode = site.cluster.groups["t.encode"][0]
    for reader in readers:
        if reader is not encode:
            reader.poll = _nothing  # type: ignore[method-assign]
    site.submit("r")

    until(lambda: site.end("r"))


def _nothing(timeout: float) -> list[Record]:
    threading.Event().wait(0.01)
    return []


def test_records_are_one_step_ahead_of_kafka(site: Site) -> None:
    """A step that was called directly is recorded before Kafka has acknowledged its event, and says so; the
    one after it is not.
    """
    site.start()
    until(lambda: not site.workers[0].faults)
    held: list[Callable[[], None]] = []
    site.submit("r")
    site.cluster.hold = held
    until(lambda: site.toy.calls["optimize r 0"])
    threading.Event().wait(0.05)
    assert site.early() == {"000000/encode": False, "000000/execute": True}

    held.pop(0)()  # circuit.encoded is safe, what execute makes of it is not
    until(lambda: site.toy.calls["execute r 1"])
    threading.Event().wait(0.05)
    assert site.early() == {"000000/encode": False, "000000/execute": True, "000000/optimize": True}

    site.cluster.hold = None
    while held:
        held.pop(0)()
    until(lambda: site.end("r"))


@pytest.mark.parametrize("lost", [1, 2, 3, 4, 5, 6, 7])
def test_what_was_recorded_early_is_published_by_others(
    site: Site, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker dies ahead of Kafka, with all that it published from some event on: another goes on from the
    last event that was safe, takes what is recorded, and brings the run to its end.
    """
    monkeypatch.setattr("varloop.bus.kafka.PUBLISH", 0.05)
    published = iter(range(10**6))
    site.cluster.lose = lambda: next(published) >= lost
    worker = site.start()
    site.submit("r")
    until(lambda: len(site.cluster.scan("t")) == lost and _stands_still(site))
    recorded = {key: site.store.get(key) for key in site.store.keys("runs/r/journal")}
    site.cluster.lose = lambda: False
    worker.stop()

    site.start()
    until(lambda: isinstance(site.end("r"), RunCompleted))
    until(site.settled)
    assert {key: site.store.get(key) for key in recorded} == recorded
    assert set(site.published().values()) == {1}


def _stands_still(site: Site) -> bool:
    """Whether a run is not recorded further for a while."""
    before = site.early()
    threading.Event().wait(0.1)
    return before == site.early()


def test_a_copy_is_not_committed_before_its_outcome_is_safe(site: Site) -> None:
    """The event that Kafka delivers of a step that was called directly stays open until that call's outcome
    is acknowledged.
    """
    site.start()
    until(lambda: not site.workers[0].faults)
    held: list[Callable[[], None]] = []
    site.submit("r")
    site.cluster.hold = held
    until(lambda: held)
    held.pop(0)()  # circuit.encoded is safe, what execute makes of it is not
    until(lambda: held)
    until(lambda: sum(site.cluster.committed["t.postprocess"].values()) == 2)
    threading.Event().wait(0.05)

    assert sum(site.cluster.committed["t.execute"].values()) == 1
    site.cluster.hold = None
    while held:
        held.pop(0)()
    until(site.settled)


def test_pipelines_share_a_topic(site: Site) -> None:
    """A function of another pipeline that takes the same type is called by its own group alone."""
    called: list[str] = []
    apps = [App("mine"), App("theirs")]
    for app in apps:

        @app.function(on=Ping, name=f"{app.pipeline}-ping")
        def take(event: Event[Any], ctx: Context) -> None:
            called.append(f"{ctx.function} {event.run}")

    pipelines = Pipelines([site.toy.app, *apps])
    bus = bus_on(site.cluster, pipelines.types)
    site.workers.append(Worker(pipelines, site.store, bus, functions=["theirs-ping"]))
    for app in apps:
        site.bus.publish(
            Event(id="1", source="x", run=app.pipeline[0], data=Ping(), time=1.0, pipeline=app.pipeline)
        )

    until(lambda: called)
    until(site.settled)
    assert called == ["theirs-ping t"]


class Ping(Body, frozen=True):
    type = "org.example.ping"


def test_a_publication_that_fails_is_made_good(site: Site) -> None:
    """Records that the broker refuses now and then are published again; every run ends."""
    count = iter(range(10**6))
    site.cluster.refuse = lambda topic: next(count) % 3 == 1
    site.start()
    for name in ("a", "b"):
        until(lambda name=name: _published(site.bus, submission(name)))  # type: ignore[misc]

    until(lambda: site.end("a") and site.end("b"))
    site.cluster.refuse = lambda topic: False
    until(site.settled)
    assert {letter.reason for letter in site.bus.dead_letters()} == set()


def _published(bus: KafkaBus, event: Event[Any]) -> bool:
    try:
        bus.publish(event)
    except TemporaryError:
        return False
    return True


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once."""
    monkeypatch.setattr("varloop.host.kafka.thread.LONGEST", 0.01)


@pytest.mark.usefixtures("impatient")
def test_a_store_that_is_away_ends_no_run(site: Site) -> None:
    """However many operations of the store fail, the run goes on when it is back."""
    site.store = FlakyStore(lambda number: number < 60)
    site.start()
    site.submit("r")

    until(lambda: isinstance(_calm(site, "r"), RunCompleted))


def _calm(site: Site, run: str) -> Any:
    try:
        return site.end(run)
    except TemporaryError:
        return None


@pytest.mark.usefixtures("impatient")
def test_a_temporary_error_is_tried_again_up_to_a_limit(site: Site) -> None:
    """A function that never succeeds ends its run with run.failed; other runs are not held up."""

    def before(name: str, event: Event[Any]) -> None:
        if name == "execute" and event.run == "bad":
            raise TemporaryError("busy", retry_after=0.001)

    toy = Toy(before=before)
    site.start(toy=toy)
    site.submit("bad", "good")

    until(lambda: site.end("bad") and site.end("good"))
    assert isinstance(site.end("bad"), RunFailed)
    assert isinstance(site.end("good"), RunCompleted)
    assert toy.calls["execute bad 0"] in (8, 9)  # one more if it was called before its event came by Kafka
    until(site.settled)


def test_what_a_dead_worker_held_is_done_by_another(site: Site) -> None:
    """Events that a worker took and never finished are delivered to its successor."""
    stuck = threading.Event()

    def before(name: str, event: Event[Any]) -> None:
        if name == "execute":
            stuck.wait()

    first = site.start(toy=Toy(iterations=4, before=before))
    site.submit("r")
    until(lambda: site.cluster.groups["t.execute"] and len(site.cluster.scan("t")) > 1)
    for readers in site.cluster.groups.values():
        for reader in list(readers):
            reader.close()  # the broker takes it for dead
    site.workers.remove(first)
    site.start(settings=Settings(first_call=0.01))

    until(lambda: site.end("r"))
    stuck.set()
    for member in first.members.values():
        member._reader.close = lambda: None  # type: ignore[method-assign]
    first.stop()
    assert isinstance(site.end("r"), RunCompleted)


def test_a_pipeline_that_is_not_here_is_left_to_those_who_have_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a rolling update that adds a pipeline, old workers keep its events for the new ones."""
    monkeypatch.setattr("varloop.host.kafka.thread.ABSENT_AGAIN", 0.01)
    old = site.start()
    site.bus.publish(submission("r", pipeline="mine"))
    until(lambda: sum(site.cluster.committed["t.execute"].values()) == 1)
    threading.Event().wait(0.1)
    assert sum(site.cluster.committed["t.encode"].values()) == 0
    old.stop()
    site.workers.remove(old)

    pipelines = Pipelines([site.toy.app, App("mine")])
    site.workers.append(Worker(pipelines, site.store, bus_on(site.cluster, pipelines.types)))
    until(lambda: isinstance(site.end("r"), RunCompleted))
    until(site.settled)
    assert site.bus.dead_letters() == []


@pytest.mark.parametrize("fusion", [True, False])
def test_a_call_in_hand_is_finished_before_its_partition_goes(site: Site, fusion: bool) -> None:
    """A worker that joins takes no partition over whose job is under way: the job would be done twice."""
    names = ["r3", "r4", "r7", "r14"]  # of one partition, each on a thread of its own
    under_way, joined = Counter[str](), threading.Event()

    def before(name: str, event: Event[Any]) -> None:
        if name == "execute" and event.iteration == 1:
            under_way[event.run] += 1
            if joined.wait(DEADLINE):
                threading.Event().wait(0.2)  # for the other, which would take it

    toy = Toy(iterations=3, before=before)
    site.start(toy=toy, fusion=fusion, concurrency=4)
    site.submit(*names)
    until(lambda: len(under_way) == 4)
    site.start(toy=toy, fusion=fusion, concurrency=4)
    joined.set()
    until(lambda: all(map(site.end, names)))
    until(site.settled)

    assert len(site.workers[1].members["execute"]._offsets) == 2
    assert under_way == Counter(names)


def test_events_of_a_pipeline_that_no_worker_has_are_dead_letters(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ten minutes, with the pipelines there are."""
    monkeypatch.setattr("varloop.host.kafka.thread.ABSENT_AGAIN", 0.01)
    monkeypatch.setattr("varloop.host.kafka.thread.ABSENT", 0.05)
    site.start()
    site.bus.publish(submission("r", pipeline="mine"))

    until(site.bus.dead_letters)
    (letter,) = site.bus.dead_letters()
    assert "no pipeline 'mine' here, only default" in letter.reason
    assert letter.function == "encode"
    until(site.settled)


def test_a_forged_end_is_a_dead_letter_once(site: Site) -> None:
    """What only applications read is buried by one worker if it is bad, wherever functions are hosted."""
    for name in ("encode", "execute", "postprocess", "optimize", "cancel"):
        site.start(name)
    site.submit("r")
    until(lambda: site.end("r"))
    bad = {"id": b"1", "source": b"varloop/optimize", "specversion": b"1.0", "subject": b"r"}
    for kind in (RunCompleted, RunFailed):
        headers = [(f"ce_{name}", value) for name, value in {**bad, "type": kind.type.encode()}.items()]
        site.cluster.send("t", b"r", b'{"error":"E","detail":""}', headers, lambda error: None)

    until(site.settled)
    assert [letter.function for letter in site.bus.dead_letters()] == ["encode", "encode"]
    assert len(site.cluster.scan("t.dead-letters")) == 2
    assert isinstance(site.end("r"), RunCompleted)


def test_a_cancelled_run_ends(site: Site) -> None:
    """A request to cancel is read and ends a run that would go on for long without it."""
    toy = Toy(iterations=100_000)
    worker = site.start(toy=toy)
    until(lambda: not worker.faults)
    site.submit("r")
    until(lambda: toy.calls["execute r 1"])
    site.bus.publish(cancellation("r"))

    until(lambda: site.end("r"))
    assert site.end("r") == RunCancelled(reason="enough")
    until(site.settled)
    assert toy.calls["cancel r 0"] == 1


def test_an_unknown_function_is_a_usage_error(site: Site) -> None:
    """A name that no app has is refused with the names there are."""
    with pytest.raises(UsageError, match="known: cancel, encode, execute, optimize, postprocess"):
        site.start("exekute")


def broken_by(site: Site, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    """What goes wrong around a worker."""

    def refuse(*words: object) -> Any:
        raise StoreUnavailable("AccessDenied (HTTP 403)") if "store" in harm else TemporaryError(harm)

    match harm:
        case "no broker":
            monkeypatch.setattr(site.cluster, "partitions", refuse)
        case "no topic t":
            del site.cluster.logs["t"]
        case "no topic t.dead-letters":
            del site.cluster.logs["t.dead-letters"]
        case "unreadable record":
            for readers in site.cluster.groups.values():
                readers[0].poll = refuse  # type: ignore[method-assign]
        case "store reads":
            monkeypatch.setattr(site.store, "_read", refuse)
        case "store writes":
            monkeypatch.setattr(site.store, "_create", refuse)
            site.bus.publish(submission("r"))


HARMS = {
    "no broker": "no broker",
    "no topic t": "there is no topic t",
    "no topic t.dead-letters": "there is no topic t.dead-letters",
    "unreadable record": "unreadable record",
    "store reads": "AccessDenied",
    "store writes": "AccessDenied",
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_worker_that_cannot_work_says_why(site: Site, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    """It is not ready while something that it needs is missing, names it, and is ready again after."""
    monkeypatch.setattr("varloop.host.kafka.watch.INTERVAL", 0.02)
    monkeypatch.setattr("varloop.bus.kafka.member.FAULTY", 0.1)
    monkeypatch.setattr("varloop.bus.kafka.member.PAUSE", 0.01)
    monkeypatch.setattr("varloop.host.kafka.thread.LONGEST", 0.01)
    worker = site.start()
    until(lambda: not worker.faults)
    logs = dict(site.cluster.logs)
    polls = [(readers[0], readers[0].poll) for readers in site.cluster.groups.values()]
    with monkeypatch.context() as patch:
        broken_by(site, patch, harm)
        until(lambda: any(HARMS[harm] in fault for fault in worker.faults))
        assert not worker.broken
    site.cluster.logs = logs
    for reader, poll in polls:
        reader.poll = poll  # type: ignore[method-assign]

    until(lambda: not worker.faults)


def test_a_fenced_worker_ends(site: Site) -> None:
    """A member that is none any more ends its worker, which says why; it does not live on without work."""
    worker = site.start()
    until(lambda: not worker.faults)

    def fenced(timeout: float) -> list[Record]:
        raise PermanentError("fenced", hint="each needs an --instance of its own")

    site.cluster.groups["t.execute"][0].poll = fenced  # type: ignore[method-assign]
    until(lambda: worker.broken)
    assert worker.broken == ["execute: fenced (each needs an --instance of its own)"]
    assert worker.faults == worker.broken


@pytest.mark.parametrize("fusion", [True, False])
@pytest.mark.parametrize(("kind", "function"), [(CircuitEncoded, "encode"), (CircuitExecuted, "execute")])
def test_an_outcome_that_is_too_large_fails_its_run(
    site: Site, monkeypatch: pytest.MonkeyPatch, kind: type[Body], function: str, fusion: bool
) -> None:
    """What no broker will ever take is not published again and again: the run ends and says why."""
    send, refused = site.cluster.send, list[bytes]()

    def choosy(topic: str, key: Any, value: Any, headers: Any, done: Done) -> None:
        if ("ce_type", kind.type.encode()) in headers:
            refused.append(dict(headers)["ce_id"])
            done(PermanentError("the record is too large"))
        else:
            send(topic, key, value, headers, done)

    monkeypatch.setattr(site.cluster, "send", choosy)
    monkeypatch.setattr("varloop.host.kafka.thread.LONGEST", 0.01)
    site.start(fusion=fusion)
    site.submit("r")

    until(lambda: site.end("r"))
    end = site.end("r")
    assert isinstance(end, RunFailed)
    assert (end.error, end.function, end.detail) == ("PermanentError", function, "the record is too large")
    until(site.settled)
    assert len(refused) == len(set(refused)) > 0
    assert RunFailed.type.encode() in {dict(record.headers)["ce_type"] for record in site.cluster.scan("t")}
    assert site.bus.dead_letters() == []


def test_a_worker_has_a_thread(site: Site) -> None:
    """No threads are refused at once: they gave every record up."""
    with pytest.raises(UsageError, match="at least one"):
        site.start(concurrency=0)


def test_a_call_that_does_not_end_is_left(site: Site) -> None:
    """A worker that is told to stop waits so long and no longer; it names the run."""
    stuck = threading.Event()
    worker = site.start(toy=Toy(before=lambda name, event: name == "execute" and stuck.wait()))
    site.submit("r")
    until(lambda: worker._call_threads[0].calling and len(site.cluster.scan("t")) > 1)
    site.workers.remove(worker)

    assert worker.stop(grace=0.05) == ["r"]
    assert not any(site.cluster.groups.values())
    stuck.set()
    worker._call_threads[0].thread.join()


def test_a_worker_needs_a_place_for_dead_letters(site: Site) -> None:
    """Without their topic a worker does not start, and says how to make it; nothing has joined a group."""
    del site.cluster.logs["t.dead-letters"]
    with pytest.raises(UsageError, match=r"no topic t\.dead-letters.*varloop setup"):
        site.start()
    assert not any(site.cluster.groups.values())


def test_stopping_finishes_commits_and_leaves(site: Site) -> None:
    """A worker that is stopped has left all groups, and what it dealt with is committed."""
    worker = site.start()
    site.submit("r")
    until(lambda: site.end("r"))
    worker.stop()
    site.workers.clear()

    assert not any(site.cluster.groups.values())
    assert worker.broken


def test_delays_double_up_to_a_limit() -> None:
    """Each attempt waits twice as long as the one before, half a minute at most."""
    assert [_backoff(1.0, attempt) for attempt in (1, 2, 3, 6, 1000)] == [1.0, 2.0, 4.0, 30.0, 30.0]


def test_probes_tell_health_and_readiness() -> None:
    """200 while all is well, 503 and what is wrong when not, 404 elsewhere."""
    state = {"health": [], "readiness": ["the store is away", "t has no partitions"]}
    with Probes(("127.0.0.1", 0), **{name: lambda name=name: state[name] for name in state}) as url:
        assert _answer(url + "/healthz") == (200, "ok\n")
        assert _answer(url + "/readyz") == (503, "the store is away\nt has no partitions\n")
        assert _answer(url + "/")[0] == 404
        state.update(health=["a thread has ended"], readiness=[])
        assert [_answer(url + path)[0] for path in ("/healthz", "/readyz")] == [503, 200]
        taken = Probes(("127.0.0.1", int(url.rpartition(":")[2])), health=list, readiness=list)
        with pytest.raises(UsageError, match="Address already in use"), taken:
            pass
    with Probes(None, health=list, readiness=list) as url:
        assert url == ""


def _answer(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
