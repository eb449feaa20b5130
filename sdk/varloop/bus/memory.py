"""A bus inside one process."""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import count

from varloop.bus import Consumer, DeadLetter, Delivery
from varloop.events import Body, Event
from varloop.support.clock import Clock, SystemClock

__all__ = ["MemoryBus"]

Entry = tuple[float, int, int, Event[Body]]
"""(due, sequence, attempt, event): a heap of them is a queue with delays"""


@dataclass
class _Group:
    types: frozenset[str]
    queue: list[Entry] = field(default_factory=list)


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
                    self._push(group, 0.0, 1, event)

    def consumer(self, group: str, types: Collection[str]) -> Consumer:
        return _Consumer(self, self._groups.setdefault(group, _Group(frozenset(types))))

    def close(self) -> None:
        self._groups.clear()

    def _push(self, group: _Group, due: float, attempt: int, event: Event[Body]) -> None:
        heapq.heappush(group.queue, (due, next(self._sequence), attempt, event))


class _Consumer:
    def __init__(self, bus: MemoryBus, group: _Group) -> None:
        self._bus = bus
        self._group = group
        self._open: dict[int, _Delivery] = {}

    def poll(self, timeout: float) -> Delivery | None:
        queue, clock = self._group.queue, self._bus._clock
        if not queue:
            return None
        if queue[0][0]:
            wait = queue[0][0] - clock.now()
            if wait > 0:
                clock.sleep(min(wait, timeout))
                if wait > timeout:
                    return None
        _, sequence, attempt, event = heapq.heappop(queue)
        delivery = self._open[sequence] = _Delivery(self, sequence, event, attempt)
        return delivery

    def close(self) -> None:
        for sequence, delivery in self._open.items():
            heapq.heappush(self._group.queue, (0.0, sequence, delivery.attempt + 1, delivery.event))
        self._open.clear()


class _Delivery:
    __slots__ = ("_consumer", "_sequence", "attempt", "event")

    def __init__(self, consumer: _Consumer, sequence: int, event: Event[Body], attempt: int) -> None:
        self._consumer = consumer
        self._sequence = sequence
        self.event = event
        self.attempt = attempt

    def ack(self) -> None:
        self._consumer._open.pop(self._sequence, None)

    def retry(self, delay: float) -> None:
        self.ack()
        bus = self._consumer._bus
        bus._push(self._consumer._group, bus._clock.now() + delay, self.attempt + 1, self.event)

    def dead(self, reason: str, error: str = "") -> None:
        self.ack()
        letter = DeadLetter(reason=reason, attempt=self.attempt, error=error, event=self.event)
        self._consumer._bus.dead_letters.append(letter)
