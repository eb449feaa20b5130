"""One thread of a worker: calls functions, publishes what they return, and goes on with what is at home here."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from varloop.app import DEFAULT, Pipelines
from varloop.bus.inbox import Inbox
from varloop.bus.kafka import Copy, KafkaBus, KafkaDelivery
from varloop.context import Resources
from varloop.errors import PermanentError, TemporaryError
from varloop.events import Body, Event
from varloop.host.invoke import Invoker, Outcome, Verdict
from varloop.settings import Settings
from varloop.wire.attributes import OWN_SOURCE

__all__ = ["Direct", "WorkerThread"]

log = logging.getLogger("varloop.host")

Publication = Future[None]

LONGEST = 30.0
"""seconds between two attempts at most; each delay is twice the one before"""
AGAIN = 1.0
"""seconds to wait when something went wrong here"""
ABSENT, ABSENT_AGAIN = 600.0, 10.0
"""seconds that an event of a pipeline that is not here waits, for a worker that has it to take its partition over,
and between two looks
"""
LOOK = 0.5


class WorkerThread:
    """One thread that calls functions.

    :param number: which of the worker's threads it is.
    :param at_home: whether an event would come to this very process, so that its function can be called at once.
    """

    def __init__(
        self,
        bus: KafkaBus,
        pipelines: Pipelines,
        resources: Resources,
        number: int,
        at_home: Callable[[Event[Body]], bool],
        *,
        settings: Settings | None = None,
    ) -> None:
        self.bus = bus
        self._pipelines = pipelines
        self._at_home = at_home
        self.inbox: Inbox[KafkaDelivery | Direct] = Inbox(time.monotonic)
        host = f"{socket.gethostname()}/{os.getpid()}"
        self._invoker = Invoker(pipelines, resources, host=host, settings=settings)
        self.in_hand: dict[str, Direct] = {}
        self._refused: dict[str, PermanentError] = {}
        """events whose outcome no broker will ever take, by id"""
        self.fault = ""
        """why the last call came to nothing, empty if it did not"""
        self._delivery: KafkaDelivery | Direct | None = None
        self._number = number
        self._start()

    @property
    def calling(self) -> Event[Body] | None:
        """The event whose call is under way."""
        delivery = self._delivery
        return None if delivery is None else delivery.event

    @property
    def given_up(self) -> int:
        """How many of its calls took too long and still hold a thread."""
        return self._invoker.given_up

    def oversee(self) -> None:
        """Fail the run of a call that takes too long, and give the others another thread."""
        for event, outcome in self._invoker.oversee():
            delivery = self._delivery
            if delivery is not None and delivery.event.id == event.id:
                self._start()
                self._emit(delivery, outcome)

    def _start(self) -> None:
        """Begin to deliver, in place of a thread that does not come back."""
        self._delivery = None
        self.thread = threading.Thread(target=self._run, name=f"varloop-calls-{self._number}", daemon=True)
        self.thread.start()

    @property
    def _in_place(self) -> bool:
        """Whether the thread that asks is not replaced."""
        return threading.current_thread() is self.thread

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
        while self._in_place and not self.inbox.closed:
            delivery = self.inbox.take(LOOK)
            if delivery is None:
                continue
            event, self._delivery = delivery.event, delivery
            try:
                self._deliver(delivery)
            except Exception as error:
                self.fault = (
                    f"a bug in varloop, event {event.id} of run {event.run}: {type(error).__name__}: {error}"
                )
                log.exception(
                    "event %s of run %s went wrong here and is tried again",
                    event.id,
                    event.run,
                    extra={"run": event.run},
                )
                if self._in_place:
                    delivery.retry(_backoff(AGAIN, delivery.attempt))
            if self._in_place:
                self._delivery = None

    def _deliver(self, delivery: KafkaDelivery | Direct) -> None:
        event = delivery.event
        if isinstance(delivery, KafkaDelivery) and not delivery.is_ours:
            return
        if isinstance(delivery, Direct) and (delivery.is_lost() or not self._at_home(event)):
            delivery.retry(0.0)
        elif isinstance(delivery, KafkaDelivery) and not self._mine(delivery):
            delivery.ack()
        elif absence := self._pipelines.absence(event.pipeline):
            self._leave_to_others(delivery, absence)
        else:
            self._invoke(delivery)

    def _leave_to_others(self, delivery: KafkaDelivery | Direct, absence: str) -> None:
        """Another worker may have the pipeline, as in a rolling update, and this one soon be gone."""
        if delivery.attempt * ABSENT_AGAIN > ABSENT:
            delivery.dead(f"{absence}; no worker that has it took it over in {ABSENT:g} s", "EventError")
            return
        run = delivery.event.run
        about = {"run": run, "repeats": absence}
        log.warning("run %s waits for %g s at most: %s", run, ABSENT, absence, extra=about)
        delivery.retry(ABSENT_AGAIN)

    def _mine(self, delivery: KafkaDelivery) -> bool:
        """Whether the delivery's group is that of the function that takes it."""
        event, pipelines = delivery.event, self._pipelines
        pipeline = event.pipeline if event.pipeline in pipelines else DEFAULT
        function = pipelines.route(pipeline, event.type)
        return function is not None and function.name == delivery.member.group

    def _invoke(self, delivery: KafkaDelivery | Direct) -> None:
        safe = delivery.is_safe if isinstance(delivery, Direct) else _is_safe
        if refusal := self._refused.get(delivery.event.id):
            outcome = self._invoker.end(delivery.event, refusal)
        else:
            outcome = self._invoker.invoke(delivery.event, delivery.attempt, safe)
        if not self._in_place:
            return  # it took too long, and the delivery is dealt with
        self.fault = outcome.reason if outcome.verdict is Verdict.RETRY else ""
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
                self._refused.pop(delivery.event.id, None)
                self._invoker.confirm(delivery.event)
                delivery.ack()
            else:
                published.set_exception(error)
                run = delivery.event.run
                about = {"run": run, "repeats": str(error)}
                log.warning(
                    "what %s did for run %s is not published: %s", outcome.function, run, error, extra=about
                )
                if isinstance(error, PermanentError):
                    self._refused[delivery.event.id] = error
                delivery.retry(_backoff(AGAIN, delivery.attempt))

        before = delivery if isinstance(delivery, Direct) else None
        directs = [
            Direct(self, event, published, before, outcome.pure)
            for event in outcome.events
            if self._at_home(event)
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

    def is_lost(self) -> bool:
        """Whether the event is known not to be published: whoever tried will try again, or end the run."""
        return self.safety[0].done() and not _succeeded(self.safety[0])

    def is_safe(self) -> bool:
        """Whether it comes again if this process dies. Waits until the event before it does: two records
        in a row may be ahead of Kafka, never three.

        :raises TemporaryError: if that one is not published.
        """
        if self.earlier and not any(map(_succeeded, self.earlier)):
            try:
                self._thread.bus.wait(self.earlier[-1])  # the one that was sent first
            except PermanentError as error:  # the step that it came of ends the run
                raise TemporaryError(error.detail) from error
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
