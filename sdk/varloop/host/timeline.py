"""The calls of functions that wait for a record to take them."""

from __future__ import annotations

from collections import deque

from varloop.journal import Call
from varloop.support.cache import LruCache

__all__ = ["Timeline"]


class Timeline:
    """Calls by run, until the run's next record."""

    RUNS, CALLS = 1024, 16
    """of so many runs, so many each"""

    def __init__(self) -> None:
        self._calls: LruCache[str, deque[Call]] = LruCache(self.RUNS)

    def note(self, run: str, call: Call) -> None:
        """Keep a call for the next record of its run."""
        calls = self._calls.recall(run)
        if calls is None:
            calls = self._calls.keep(run, deque(maxlen=self.CALLS))
        calls.append(call)

    def of(self, run: str) -> list[Call]:
        """Calls of a run that are in no record yet."""
        return list(self._calls.get(run, ()))

    def recorded(self, run: str) -> None:
        """They are in a record."""
        self._calls.pop(run, None)

    def __len__(self) -> int:
        """How many runs have some."""
        return len(self._calls)
