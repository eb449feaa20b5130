"""The worker: functions on Kafka. Any number of them, started and killed at any time.

A run's events go through one thread of a worker, with its own caches. When the next step is at home in the
same worker, it is called as soon as its event is on the way (*fusion*); the copy that Kafka delivers is
recognised, and its offset is committed when that call's outcome is safe.
"""

from __future__ import annotations

import logging
import signal
import threading
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator

from varloop.app import DEFAULT, App, Pipelines
from varloop.bus.kafka import Copy, KafkaBus, KafkaDelivery, Member
from varloop.errors import UsageError
from varloop.events import Body, Event, RunSubmitted, Terminal
from varloop.host.kafka.thread import WorkerThread
from varloop.host.pipelines import load_pipelines
from varloop.host.probes import Probes
from varloop.quantum.sandbox import Sandbox
from varloop.store import Store, open_store

__all__ = ["Worker", "run_worker"]

log = logging.getLogger("varloop.host")

LOOK = 0.5


class Worker:
    """Members of the groups of some functions, and threads that call them.

    :param functions: names of the functions to host; all by default.
    :param concurrency: threads; a run has one of them.
    :param fusion: call the next step directly if it is hosted here.
    :param instance: name that this worker keeps over restarts, for static membership; unique among workers.
    :raises UsageError: if there is no such function or no such topic.
    """

    def __init__(
        self,
        pipelines: Pipelines,
        store: Store,
        bus: KafkaBus,
        *,
        functions: Collection[str] = (),
        concurrency: int = 1,
        fusion: bool = True,
        instance: str = "",
    ) -> None:
        bus.check()
        self.bus = bus
        self.pipelines = pipelines
        self.fusion = fusion
        self.sandbox = Sandbox()
        self._takes = _taken(pipelines, functions)
        self._call_threads = [WorkerThread(self, store, number) for number in range(concurrency)]
        first = pipelines.route(DEFAULT, RunSubmitted.type)
        self.members: dict[str, Member] = {}
        for name, types in self._takes.items():
            orphans = _untaken(pipelines) if first and first.name == name else None
            self.members[name] = Member(
                bus, name, types, orphans=orphans, instance=instance, sink=self, known=self._known
            )

    @property
    def alive(self) -> bool:
        """Whether all its threads run."""
        return all(thread.is_alive() for thread in self._threads())

    @property
    def ready(self) -> bool:
        """Whether it is a member of all its groups."""
        return self.alive and all(member.joined.is_set() for member in self.members.values())

    def stop(self) -> None:
        """Finish the calls under way, commit, and leave the groups."""
        for thread in self._call_threads:
            thread.inbox.close()
        for thread in self._call_threads:
            thread.thread.join()
        self.bus.flush()
        for member in self.members.values():
            member.leave()
        for member in self.members.values():
            member.close()

    def next_member(self, event: Event[Body]) -> Member | None:
        """The group here that an event would come to, if it would come to this very process."""
        if not self.fusion or isinstance(event.data, Terminal):
            return None
        function = self.pipelines.route(event.pipeline, event.type)
        member = self.members.get(function.name) if function else None
        return member if member and member.owns(event.run) else None

    def put(self, *deliveries: KafkaDelivery) -> None:
        """Hand deliveries to the threads of their runs."""
        for delivery in deliveries:
            self._thread_of(delivery.event.run.encode()).inbox.put(delivery)

    def put_later(self, delay: float, delivery: KafkaDelivery) -> None:
        """Hand a delivery to the thread of its run after some seconds."""
        self._thread_of(delivery.event.run.encode()).inbox.put_later(delay, delivery)

    def discard(self, unwanted: Callable[[KafkaDelivery], bool]) -> None:
        """Forget deliveries that wait."""
        for thread in self._call_threads:
            thread.inbox.discard(lambda item: isinstance(item, KafkaDelivery) and unwanted(item))

    def __len__(self) -> int:
        """How many deliveries wait."""
        return sum(len(thread.inbox) for thread in self._call_threads)

    def _threads(self) -> Iterator[threading.Thread]:
        yield from (thread.thread for thread in self._call_threads)
        yield from (member.thread for member in self.members.values())

    def _known(self, copy: Copy) -> bool:
        """Whether a record is the copy of an event that is dealt with here."""
        return self._thread_of(copy.run).known(copy)

    def _thread_of(self, run: bytes) -> WorkerThread:
        """The thread of a run."""
        return self._call_threads[zlib.crc32(run) % len(self._call_threads)]


def _taken(pipelines: Pipelines, names: Collection[str]) -> dict[str, set[str]]:
    """Types of events by function, of all pipelines together."""
    taken: dict[str, set[str]] = {}
    for app in pipelines.apps:
        for function in app.functions:
            taken.setdefault(function.name, set()).update(body.type for body in function.on)
    if unknown := set(names) - taken.keys():
        raise UsageError(f"there is no function {min(unknown)}", hint=f"known: {', '.join(sorted(taken))}")
    return {name: types for name, types in taken.items() if not names or name in names}


def _untaken(pipelines: Pipelines) -> set[str]:
    """Types of events that no function takes, but applications: how runs end."""
    return set(pipelines.types).difference(*_taken(pipelines, ()).values())


def run_worker(
    bus: str,
    store: str,
    *,
    apps: Iterable[App] = (),
    functions: Collection[str] = (),
    concurrency: int = 1,
    fusion: bool = True,
    instance: str = "",
    probes: tuple[str, int] | None = None,
    started: Callable[[Worker, str], None] = lambda worker, url: None,
) -> int:
    """Host functions on a bus until a signal says stop (SIGTERM, SIGINT). For the main thread.

    :param bus: ``kafka://HOST:PORT/TOPIC``.
    :param store: URL of the store that all workers share.
    :param probes: host and port for ``/healthz`` and ``/readyz``; port 0 for any free one, None for none.
    :param started: called with the worker and the probes' URL, empty if there are none.
    :return: exit status: 0 when told to stop, 1 when a part of the worker died.
    """
    told = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: told.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    pipelines = load_pipelines(apps)
    place = open_store(store)
    transport = KafkaBus(bus, pipelines.types)
    worker = Worker(
        pipelines,
        place,
        transport,
        functions=functions,
        concurrency=concurrency,
        fusion=fusion,
        instance=instance,
    )
    with Probes(probes, alive=lambda: worker.alive, ready=lambda: worker.ready and not told.is_set()) as url:
        started(worker, url)
        while not told.wait(LOOK) and worker.alive:
            pass
        status = 0 if told.is_set() else 1
        for number, handler in before.items():  # a second signal is deadly
            signal.signal(number, handler)
        worker.stop()
    transport.close()
    place.close()
    return status
