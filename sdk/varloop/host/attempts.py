"""Calls that kill the process they are made in: counted in the store, or every restart would die of them again.

A call is marked before it is made and the mark removed when the process comes back from it alive. Marks that
stay are deaths. Only calls of events that are not fresh are marked: what was never delivered before has
killed nobody, and all others were delivered at least once to somebody who did not finish.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from varloop.errors import HostDied, StoreUnavailable, TemporaryError
from varloop.settings import Settings
from varloop.store import Store
from varloop.store.layout import attempt_key
from varloop.support.clock import Clock
from varloop.support.turn import Turn

__all__ = ["Attempts"]

_alone = Turn()
"""held during every marked call of this process: nobody shall be blamed for a death that a neighbour caused"""


class Process(msgspec.Struct, frozen=True):
    """A process and no other: a container's next one has the same number."""

    host: str
    pid: int
    life: str

    def __str__(self) -> str:
        return f"{self.host}/{self.pid}"


LIFE = uuid.uuid4().hex


def this_process() -> Process:
    """The one that asks."""
    return Process(socket.gethostname(), os.getpid(), LIFE)


class Mark(msgspec.Struct, frozen=True):
    """A call under way, or one that nobody came back from."""

    process: Process
    time: float
    """seconds since the epoch"""


class Attempts:
    """Marks calls that may have killed a process before.

    :param process: this one.
    """

    def __init__(
        self, store: Store, clock: Clock, settings: Settings, process: Process | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._process = process or this_process()
        self._held: dict[str, float] = {}
        """marks of calls under way, and when they were made or renewed"""

    @contextmanager
    def marked(self, run: str, step: str) -> Iterator[None]:
        """Surrounds a call, alone among its kind.

        :param step: key of its record.
        :raises HostDied: if too many processes died of it.
        :raises TemporaryError: if another process is at it.
        """
        alone = _alone.acquire(self._settings.first_call)
        try:
            mark = self._mark(run, step)
            self._held[mark] = self._clock.now()
            try:
                yield
            finally:
                del self._held[mark]
                with suppress(StoreUnavailable):
                    self._store.delete(mark)
        finally:
            if alone:
                _alone.release()

    def renew(self) -> None:
        """Let nobody take this process for dead while its calls are under way. To be asked now and then."""
        now = self._clock.now()
        for key in [key for key, made in self._held.items() if now - made > self._settings.lease / 3]:
            with suppress(StoreUnavailable):
                self._store.put(key, self._written(now))
                self._held[key] = now

    def _mark(self, run: str, step: str) -> str:
        """Make a mark; its key."""
        now = self._clock.now()
        mine = self._written(now)
        dead: list[Process] = []
        for number in range(1, self._settings.deaths + 1):
            key = attempt_key(run, step, number)
            if self._store.create(key, mine):
                return key
            mark = self._read(key)
            if mark is not None and mark.process == self._process:
                return key  # made by a write that was thought to have failed, or not removed by one that did
            if mark is None or not self._is_dead(mark, now):
                who = mark.process if mark else "another process"
                raise TemporaryError(f"{who} is at this call", retry_after=self._settings.lease / 3, run=run)
            dead.append(mark.process)
        raise HostDied(
            f"{len(dead)} processes died during this call: {', '.join(map(str, dead))}",
            hint="their logs may tell why, often it is memory; submit something smaller under a new run id",
        )

    def _read(self, key: str) -> Mark | None:
        data = self._store.find(key)
        return None if data is None else msgspec.json.decode(data, type=Mark)

    def _is_dead(self, mark: Mark, now: float) -> bool:
        """Whether another process cannot be at it any more."""
        process = mark.process
        if process.host == self._process.host:
            return process.pid == self._process.pid or not _runs(process.pid)
        return abs(now - mark.time) > self._settings.lease

    def _written(self, now: float) -> bytes:
        return msgspec.json.encode(Mark(self._process, round(now, 3)))


def _runs(pid: int) -> bool:
    """Whether there is a process with this number here."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
