"""What was used most recently: the bound of every cache."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TypeVar

__all__ = ["LruCache"]

K = TypeVar("K")
V = TypeVar("V")


class LruCache(OrderedDict[K, V]):
    """A dict that forgets what was neither stored nor recalled for the longest time. For any number of threads.

    :param capacity: entries it holds.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._capacity = capacity
        self._lock = threading.RLock()

    def __setitem__(self, key: K, value: V) -> None:
        with self._lock:
            super().__setitem__(key, value)
            self.move_to_end(key)
            if len(self) > self._capacity:
                self.popitem(last=False)

    def recall(self, key: K) -> V | None:
        """The value of a key, which is used now, or None."""
        with self._lock:
            if key in self:
                self.move_to_end(key)
            return self.get(key)

    def keep(self, key: K, value: V) -> V:
        """The value of a key, which is used now; this one if there was none."""
        with self._lock:
            if (found := self.recall(key)) is None:
                found = self[key] = value
            return found
