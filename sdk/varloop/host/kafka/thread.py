"""One thread of a worker: calls functions, publishes what they return, and goes on with what is at home here."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from varloop.app import DEFAULT
from varloop.bus.inbox import Inbox
from varloop.bus.kafka import Copy, KafkaDelivery
from varloop.context import Resources
from varloop.events import Body, Event
from varloop.host.invoke import Invoker, Outcome, Verdict
from varloop.store import Store
from varloop.wire.attributes import OWN_SOURCE

if TYPE_CHECKING:
    from varloop.host.kafka.worker import Worker

__all__ = ["Direct", "WorkerThread"]

log = logging.getLogger("varloop.host")

Publication = Future[None]

LONGEST = 30.0
"""seconds between two attempts at most; each delay is twice the one before"""
AGAIN = 1.0
"""seconds to wait when something went wrong here"""
LOOK = 0.5


class WorkerThread:
    """One thread that calls functions."""

    def __init__(self, worker: Worker, store: Store, number: int) -> None:
        self._worker = worker
        self.bus = worker.bus
        self.inbox: Inbox[KafkaDelivery | Direct] = Inbox(time.monotonic)
        host = f"{socket.gethostname()}/{os.getpid()}"
        resources = Resources(store, types=worker.pipelines.types, load=worker.sandbox.load)
        self._invoker = Invoker(worker.pipelines, resources, host=host)
        self.in_hand: dict[str, Direct] = {}
        self.thread = threading.Thread(target=self._run, name=f"varloop-calls-{number}", daemon=True)
        self.thread.start()

    def known(self, copy: Copy) -> bool:
        """Take over a record whose event was called directly: under way, or done. For any thread."""
        source, id = copy.name
        if direct := self.in_hand.get(id):
            if direct.event.source == source:
                direct.attach(copy)
                return True
        elif source.startswith(OWN_SOURCE) and self._invoker.confirmed(id):
            copy.ack()
            return True
        return False

    def _run(self) -> None:
        while not self.inbox.closed:
            delivery = self.inbox.take(LOOK)
            if delivery is None:
                continue
            try:
                self._deliver(delivery)
            except Exception:
                log.exception("event %s went wrong here and is tried again", delivery.event.id)
                delivery.retry(_backoff(AGAIN, delivery.attempt))

    def _deliver(self, delivery: KafkaDelivery | Direct) -> None:
        event = delivery.event
        if isinstance(delivery, KafkaDelivery) and not self._mine(delivery):
            delivery.ack()
        elif absence := self._worker.pipelines.absence(event.pipeline):
            delivery.dead(absence, "EventError")
        else:
            self._invoke(delivery)

    def _mine(self, delivery: KafkaDelivery) -> bool:
        """Whether the delivery's group is that of the function that takes it."""
        event, pipelines = delivery.event, self._worker.pipelines
        pipeline = event.pipeline if event.pipeline in pipelines else DEFAULT
        function = pipelines.route(pipeline, event.type)
        return function is not None and function.name == delivery.member.group

    def _invoke(self, delivery: KafkaDelivery | Direct) -> None:
        safe = delivery.is_safe if isinstance(delivery, Direct) else _is_safe
        outcome = self._invoker.invoke(delivery.event, delivery.attempt, safe)
        match outcome.verdict:
            case Verdict.RETRY:
                delivery.retry(_backoff(outcome.delay, delivery.attempt))
            case Verdict.DEAD:
                delivery.dead(outcome.reason, outcome.error)
            case _:
                self._emit(delivery, outcome)

    def _emit(self, delivery: KafkaDelivery | Direct, outcome: Outcome) -> None:
        """Publish, and acknowledge when that is safe. Meanwhile go on with what is at home here."""
        published: Publication = Future()

        def done(error: Exception | None) -> None:
            if error is None:
                published.set_result(None)
                self._invoker.confirm(delivery.event)
                delivery.ack()
            else:
                published.set_exception(error)
                log.warning("%s is not published: %s", delivery.event.id, error)
                delivery.retry(_backoff(AGAIN, delivery.attempt))

        before = delivery if isinstance(delivery, Direct) else None
        directs = [
            Direct(self, event, published, before, outcome.pure)
            for event in outcome.events
            if self._worker.next_member(event)
        ]
        self.in_hand.update((direct.event.id, direct) for direct in directs)
        self.bus.send(outcome.events, done)
        self.inbox.put(*directs)


def _is_safe() -> bool:
    """What came by Kafka comes again if need be."""
    return True


class Direct:
    """An event that is on its way through Kafka and is dealt with already.

    Its copy is attached when it comes, and shares its fate: what cannot be done here at the first attempt
    is left to the copy.

    :param publication: of the event.
    :param before: the direct call it came of, if it came of one.
    :param pure: that call left no record: its event alone brings this one back.
    """

    attempt = 1

    def __init__(
        self,
        thread: WorkerThread,
        event: Event[Body],
        publication: Publication,
        before: Direct | None,
        pure: bool,
    ) -> None:
        self._thread = thread
        self.event = event
        earlier = before.safety if before else ()
        self.safety: tuple[Publication, ...] = (publication, *earlier) if pure else (publication,)
        """if one of these succeeds, the event is not lost with this process"""
        self.earlier: tuple[Publication, ...] = before.earlier if before and pure else earlier
        """the same of the event that the last record was made for"""
        self._lock = threading.Lock()
        self._copies: list[Copy] = []
        self._fate: Callable[[Copy], None] | None = None

    def is_safe(self) -> bool:
        """Whether it comes again if this process dies. Waits until the event before it does: two records
        in a row may be ahead of Kafka, never three.

        :raises TemporaryError: if that one is not published.
        """
        if self.earlier and not any(map(_succeeded, self.earlier)):
            self._thread.bus.wait(self.earlier[-1])  # the one that was sent first
        return any(map(_succeeded, self.safety))

    def attach(self, copy: Copy) -> None:
        """The event came by Kafka."""
        with self._lock:
            if self._fate is None:
                self._copies.append(copy)
                return
        self._fate(copy)

    def ack(self) -> None:
        self._over(lambda copy: copy.ack())

    def retry(self, delay: float) -> None:
        self._over(lambda copy: copy.retry(delay))

    def dead(self, reason: str, error: str = "") -> None:
        self._over(lambda copy: copy.retry(0.0))

    def _over(self, fate: Callable[[Copy], None]) -> None:
        with self._lock:
            self._fate = fate
        self._thread.in_hand.pop(self.event.id, None)
        for copy in self._copies:
            fate(copy)


def _succeeded(publication: Publication) -> bool:
    return publication.done() and publication.exception() is None


def _backoff(delay: float, attempt: int) -> float:
    """Seconds until the next attempt."""
    return min(LONGEST, delay * 2.0 ** min(attempt - 1, 16))
