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

    Each step below is one operation of a dict that no other thread can come between; an entry that was forgotten
    between two of them is no error. Only :meth:`keep` has to look and store as one.

    :param capacity: entries it holds.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._capacity = capacity
        self._lock = threading.Lock()

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self._used(key)
        if len(self) > self._capacity:
            self.popitem(last=False)

    def recall(self, key: K) -> V | None:
        """The value of a key, which is used now, or None."""
        if (found := self.get(key)) is not None:
            self._used(key)
        return found

    def keep(self, key: K, value: V) -> V:
        """The value of a key, which is used now; this one if there was none."""
        with self._lock:
            if (found := self.recall(key)) is None:
                found = self[key] = value
            return found

    def _used(self, key: K) -> None:
        """This is the entry to be forgotten last."""
        try:  # noqa: SIM105  costs nothing where suppress() would be most of the call
            self.move_to_end(key)
        except KeyError:
            pass
