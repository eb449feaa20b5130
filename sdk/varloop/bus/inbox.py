"""What waits for a thread: deliveries that are due now, and those that are due later."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Generic, Protocol, TypeVar

__all__ = ["Inbox", "Sink"]

T = TypeVar("T")


class Sink(Protocol[T]):
    """Where deliveries are put."""

    def put(self, *items: T) -> None:
        """Due now, after those that are due already."""

    def put_later(self, delay: float, item: T) -> None:
        """Due after this many seconds."""

    def discard(self, unwanted: Callable[[T], bool]) -> None:
        """Forget some."""

    def __len__(self) -> int:
        """How many are due."""


class Inbox(Generic[T]):
    """A queue with delays. Any thread puts, any thread takes.

    :param now: seconds, monotonic.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._news = threading.Condition(threading.Lock())
        self._ready: deque[T] = deque()
        self._later: list[tuple[float, int, T]] = []
        self._order = count()
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready)

    def put(self, *items: T) -> None:
        with self._news:
            self._ready.extend(items)
            self._news.notify(len(items))

    def put_later(self, delay: float, item: T) -> None:
        with self._news:
            heapq.heappush(self._later, (self._now() + delay, next(self._order), item))
            self._news.notify()

    @property
    def closed(self) -> bool:
        """Whether it gives nothing more."""
        return self._closed

    def take(self, timeout: float) -> T | None:
        """The next one, waiting at most so many seconds for it. None at once when the inbox is closed."""
        deadline = self._now() + timeout
        with self._news:
            while not self._closed:
                now = self._now()
                if self._later and self._later[0][0] <= now:
                    return heapq.heappop(self._later)[2]
                if self._ready:
                    return self._ready.popleft()
                until = min(deadline, self._later[0][0]) if self._later else deadline
                if deadline <= now:
                    return None
                self._news.wait(until - now)
        return None

    def discard(self, unwanted: Callable[[T], bool]) -> None:
        with self._news:
            self._ready = deque(item for item in self._ready if not unwanted(item))
            self._later = [entry for entry in self._later if not unwanted(entry[2])]
            heapq.heapify(self._later)

    def close(self) -> None:
        """Give nothing more to anybody."""
        with self._news:
            self._closed = True
            self._news.notify_all()
