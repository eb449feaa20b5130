"""The embedded host: all functions in this process, on a memory bus. Driven by its caller, no threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from varloop.app import Pipelines
from varloop.bus import DeadLetter, Delivery
from varloop.bus.memory import MemoryBus
from varloop.context import Resources
from varloop.events import Event
from varloop.host.invoke import Invoker, Verdict
from varloop.host.observe import Observer
from varloop.settings import Settings
from varloop.support.cache import LruCache

__all__ = ["EmbeddedHost"]

OVERTAKEN = 1024
"""runs of which it is known that another process is ahead"""


class EmbeddedHost:
    """Delivers published events to the functions, one at a time, until nothing is left to do."""

    def __init__(
        self,
        pipelines: Pipelines,
        resources: Resources,
        bus: MemoryBus | None = None,
        *,
        settings: Settings | None = None,
        observer: Observer | None = None,
        invoker: Invoker | None = None,
    ) -> None:
        self.bus = bus or MemoryBus(resources.clock)
        self.resources = resources
        self.pipelines = pipelines
        self.invoker = invoker or Invoker(
            pipelines, resources, host="embedded", settings=settings, observer=observer
        )
        self._consumer = self.bus.consumer("varloop", pipelines.types)
        self._under_way: Delivery | None = None
        self.overtaken: LruCache[str, None] = LruCache(OVERTAKEN)
        """runs whose latest delivery was a duplicate: another process is ahead with them"""

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """Events that could not be accepted."""
        return self.bus.dead_letters

    def publish(self, event: Event[Any]) -> None:
        """Hand an event to the functions."""
        self.bus.publish(event)

    def run(self) -> Iterator[Event[Any]]:
        """Deliver until the bus is empty; yields every event as it is delivered.

        Whoever breaks off, or is interrupted, leaves the event to whoever asks next.
        """
        while (delivery := self._under_way or self._consumer.poll(timeout=3600.0)) is not None:
            self._under_way = delivery
            yield delivery.event
            if self._under_way is delivery:  # nobody else went on with it meanwhile
                self._deliver(delivery)
                self._under_way = None

    def drain(self) -> None:
        """Deliver until the bus is empty."""
        for _ in self.run():
            pass

    def put_off(self, delay: float) -> None:
        """Deliver what is under way ``delay`` seconds later, after what else waits."""
        if self._under_way is not None:
            self._under_way.retry(delay)
            self._under_way = None

    def close(self) -> None:
        """Give back what was not acknowledged."""
        self._under_way = None
        self._consumer.close()

    def _deliver(self, delivery: Delivery) -> None:
        event = delivery.event
        if absence := self.pipelines.absence(event.pipeline):
            delivery.dead(absence, "EventError")
            return
        outcome = self.invoker.invoke(event, delivery.attempt)
        if outcome.verdict is Verdict.DROP and outcome.function:
            self.overtaken[event.run] = None
        else:
            self.overtaken.pop(event.run, None)
        match outcome.verdict:
            case Verdict.RETRY:
                delivery.retry(outcome.delay)
            case Verdict.DEAD:
                delivery.dead(outcome.reason, outcome.error)
            case _:
                self.bus.publish(*outcome.events)
                self.invoker.confirm(event)
                delivery.ack()
