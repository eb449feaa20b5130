"""Which offset of a partition may be committed: that of the first record that is not dealt with."""

from __future__ import annotations

import heapq

__all__ = ["Offsets", "partition_of"]


class Offsets:
    """Records of one partition that were handed out, in whatever order they are finished."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pending: set[int] = set()
        self._heap: list[int] = []
        """pending ones, and finished ones that have pending ones before them"""
        self._next = -1
        """one past the newest record"""
        self._committed = -1

    def begin(self, offset: int) -> bool:
        """A record has come. False if it came before and its offset is not committed: it is in hand.

        A record from before what is committed means that somebody reset the group's offsets or made the
        topic anew: it counts as new, and so does all that follows.
        """
        if offset < self._committed:
            self._reset()
        elif offset < self._next:
            return False
        self._pending.add(offset)
        heapq.heappush(self._heap, offset)
        self._next = offset + 1
        return True

    def complete(self, offset: int) -> None:
        """A record is dealt with."""
        self._pending.discard(offset)
        while self._heap and self._heap[0] not in self._pending:
            heapq.heappop(self._heap)

    @property
    def outstanding(self) -> int:
        """How many records are not dealt with."""
        return len(self._pending)

    def to_commit(self) -> int | None:
        """The offset to commit if it moved since the last call, else None."""
        position = self._heap[0] if self._heap else self._next
        if position <= self._committed:
            return None
        self._committed = position
        return position


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Kafka's clients choose for a key: MurmurHash2, as Java's client seeds it."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """MurmurHash2 of 32 bits with Kafka's seed (Austin Appleby's public domain algorithm)."""
    factor, mask, size = 0x5BD1E995, 0xFFFFFFFF, len(data)
    value = 0x9747B28C ^ size
    whole = size & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * factor & mask
        word = (word ^ word >> 24) * factor & mask
        value = (value * factor & mask) ^ word
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * factor & mask
    value = (value ^ value >> 13) * factor & mask
    return value ^ value >> 15
