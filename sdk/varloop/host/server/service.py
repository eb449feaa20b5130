"""What ``varloop serve`` does behind its HTTP interface: it takes events from outside and delivers all there are.

An event that was accepted is dealt with even if this process dies: it lies in the store first.
"""

from __future__ import annotations

import logging
import threading
import uuid
from typing import Any

from varloop.app import Pipelines
from varloop.context import Resources
from varloop.errors import ConflictError, EventError, VarloopError
from varloop.events import Event, RunSubmitted
from varloop.host.embedded import EmbeddedHost
from varloop.host.invoke import Invoker
from varloop.host.server.bus import LiveBus
from varloop.journal import list_runs
from varloop.quantum.sandbox import Sandbox
from varloop.runs import StoredRun
from varloop.spec import parse
from varloop.store import Store
from varloop.support.clock import Clock
from varloop.support.masking import mask
from varloop.wire.codec import OWN_SOURCE, encode_body

__all__ = ["Service"]

log = logging.getLogger("varloop.host")

THREADS = 4
"""deliveries at a time"""
MOST = 32
"""threads, those whose turn takes too long among them"""
TURN = 30.0
"""seconds after which a delivery does not count any more: another thread takes the place of its own"""
LOOK = 1.0
"""seconds between two looks for turns that take too long"""
PAUSE = 1.0
"""seconds to wait after an unexpected error"""


class Service:
    """Delivers events on threads of its own, those of its store's runs that have not ended among them.

    A step that does not end holds one thread and the run that it belongs to, and nothing else.

    :param turn: seconds after which a delivery's thread is replaced.
    """

    def __init__(self, pipelines: Pipelines, store: Store, clock: Clock, turn: float = TURN) -> None:
        self.pipelines = pipelines
        self.store = store
        self.clock = clock
        self.stopping = threading.Event()
        self.resources = Resources(store, clock, pipelines.types, Sandbox().load)
        self._invoker = Invoker(pipelines, self.resources, host="serve")
        self._bus = LiveBus(store, clock, turn)
        self._threads: list[threading.Thread] = []
        self._overseer = threading.Thread(target=self._oversee, name="varloop-overseer", daemon=True)

    def start(self) -> list[str]:
        """Begin to deliver, with what earlier processes left. Returns the runs that go on.

        :raises StoreUnavailable: if nothing can be written: no event could be accepted.
        """
        probe = f"probe/{uuid.uuid4().hex}"
        self.store.create(probe, b"")
        self.store.delete(probe)
        hosts = [self._host() for _ in range(THREADS)]  # they join first: events go to who is there
        self._bus.publish(*self._bus.unfinished(self.pipelines.types))
        resumed = [run for run in list_runs(self.store) if self._resume(run)]
        for host in hosts:
            self._begin(host)
        self._overseer.start()
        return resumed

    def _resume(self, run: str) -> bool:
        try:
            events = StoredRun(self.resources, run).pending()
        except VarloopError as error:
            log.warning("not resumed: %s", mask(str(error)))
            return False
        self._bus.publish(*events)
        return bool(events)

    def _host(self) -> EmbeddedHost:
        return EmbeddedHost(self.pipelines, self.resources, self._bus, invoker=self._invoker)

    def _begin(self, host: EmbeddedHost) -> None:
        thread = threading.Thread(target=self._deliver, args=(host,), name="varloop-serve", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _deliver(self, host: EmbeddedHost) -> None:
        """Deliver until the bus gives nothing more, whatever happens meanwhile."""
        done = False
        while not done:
            try:
                host.drain()
                done = True
            except Exception:
                log.exception("a delivery was interrupted and is tried again")
                host.put_off(PAUSE)
        host.close()

    def _oversee(self) -> None:
        """Replace threads whose turn takes too long: each leaves when it comes back. Fail the runs of calls that do
        not.
        """
        while not self.stopping.wait(LOOK):
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            for event, outcome in self._invoker.oversee():
                self._bus.publish(*outcome.events)
                self._bus.done(event)
            missing = THREADS - (len(self._threads) - self._bus.overdue())
            for _ in range(min(missing, MOST - len(self._threads))):
                self._begin(self._host())

    def stop(self) -> None:
        """Finish the deliveries under way and no other; what is left lies in the store."""
        self.stopping.set()
        self._bus.close()
        for thread in (self._overseer, *self._threads):
            if thread.is_alive():
                thread.join()

    def accept(self, *events: Event[Any]) -> None:
        """Take events from outside: all of them or, if one has a fault, none.

        :raises EventError: if one cannot be accepted.
        :raises SpecError: if one submits a spec with faults.
        """
        resources = self.resources
        specs: dict[str, bytes] = {}
        for event in events:
            self._check(event, resources)
            if isinstance(event.data, RunSubmitted):
                spec = encode_body(event.data)
                if specs.setdefault(event.run, spec) != spec:
                    raise ConflictError("this run is submitted twice, with different specs", run=event.run)
        for event in events:
            self._bus.accept(resources.register(event) if isinstance(event.data, RunSubmitted) else event)

    def _check(self, event: Event[Any], resources: Resources) -> None:
        """Refuse what must not come from outside, or cannot be dealt with."""
        if event.source.startswith(OWN_SOURCE):
            raise EventError(
                f"the source {OWN_SOURCE}… is for functions", run=event.run, hint="name your own"
            )
        if refusal := self.pipelines.refusal(event.pipeline, event.type):
            raise EventError(refusal, run=event.run)
        if isinstance(event.data, RunSubmitted):
            if self.pipelines.takes_specs(event.pipeline):
                parse(event.data.spec)
            resources.check_free(event)
