"""A worker that may be told to die at an exact point, or to live with a clock that jumps. Run as a program.

Without a fuse and with an honest clock it is ``varloop worker`` and nothing else.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from varloop.bus.kafka import KafkaBus
from varloop.events import Event
from varloop.host.invoke import Invoker, Outcome
from varloop.host.kafka import thread
from varloop.host.kafka import worker as host
from varloop.store import Store
from varloop.support.clock import SystemClock

POINTS = ("received", "computed", "recorded", "published")
"""before the call; after it, before its record; after the record, before publication; before the offset is committed"""
DAY = 86_400.0
_DEATH = threading.Lock()


@dataclass(frozen=True)
class Fuse:
    """``POINT:FUNCTION:ITERATION``: die there, in that iteration or a later one."""

    point: str
    function: str
    iteration: int

    @classmethod
    def parse(cls, text: str) -> Fuse:
        """From its text."""
        point, function, iteration = text.split(":")
        if point not in POINTS:
            raise ValueError(f"no point {point!r}, only {', '.join(POINTS)}")
        return cls(point, function, int(iteration))

    def reached(self, point: str, function: str, iteration: int) -> None:
        """Die if this is the point."""
        if (point, function) == (self.point, self.function) and iteration >= self.iteration:
            _DEATH.acquire()  # kept: two threads may come here, but there is one death
            os.write(2, f"died {point}:{function}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)


class _Now(threading.local):
    """What this thread is doing."""

    function = ""
    iteration = -1


class Watched:
    """Every boundary of every call in this process, told to a fuse."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse
        self._now = _Now()

    def reached(self, point: str) -> None:
        """The call of this thread has come to a point."""
        self._fuse.reached(point, self._now.function, self._now.iteration)

    def install(self) -> None:
        """Watch calls, publications and records."""
        Invoker.invoke = self._invoke(Invoker.invoke)  # type: ignore[method-assign]
        KafkaBus.send = self._send(KafkaBus.send)  # type: ignore[method-assign]
        host.open_store = self._store(host.open_store)  # type: ignore[assignment]

    def _invoke(self, invoke: Callable[..., Outcome]) -> Callable[..., Outcome]:
        def watched(invoker: Invoker, event: Event[Any], *more: Any) -> Outcome:
            function = invoker.pipelines.route(event.pipeline, event.type)
            self._now.function, self._now.iteration = function.name if function else "", event.iteration
            self.reached("received")
            outcome = invoke(invoker, event, *more)
            if function and function.pure:
                self.reached("computed")
            return outcome

        return watched

    def _send(self, send: Callable[..., None]) -> Callable[..., None]:
        def watched(bus: KafkaBus, events: Iterable[Event[Any]], done: Callable[..., None]) -> None:
            function, iteration = self._now.function, self._now.iteration

            def safe(error: Exception | None) -> None:
                if error is None:
                    self._fuse.reached("published", function, iteration)
                done(error)

            send(bus, events, safe)

        return watched

    def _store(self, open_store: Callable[[str], Store]) -> Callable[[str], Store]:
        def watched(url: str) -> Store:
            store = open_store(url)
            store.create = self._create(store.create)  # type: ignore[method-assign]
            return store

        return watched

    def _create(self, create: Callable[[str, bytes], bool]) -> Callable[[str, bytes], bool]:
        def watched(key: str, data: bytes) -> bool:
            if "/journal/" not in key or not key.endswith(f"/{self._now.function}"):
                return create(key, data)
            self.reached("computed")
            won = create(key, data)
            self.reached("recorded")
            return won

        return watched


def unsettle_clock(seed: int) -> None:
    """Let the clock jump by up to a day, back and forth, every few looks at it."""
    chance, lock = random.Random(seed), threading.Lock()
    offset = 0.0

    def now() -> float:
        nonlocal offset
        with lock:
            if chance.random() < 0.2:
                offset = chance.uniform(-DAY, DAY)
            return time.time() + offset

    SystemClock.now = staticmethod(now)  # type: ignore[assignment]


def main(arguments: Sequence[str]) -> int:
    """Be a worker."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bus", required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--function", action="append", default=[])
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--no-fusion", action="store_true")
    parser.add_argument("--instance", default="")
    parser.add_argument("--fuse", type=Fuse.parse)
    parser.add_argument("--jumpy", type=int, help="seed of a clock that jumps")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for name, level in (("kafka", logging.WARNING), ("qiskit", logging.WARNING)):
        logging.getLogger(name).setLevel(level)
    thread.ABSENT = 0.0  # a record that waits would hold back the offsets of those after it
    if options.fuse:
        Watched(options.fuse).install()
    if options.jumpy is not None:
        unsettle_clock(options.jumpy)
    host.run_worker(
        options.bus,
        options.store,
        functions=options.function,
        concurrency=options.concurrency,
        fusion=not options.no_fusion,
        instance=options.instance,
        started=lambda worker, port: print("started", file=sys.stderr, flush=True),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
