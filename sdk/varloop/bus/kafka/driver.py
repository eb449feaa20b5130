"""The client library behind a narrow interface: it can be exchanged, and its faults become ours in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

__all__ = [
    "LIMIT",
    "METADATA",
    "NAMESAKE",
    "Done",
    "Driver",
    "Headers",
    "Membership",
    "Reader",
    "Record",
    "Topic",
    "Writer",
]

Headers = Sequence[tuple[str, bytes]]
Done = Callable[[Exception | None], None]
"""called once, from any thread, when a record is safe (None) or lost (TemporaryError or PermanentError)"""
LIMIT = 2**24
"""bytes of a record that a writer tries to write; what a topic takes is for the broker to say"""
NAMESAKE = "another worker has the name of this instance; each needs an --instance of its own"
METADATA = 10.0
"""seconds after which a client asks again for brokers and partitions: so soon are new partitions read"""
SERVE = 0.25
"""seconds within which somebody has to call :meth:`Writer.serve` again"""


class Record(NamedTuple):
    """A record as it was read."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: float
    """seconds since the epoch"""


class Topic(NamedTuple):
    """A topic as it should be."""

    name: str
    partitions: int
    replicas: int
    """-1 for the cluster's default"""
    config: Mapping[str, str]


class Membership(Protocol):
    """What a member of a group wants to be told, and asked."""

    def assigned(self, partitions: frozenset[int]) -> None:
        """These partitions, and no others, are the member's from now on."""

    def revoking(self, partitions: frozenset[int]) -> None:
        """These partitions are about to go to others: returns when they may."""

    def to_commit(self) -> Mapping[int, int]:
        """Offsets that moved since the last call, by partition."""


class Reader(Protocol):
    """A member of a group on one topic. For one thread."""

    def poll(self, timeout: float) -> list[Record]:
        """Records that have come, waiting at most so many seconds for the first."""

    def commit(self, offsets: Mapping[int, int], wait: bool = False) -> None:
        """Commit offsets by partition; what fails is made good by the next commit."""

    def pause(self, paused: bool) -> None:
        """Fetch nothing, or go on; membership is not concerned."""

    def close(self) -> None:
        """Leave the group."""


class Writer(Protocol):
    """Writes records, each acknowledged by all replicas in sync and free of duplicates. For all threads."""

    broken: bool
    """it will never write again; another one may"""

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, done: Done) -> None:
        """Write a record; ``done`` is told when it is safe, by whoever serves.

        PermanentError says that it is too large, and would be the next time.
        """

    def serve(self, timeout: float = 0.0) -> None:
        """Tell what has become of records, waiting at most so many seconds for news."""

    def flush(self) -> None:
        """Wait for what is under way."""

    def close(self) -> None:
        """Wait for what is under way, and disconnect."""


class Driver(Protocol):
    """A client library."""

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has, 0 if there is no such topic.

        :raises TemporaryError: if no broker answers.
        """

    def reader(self, topic: str, group: str, instance: str, member: Membership) -> Reader:
        """Join a group, from the beginning of the topic if the group is new.

        :param instance: name of a static member, which may come back within a session without a rebalance.
        """

    def scan(self, topic: str) -> list[Record]:
        """All records that a topic holds now, oldest first in each partition."""

    def writer(self) -> Writer:
        """A writer of its own."""

    def create(self, topic: Topic) -> None:
        """Make a topic, and wait until all know of it. Somebody else may make it at the same time."""

    def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions."""

    def config(self, topic: str) -> Mapping[str, str]:
        """Settings of a topic, the cluster's defaults among them."""

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        """Change settings of a topic."""
