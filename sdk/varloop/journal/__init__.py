"""The journal of a run: what happened, once. It is the only way to do anything that must not happen twice.

A run's records lie in the store under ``runs/<run>/journal/<iteration>/<function>``. A record is written
with create-if-absent: whoever writes first decides, everybody else takes what is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from varloop.errors import CorruptObject, MissingObject
from varloop.events import Memo
from varloop.progress import Iteration
from varloop.store import Store
from varloop.store.layout import END, RUNS, iteration_of, journal_prefix
from varloop.support.cache import LruCache

__all__ = ["Call", "Journal", "Once", "Record", "list_runs", "read_record", "write_record"]

T = TypeVar("T")


class Call(msgspec.Struct, frozen=True, array_like=True):
    """One call of a function, for the timeline: times in seconds since the epoch."""

    function: str
    iteration: int
    started: float
    ended: float
    host: str


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of one step of a run."""

    events: list[msgspec.Raw] = []
    """the events it emits, structured CloudEvents"""
    memory: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """what the step remembered for its next call, plain JSON: its own, nobody else reads it"""
    progress: Iteration | None = None
    """what the step reported, for people to see"""
    calls: list[Call] = []
    """this call, and earlier ones in the same process that left no record of their own"""
    cause: str = ""
    """identity of the call it is the record of, see :attr:`varloop.events.Event.call`; empty if for any"""
    early: bool = False
    """recorded before the event that led here was safe; the one before that was"""


class Once(NamedTuple, Generic[T]):
    """The recorded value, and whether this caller recorded it."""

    value: T
    won: bool


class Journal:
    """What one run has done. Keeps its latest records in memory; safe between processes."""

    CAPACITY = 16

    def __init__(self, store: Store, run: str) -> None:
        self.run = run
        self._store = store
        self._prefix = journal_prefix(run)
        self._recent: LruCache[str, bytes] = LruCache(self.CAPACITY)
        self._latest = -2
        self._ended = False

    def once(self, key: str, compute: Callable[[], bytes], *, expect_new: bool = False) -> Once[bytes]:
        """Return the recorded bytes, or compute and record them.

        :param expect_new: compute before looking, because the caller has reason to believe that nothing
            is recorded; this saves a round trip and changes no outcome.
        """
        recorded = None if expect_new and key not in self._recent else self.find(key)
        if recorded is not None:
            return Once(recorded, False)
        return self.add(key, compute())

    def add(self, key: str, data: bytes) -> Once[bytes]:
        """Record bytes, or return what somebody else recorded before."""
        if self._store.create(self._prefix + key, data):
            self._keep(key, data)
            return Once(data, True)
        return Once(self._known(key), False)

    def expects(self, key: str) -> bool:
        """Whether a record is most likely not there, by what this process knows: the run has not ended, and the newest
        record is of the same iteration or the one before.
        """
        return not self._ended and key not in self._recent and self.reaches(iteration_of(key))

    def block(self, key: str, data: bytes) -> bool:
        """Record bytes under a key that somebody else may be about to record; True if this came first."""
        first = self._store.create(self._prefix + key, data)
        if first:
            self._keep(key, data)
        return first

    def find(self, key: str) -> bytes | None:
        """The recorded bytes, or None."""
        if (known := self._recent.recall(key)) is not None:
            return known
        data = self._store.find(self._prefix + key)
        if data is not None:
            self._keep(key, data)
        return data

    def recall(self, memo: Memo) -> Any:
        """What a step remembered.

        :raises CorruptObject: if it is not what the memo was made of.
        """
        memory = read_record(self._known(memo.key), memo.key).memory or b""
        if memory_digest(memory) != memo.digest:
            raise CorruptObject(
                f"the memory in {memo.key} is not the one the event was made with", run=self.run
            )
        return msgspec.json.decode(memory)

    def remembered(self, key: str) -> Any:
        """What the step with this record remembered, or None."""
        data = self.find(key)
        memory = read_record(data, key).memory if data is not None else None
        return msgspec.json.decode(memory) if memory else None

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys of all records, or of those that begin so, oldest iteration first."""
        for key in self._store.keys(self._prefix + prefix):
            yield key.removeprefix(self._prefix)

    def reaches(self, iteration: int) -> bool:
        """Whether the newest record this process knows is of this iteration or the one before.

        Then a record of this iteration that this process does not know is most likely not there.
        """
        return iteration - 1 <= self._latest <= iteration

    def _known(self, key: str) -> bytes:
        data = self.find(key)
        if data is None:
            raise MissingObject(f"the journal has no record {key}", run=self.run)
        return data

    def _keep(self, key: str, data: bytes) -> None:
        self._recent[key] = data
        self._ended = self._ended or key == END
        self._latest = max(self._latest, iteration_of(key))


_records = msgspec.json.Decoder(Record)
_encoder = msgspec.json.Encoder()


def read_record(data: bytes, key: str = "") -> Record:
    """A record from its bytes.

    :param key: what it lies under, for the message.
    :raises CorruptObject: if it is not of this version's form.
    """
    try:
        return _records.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptObject(
            f"the record {key} of the journal cannot be read: {error}",
            hint="another version of varloop wrote it",
        ) from error


def write_record(record: Record) -> bytes:
    """A record as bytes."""
    return _encoder.encode(record)


def memory_digest(memory: bytes | msgspec.Raw) -> str:
    """Digest of what a step remembered."""
    return hashlib.sha256(memory).hexdigest()[:32]


def list_runs(store: Store) -> Iterator[str]:
    """Ids of all runs in a store."""
    return store.folders(RUNS)
