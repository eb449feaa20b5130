"""What was used most recently: the bound of every cache."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

__all__ = ["LruCache"]

K = TypeVar("K")
V = TypeVar("V")


class LruCache(OrderedDict[K, V]):
    """A dict that forgets what was neither stored nor recalled for the longest time.

    :param capacity: entries it holds.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._capacity = capacity

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self._capacity:
            self.popitem(last=False)

    def recall(self, key: K) -> V | None:
        """The value of a key, which is used now, or None."""
        if key in self:
            self.move_to_end(key)
        return self.get(key)
