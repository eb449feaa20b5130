"""What waits for a thread: deliveries that are due now, and those that are due later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from varloop.support.delays import DelayQueue

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
        self._queue: DelayQueue[T] = DelayQueue()
        self._closed = False

    def __len__(self) -> int:
        return self._queue.ready

    def put(self, *items: T) -> None:
        with self._news:
            self._queue.put(*items)
            self._news.notify(len(items))

    def put_later(self, delay: float, item: T) -> None:
        with self._news:
            self._queue.put_at(self._now() + delay, item)
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
                wait = self._queue.wait(now)
                if wait == 0.0:
                    return self._queue.take(now)
                left = deadline - now
                if left <= 0.0:
                    return None
                self._news.wait(left if wait is None else min(left, wait))
        return None

    def discard(self, unwanted: Callable[[T], bool]) -> None:
        with self._news:
            self._queue.discard(unwanted)

    def close(self) -> None:
        """Give nothing more to anybody."""
        with self._news:
            self._closed = True
            self._news.notify_all()
