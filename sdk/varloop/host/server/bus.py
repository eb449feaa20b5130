"""A memory bus for a process that serves: any thread may publish, several deliver and wait for more."""

from __future__ import annotations

import hashlib
import logging
import math
import threading
from collections.abc import Collection
from dataclasses import dataclass

from varloop.bus import Consumer, Delivery
from varloop.bus.memory import Entry, MemoryBus
from varloop.errors import VarloopError
from varloop.events import Body, Event
from varloop.host.server.letters import StoredLetters
from varloop.store import Store
from varloop.store.layout import DEAD_LETTERS
from varloop.support.clock import Clock
from varloop.support.delays import DelayQueue
from varloop.wire.codec import Types, from_json, to_json

__all__ = ["LiveBus"]

log = logging.getLogger("varloop.host")

INBOX = "inbox/"
KEPT = 100
"""dead letters at hand; the store has all of them"""


class LiveBus(MemoryBus):
    """Delivers until it is closed. Events from outside survive the process: they lie in the store until
    they are dealt with.

    :param turn: seconds that a delivery may take. A consumer whose delivery took longer gets no other.
    """

    def __init__(self, store: Store, clock: Clock, turn: float = math.inf) -> None:
        super().__init__(clock)
        self._store = store
        self._turn = turn
        self._consumers: list[_Consumer] = []
        self._news = threading.Condition(threading.RLock())
        self._closed = False
        self._kept: set[str] = set()

    def accept(self, event: Event[Body]) -> None:
        """Publish an event from outside; on return it will be delivered, in this process or a later one."""
        key = _key(event)
        self._store.create(INBOX + key, to_json(event))
        self._kept.add(key)
        self.publish(event)

    def unfinished(self, types: Types) -> list[Event[Body]]:
        """What an earlier process accepted and did not deal with."""
        events = []
        for key in list(self._store.keys(INBOX)):
            try:
                events.append(from_json(self._store.get(key), types))
                self._kept.add(key.removeprefix(INBOX))
            except VarloopError as error:
                log.warning("%s is left alone: %s", key, error)
        return events

    def publish(self, *events: Event[Body]) -> None:
        with self._news:
            super().publish(*events)
            self._news.notify_all()

    def consumer(self, group: str, types: Collection[str]) -> Consumer:
        with self._news:
            consumer = _Consumer(self, super().consumer(group, types), self._groups[group].queue)
            self._consumers.append(consumer)
        return consumer

    def overdue(self) -> int:
        """How many consumers have had a delivery for longer than a turn."""
        now = self._clock.monotonic()
        with self._news:
            return sum(now - consumer.since > self._turn for consumer in self._consumers)

    def close(self) -> None:
        """Let no further delivery begin."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def done(self, event: Event[Body]) -> None:
        """The event is dealt with."""
        if self._kept and (key := _key(event)) in self._kept:
            self._store.delete(INBOX + key)
            self._kept.discard(key)

    def set_aside(self, event: Event[Body], reason: str, error: str) -> None:
        """The event cannot be accepted: keep it with the reason."""
        about = {"run": event.run, "letter": f"{DEAD_LETTERS}{_key(event)}"}
        log.error("event %s of run %s is set aside: %s: %s", event.id, event.run, error, reason, extra=about)
        StoredLetters(self._store).keep(_key(event), event, reason, error, self._clock.now())
        del self.dead_letters[:-KEPT]
        self.done(event)


def _key(event: Event[Body]) -> str:
    return hashlib.sha256(f"{event.source}\n{event.id}".encode()).hexdigest()


@dataclass(eq=False)
class _Consumer:
    bus: LiveBus
    inner: Consumer
    queue: DelayQueue[Entry]
    since: float = math.inf
    """when the delivery under way began"""
    late: bool = False
    """one took longer than a turn: somebody else has this consumer's place"""

    def poll(self, timeout: float) -> Delivery | None:
        """The next delivery, or None if there is none in time, none for this consumer or the bus is closed."""
        clock = self.bus._clock
        until = clock.monotonic() + timeout
        with self.bus._news:
            while not (self.bus._closed or self.late):
                now = clock.monotonic()
                wait = self.queue.wait(now)
                if wait == 0.0:
                    delivery = self.inner.poll(0.0)
                    self.since = now
                    return delivery and _Delivery(self, delivery)
                if now >= until:
                    break
                self.bus._news.wait(until - now if wait is None else min(wait, until - now))
        return None

    def finish(self) -> None:
        """The delivery under way is done."""
        with self.bus._news:
            self.late = self.bus._clock.monotonic() - self.since > self.bus._turn
            self.since = math.inf

    def close(self) -> None:
        with self.bus._news:
            self.inner.close()
            if self in self.bus._consumers:
                self.bus._consumers.remove(self)
            self.bus._news.notify_all()


class _Delivery:
    def __init__(self, consumer: _Consumer, inner: Delivery) -> None:
        self._consumer = consumer
        self._bus = consumer.bus
        self._inner = inner
        self.event = inner.event
        self.attempt = inner.attempt

    def ack(self) -> None:
        self._inner.ack()
        self._bus.done(self.event)
        self._consumer.finish()

    def retry(self, delay: float) -> None:
        with self._bus._news:
            self._inner.retry(delay)
            self._bus._news.notify_all()
        self._consumer.finish()

    def dead(self, reason: str, error: str = "") -> None:
        self._inner.dead(reason, error)
        self._bus.set_aside(self.event, reason, error)
        self._consumer.finish()
