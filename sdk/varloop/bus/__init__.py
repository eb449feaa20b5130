"""Buses: publish events and deliver each to every group at least once, in no promised order.

A bus never decides what an event means; it moves them, waits as told, and keeps dead letters.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec

from varloop.events import Body, Event

__all__ = ["Bus", "Consumer", "DeadLetter", "Delivery", "Letter"]


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An event that could not be accepted, and why."""

    reason: str
    function: str = ""
    attempt: int = 1
    error: str = ""
    """class of the error"""
    event: Event[Body] | None = None
    """None if the bytes could not be decoded"""
    raw: bytes = b""


class Letter(DeadLetter, frozen=True, kw_only=True):
    """A dead letter that lies somewhere, to be looked at and replayed."""

    id: str
    """where it lies"""
    time: float = 0.0
    """when it was given up, seconds since the epoch; 0 if nobody noted it"""
    trace: str = ""
    """its W3C ``traceparent``"""
    headers: tuple[tuple[str, bytes], ...] = ()
    """of its message, as they came"""
    size: int = 0
    """bytes of its value"""
    sha256: str = ""
    """of a value that was too large to be kept, in hexadecimal; ``raw`` is empty then"""


class Delivery(Protocol):
    """One attempt to hand an event to a group. Exactly one of its verbs must be called."""

    event: Event[Body]
    attempt: int
    """starts at 1"""

    def ack(self) -> None:
        """The event is dealt with; do not deliver it again."""

    def retry(self, delay: float) -> None:
        """Deliver again after this many seconds; other events are not held up."""

    def dead(self, reason: str, error: str = "") -> None:
        """Put it into the dead letters; do not deliver it again."""


class Consumer(Protocol):
    """One member of a group."""

    def poll(self, timeout: float) -> Delivery | None:
        """The next delivery, waiting at most ``timeout`` seconds for one."""

    def close(self) -> None:
        """Leave the group; what was not acknowledged goes to another member."""


class Bus(Protocol):
    """Publishes and delivers."""

    def publish(self, *events: Event[Body]) -> None:
        """Publish events; on return they will be delivered at least once, whatever happens here."""

    def consumer(self, group: str, types: Collection[str]) -> Consumer:
        """Join a group that gets every event of these types published from now on."""

    def close(self) -> None:
        """Release connections."""
