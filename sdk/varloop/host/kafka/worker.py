"""The worker: functions on Kafka. Any number of them, started and killed at any time.

A run's events go through one thread of a worker, with its own caches. When the next step is at home in the
same worker, it is called as soon as its event is on the way (*fusion*); the copy that Kafka delivers is
recognised, and its offset is committed when that call's outcome is safe.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial

from varloop.app import DEFAULT, App, Pipelines
from varloop.bus.kafka import Copy, KafkaBus, KafkaDelivery, Member
from varloop.bus.kafka.offsets import partition_of
from varloop.context import Resources
from varloop.errors import UsageError, WorkerEnded
from varloop.events import Body, CancelRequested, Event, RunSubmitted, Terminal
from varloop.host.kafka.thread import WorkerThread
from varloop.host.kafka.watch import Watch
from varloop.host.pipelines import load_pipelines
from varloop.host.probes import Probes
from varloop.quantum.sandbox import Sandbox
from varloop.settings import Settings
from varloop.store import Store, open_store

__all__ = ["Worker", "run_worker"]

log = logging.getLogger("varloop.host")

LOOK = 0.5
GRACE = 25.0
"""seconds to finish calls in when told to stop: Kubernetes kills after 30"""
PROBE = "probe/worker"
"""an object of the store that is looked for, and need not be there"""


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
        settings: Settings | None = None,
    ) -> None:
        if concurrency < 1:
            raise UsageError(f"a worker with {concurrency} threads does nothing", hint="at least one")
        bus.check()
        self.bus = bus
        self.pipelines = pipelines
        self.fusion = fusion
        self._takes = _taken(pipelines, functions)
        resources = Resources(store, types=pipelines.types, load=Sandbox().load)
        self._call_threads = [
            WorkerThread(
                bus,
                pipelines,
                resources,
                number,
                self._at_home,
                settings=settings,
            )
            for number in range(concurrency + 1)
        ]
        self._settings = settings or Settings()
        first = pipelines.route(DEFAULT, RunSubmitted.type)
        self.members: dict[str, Member] = {}
        for name, types in self._takes.items():
            orphans = _untaken(pipelines) if first and first.name == name else None
            self.members[name] = Member(
                bus,
                name,
                types,
                orphans=orphans,
                instance=instance,
                sink=self,
                known=self._known,
                busy=partial(self._busy, name),
            )
        self.watch = Watch(bus.check, lambda: store.find(PROBE))

    @property
    def broken(self) -> list[str]:
        """What only another worker mends: threads of this one that have ended, and why. Nothing while all run."""
        ended: dict[str, list[str]] = {}
        for member in self.members.values():
            if member.ended:
                ended.setdefault(str(member.ended), []).append(member.group)
        died = [thread.name for thread in self._threads() if not thread.is_alive()]
        said = [f"{', '.join(groups)}: {error}" for error, groups in ended.items()]
        stuck = sum(thread.given_up for thread in self._call_threads)
        if stuck > self._settings.given_up:
            said.append(f"{stuck} calls took too long and do not come back")
        return said or [f"thread {name} has ended" for name in died]

    def oversee(self) -> None:
        """Fail the runs of calls that take too long. To be asked every second or so."""
        for thread in self._call_threads:
            thread.oversee()

    @property
    def faults(self) -> list[str]:
        """What keeps it from its work, now or at the last look. Nothing while all is well."""
        found = [member.fault for member in self.members.values()]
        found += [thread.fault for thread in self._call_threads]
        return list(dict.fromkeys(filter(None, [*self.broken, *self.watch.faults, *found])))

    def stop(self, grace: float = GRACE) -> list[str]:
        """Finish the calls under way, commit, and leave the groups.

        :param grace: seconds for the calls; what is not finished then is left to other workers.
        :return: runs whose calls were left.
        """
        self.watch.close()
        deadline = time.monotonic() + grace
        for thread in self._call_threads:
            thread.inbox.close()
        for thread in self._call_threads:
            thread.thread.join(max(0.0, deadline - time.monotonic()))
        left = [thread.calling.run for thread in self._call_threads if thread.calling]
        self.bus.flush()
        for member in self.members.values():
            member.leave()
        for member in self.members.values():
            member.close()
        return left

    def _at_home(self, event: Event[Body]) -> bool:
        """Whether an event would come to this very process."""
        if not self.fusion or isinstance(event.data, Terminal):
            return False
        function = self.pipelines.route(event.pipeline, event.type)
        member = self.members.get(function.name) if function else None
        return member is not None and member.owns(event.run)

    def put(self, *deliveries: KafkaDelivery) -> None:
        """Hand deliveries to the threads of their runs."""
        for delivery in deliveries:
            self._thread_for(delivery.event).inbox.put(delivery)

    def put_later(self, delay: float, delivery: KafkaDelivery) -> None:
        """Hand a delivery to the thread of its run after some seconds."""
        self._thread_for(delivery.event).inbox.put_later(delay, delivery)

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

    def _busy(self, group: str, partitions: frozenset[int]) -> bool:
        """Whether a function is being called for an event of these partitions."""
        for thread in self._call_threads:
            if event := thread.calling:
                function = self.pipelines.route(event.pipeline, event.type)
                partition = partition_of(event.run.encode(), self.bus.partitions)
                if function and function.name == group and partition in partitions:
                    return True
        return False

    def _known(self, copy: Copy) -> bool:
        """Whether a record is the copy of an event that is dealt with here."""
        return self._thread_of(copy.run).known(copy)

    def _thread_for(self, event: Event[Body]) -> WorkerThread:
        """The thread that an event goes to: its run's, or the last one, which is for requests to cancel. They do not
        wait until the call is over which they shall end.
        """
        if isinstance(event.data, CancelRequested):
            return self._call_threads[-1]
        return self._thread_of(event.run.encode())

    def _thread_of(self, run: bytes) -> WorkerThread:
        """The thread of a run."""
        return self._call_threads[zlib.crc32(run) % (len(self._call_threads) - 1)]


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
    grace: float = GRACE,
    started: Callable[[Worker, str], None] = lambda worker, url: None,
) -> None:
    """Host functions on a bus until a signal says stop (SIGTERM, SIGINT). For the main thread.

    :param bus: ``kafka://HOST:PORT/TOPIC``.
    :param store: URL of the store that all workers share.
    :param probes: host and port for ``/healthz`` and ``/readyz``; port 0 for any free one, None for none.
    :param grace: seconds to finish calls in when told to stop.
    :param started: called with the worker and the probes' URL, empty if there are none.
    :raises WorkerEnded: if it ended though nobody told it to, or had to leave calls unfinished.
    """
    stop_asked = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop_asked.set())
        for number in (signal.SIGTERM, signal.SIGINT)
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
    with Probes(
        probes,
        health=lambda: worker.broken,
        readiness=lambda: ["told to stop"] if stop_asked.is_set() else worker.faults,
    ) as url:
        started(worker, url)
        while not stop_asked.wait(LOOK) and not worker.broken:
            worker.oversee()
        broken = [] if stop_asked.is_set() else worker.broken
        for number, handler in before.items():  # a second signal is deadly
            signal.signal(number, handler)
        left = worker.stop(grace)
    transport.close()
    place.close()
    if broken:
        raise WorkerEnded("the worker has ended: " + "; ".join(broken), hint="start it again")
    if left:
        detail = f"a call was not finished within {grace:g} s, run {', run '.join(left)}"
        raise WorkerEnded(detail, hint="another worker takes it up again")
