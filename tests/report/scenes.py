"""Runs worth a page: interrupted, failed, cancelled, long."""

from __future__ import annotations

from typing import Any

import toy
from varloop.client import EmbeddedClient, Run
from varloop.context import Resources
from varloop.host import load_pipelines
from varloop.host.embedded import EmbeddedHost
from varloop.store import Store
from varloop.store.memory import MemoryStore

NOON = 1_800_000_000.0


class TickingClock:
    """Every look at it takes some time.

    :param tick: seconds.
    """

    def __init__(self, start: float = NOON, tick: float = 0.004) -> None:
        self.time = start
        self.tick = tick

    def now(self) -> float:
        """The time, a tick later than before."""
        self.time += self.tick
        return self.time

    def monotonic(self) -> float:
        """The time as it is."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Later."""
        self.time += seconds


def client(
    store: Store | None = None, clock: TickingClock | None = None, run: str = "scene"
) -> EmbeddedClient:
    """A client of the toy pipeline whose next run has this id."""
    pipelines = load_pipelines([toy.app])
    resources = Resources(store or MemoryStore(), clock or TickingClock(), pipelines.types)
    return EmbeddedClient(EmbeddedHost(pipelines, resources), ids=lambda: run)


def spec(**more: Any) -> dict[str, Any]:
    """The toy's spec with some fields changed."""
    return {**toy.SPEC, **more}


def finished(run: str = "scene", **more: Any) -> Run:
    """A run that went to its end."""
    found = client(run=run).submit(spec(**more), pipeline="toy")
    found.client.host.drain()  # type: ignore[attr-defined]
    return found


def interrupted(hours: float = 2.0) -> Run:
    """A run whose process died, and that another took up hours later."""
    store, clock = MemoryStore(), TickingClock()
    first = client(store, clock).submit(spec(shots=400, budget={"iterations": 30}), pipeline="toy")
    for _, event in zip(range(40), first.watch(), strict=False):
        assert event
    clock.time += 3600 * hours
    second = client(store, clock).run("scene")
    second.resume().result()
    return second
