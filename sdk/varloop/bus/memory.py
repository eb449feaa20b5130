"""A bus inside one process."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import count

from varloop.bus import Consumer, DeadLetter, Delivery
from varloop.events import Body, Event
from varloop.support.clock import Clock, SystemClock
from varloop.support.delays import DelayQueue

__all__ = ["MemoryBus"]

Entry = tuple[int, Event[Body]]
"""(attempt, event)"""


@dataclass
class _Group:
    types: frozenset[str]
    queue: DelayQueue[Entry] = field(default_factory=DelayQueue)


class MemoryBus:
    """Delivers in the order of publication; gone with the process. For one thread."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._groups: dict[str, _Group] = {}
        self._sequence = count()
        self.dead_letters: list[DeadLetter] = []

    def publish(self, *events: Event[Body]) -> None:
        for event in events:
            for group in self._groups.values():
                if event.type in group.types:
                    group.queue.put((1, event))

    def consumer(self, group: str, types: Collection[str]) -> Consumer:
        return _Consumer(self, self._groups.setdefault(group, _Group(frozenset(types))))

    def close(self) -> None:
        self._groups.clear()


class _Consumer:
    def __init__(self, bus: MemoryBus, group: _Group) -> None:
        self._bus = bus
        self._group = group
        self._open: dict[int, _Delivery] = {}

    def poll(self, timeout: float) -> Delivery | None:
        queue, clock = self._group.queue, self._bus._clock
        until = clock.monotonic() + timeout
        while wait := queue.wait(now := clock.monotonic()):
            clock.sleep(min(wait, until - now))
            if wait > until - now:
                return None
        entry = queue.take(now)
        if entry is None:
            return None
        sequence = next(self._bus._sequence)
        delivery = self._open[sequence] = _Delivery(self, sequence, *entry)
        return delivery

    def close(self) -> None:
        for delivery in self._open.values():
            self._group.queue.put((delivery.attempt + 1, delivery.event))
        self._open.clear()


class _Delivery:
    __slots__ = ("_consumer", "_sequence", "attempt", "event")

    def __init__(self, consumer: _Consumer, sequence: int, attempt: int, event: Event[Body]) -> None:
        self._consumer = consumer
        self._sequence = sequence
        self.event = event
        self.attempt = attempt

    def ack(self) -> None:
        self._consumer._open.pop(self._sequence, None)

    def retry(self, delay: float) -> None:
        self.ack()
        due = self._consumer._bus._clock.monotonic() + delay
        self._consumer._group.queue.put_at(due, (self.attempt + 1, self.event))

    def dead(self, reason: str, error: str = "") -> None:
        self.ack()
        letter = DeadLetter(reason=reason, attempt=self.attempt, error=error, event=self.event)
        self._consumer._bus.dead_letters.append(letter)
