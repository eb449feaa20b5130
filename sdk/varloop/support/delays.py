"""A queue with delays: things that are due now, in the order they came, and things that are due later."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

__all__ = ["DelayQueue"]

T = TypeVar("T")


class DelayQueue(Generic[T]):
    """Plain data: it neither waits nor tells the time. What was put off comes first when its time has come.

    Times are seconds of any clock that does not go back.
    """

    def __init__(self) -> None:
        self._ready: deque[T] = deque()
        self._later: list[tuple[float, int, T]] = []
        self._order = count()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._ready) + len(self._later)

    @property
    def ready(self) -> int:
        """How many were never put off, or waited for."""
        return len(self._ready)

    def put(self, *items: T) -> None:
        """Due now."""
        self._ready.extend(items)

    def put_at(self, due: float, item: T) -> None:
        """Due at a time."""
        heapq.heappush(self._later, (due, next(self._order), item))

    def take(self, now: float) -> T | None:
        """The next one that is due, or None."""
        if self._later and self._later[0][0] <= now:
            return heapq.heappop(self._later)[2]
        return self._ready.popleft() if self._ready else None

    def wait(self, now: float) -> float | None:
        """Seconds until one is due, 0 if one is, None if there is none at all."""
        if self._ready:
            return 0.0
        return max(0.0, self._later[0][0] - now) if self._later else None

    def discard(self, unwanted: Callable[[T], bool]) -> None:
        """Forget some."""
        self._ready = deque(item for item in self._ready if not unwanted(item))
        self._later = [entry for entry in self._later if not unwanted(entry[2])]
        heapq.heapify(self._later)
