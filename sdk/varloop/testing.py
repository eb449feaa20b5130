"""Test runs of your own functions: in memory, with an injected clock, and with every fault on demand.

>>> from varloop.testing import trial
>>> outcome = trial(spec, twice=True, shuffle=7)        # doctest: +SKIP
>>> outcome.end.data.value                              # doctest: +SKIP
-1.137306
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from varloop.app import App, Pipelines
from varloop.bus import DeadLetter
from varloop.bus.memory import MemoryBus
from varloop.client import submission
from varloop.context import Resources
from varloop.events import Event, Terminal
from varloop.host import Invoker, load_pipelines
from varloop.host.embedded import EmbeddedHost
from varloop.host.observe import Observer
from varloop.runs import StoredRun
from varloop.spec import RunSpec
from varloop.store import Store
from varloop.store.memory import MemoryStore
from varloop.support.clock import Clock

__all__ = ["Boundaries", "Crash", "FakeClock", "FaultyBus", "ReplayMismatch", "Trial", "trial"]


class FakeClock:
    """Stands still unless it is slept on.

    :param start: seconds since the epoch.
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


class Crash(BaseException):
    """The process died here; nothing after this point happened."""


class ReplayMismatch(AssertionError):
    """A function gave two outcomes for one event: it is not deterministic."""


class FaultyBus(MemoryBus):
    """A memory bus that keeps its promise, at least once and in no order, as badly as it may.

    :param twice: deliver every event twice.
    :param late: deliver every event once more, up to this many seconds later.
    :param shuffle: seed of a random order.
    """

    def __init__(
        self, clock: Clock, *, twice: bool = False, late: float = 0.0, shuffle: int | None = None
    ) -> None:
        super().__init__(clock)
        self._copies = 2 if twice else 1
        self._late = late
        self._shuffle = shuffle is not None
        self._random = random.Random(shuffle)

    def publish(self, *events: Event[Any]) -> None:
        for event in events:
            for _ in range(self._copies):
                self._send(event, self._random.random() if self._shuffle else 0.0)
            if self._late:
                self._send(event, self._random.uniform(0.0, self._late))

    def _send(self, event: Event[Any], delay: float) -> None:
        for group in self._groups.values():
            if event.type in group.types and delay:
                group.queue.put_at(self._clock.monotonic() + delay, (1, event))
            elif event.type in group.types:
                group.queue.put((1, event))


class Boundaries(Observer):
    """Tells a function of every place where a process may die between two steps.

    :param tell: called with "received", "recorded", "published" or "dropped", and the event delivered.
    """

    def __init__(self, tell: Callable[[str, Event[Any]], None]) -> None:
        self._tell = tell

    def received(self, event: Event[Any], attempt: int) -> None:
        self._tell("received", event)

    def recorded(self, event: Event[Any], outcome: tuple[Event[Any], ...]) -> None:
        self._tell("recorded", event)

    def published(self, event: Event[Any]) -> None:
        self._tell("published", event)

    def dropped(self, event: Event[Any]) -> None:
        self._tell("dropped", event)


@dataclass
class Trial:
    """What came of a trial."""

    store: Store
    end: Event[Any]
    """the event that ended the run"""
    events: list[Event[Any]] = field(default_factory=list)
    """every delivery, in order"""
    boundaries: int = 0
    """how many boundaries were passed: the places where ``crash_at`` can strike"""
    dead_letters: list[DeadLetter] = field(default_factory=list)


def trial(
    spec: RunSpec | dict[str, Any],
    *,
    apps: Iterable[App] = (),
    pipeline: str = "default",
    run: str = "trial",
    store: Store | None = None,
    clock: Clock | None = None,
    twice: bool = False,
    late: float = 0.0,
    shuffle: int | None = None,
    replay: bool = False,
    crash_at: int | None = None,
    lose_bus: bool = False,
    installed: Callable[[Iterable[App]], Pipelines] = load_pipelines,
) -> Trial:
    """Publish a run to an embedded host, unchecked as any application may, and drive it to its end.

    :param twice: deliver every event twice.
    :param late: deliver every event once more, up to this many seconds of the clock later.
    :param shuffle: seed of a random order of deliveries.
    :param replay: call every function a second time for each event it is called with, from the state it
        had then, and demand the same outcome, bit for bit.
    :param crash_at: the process dies at this boundary, from 0, and another takes over.
    :param lose_bus: events under way die with the process; the run is resumed from its journal alone.
    :raises ReplayMismatch: if a replayed call had another outcome.
    :raises AssertionError: if the run does not end.
    """
    pipelines = installed(apps)
    store = store if store is not None else MemoryStore()
    clock = clock or FakeClock()
    bus = FaultyBus(clock, twice=twice, late=late, shuffle=shuffle)
    watcher = _Watcher(crash_at)
    host = _host(pipelines, store, clock, bus, watcher, replay)
    try:
        event = submission(spec, run, pipeline, clock)
        host.resources.register(event)
        host.publish(event)
        host.drain()
    except Crash:
        host.close()
        if lose_bus:
            bus = FaultyBus(clock, twice=twice, late=late, shuffle=shuffle)
        host = _host(pipelines, store, clock, bus, watcher, replay)
        if lose_bus:
            bus.publish(*StoredRun(host.resources, run).pending())
        host.drain()
    end = next((event for event in watcher.events if isinstance(event.data, Terminal)), None)
    end = (
        end or StoredRun(host.resources, run).ending()
    )  # it may have been lost with the bus, but not from the journal
    if end is None:
        raise AssertionError(f"the run did not end; dead letters: {[x.reason for x in bus.dead_letters]}")
    return Trial(store, end, watcher.events, watcher.count, bus.dead_letters)


def _host(
    pipelines: Pipelines,
    store: Store,
    clock: Clock,
    bus: MemoryBus,
    watcher: _Watcher,
    replay: bool,
) -> EmbeddedHost:
    resources = Resources(store, clock, pipelines.types)
    observer = Boundaries(watcher)
    host = EmbeddedHost(pipelines, resources, bus, observer=observer)
    if replay:
        host.invoker = _ReplayingInvoker(pipelines, resources, host="replaying", observer=observer)
    return host


class _Watcher:
    """Counts boundaries, collects deliveries, and crashes where told."""

    def __init__(self, crash_at: int | None) -> None:
        self.count = 0
        self.events: list[Event[Any]] = []
        self._crash_at = crash_at

    def __call__(self, boundary: str, event: Event[Any]) -> None:
        if boundary == "received":
            self.events.append(event)
        self.count += 1
        if self.count - 1 == self._crash_at:
            raise Crash(boundary, event.type)


class _ReplayingInvoker(Invoker):
    """Calls every function once more on a copy of the store as it was, and compares."""

    def invoke(self, event: Event[Any], attempt: int = 1, safe: Callable[[], bool] = lambda: True) -> Any:
        before = MemoryStore()
        for key in self.resources.store.keys():
            before.put(key, self.resources.store.get(key))
        outcome = super().invoke(event, attempt, safe)
        again = Invoker(self.pipelines, Resources(before, self.resources.clock, self.pipelines.types)).invoke(
            event, attempt
        )
        if outcome.events and outcome.events != again.events:
            raise ReplayMismatch(f"{outcome.function}: {again.events} differs from {outcome.events}")
        return outcome
