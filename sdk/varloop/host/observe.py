"""What becomes of deliveries, told as it happens: for tests, timelines and traces, the same in every host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from varloop.events import Event
from varloop.journal import Call

if TYPE_CHECKING:
    from varloop.app import Function

__all__ = ["Observer"]


class Observer:
    """Override what you want to know. Called by the thread that delivers; each event is received, and then comes
    to one of ``published``, ``dropped``, ``retried`` and ``dead``, unless the process dies.
    """

    def received(self, event: Event[Any], attempt: int) -> None:
        """An event was delivered."""

    def calling(self, function: Function, event: Event[Any]) -> None:
        """A function is about to be called."""

    def called(self, call: Call, event: Event[Any]) -> None:
        """A function came back, whatever came of it."""

    def recorded(self, event: Event[Any], outcome: tuple[Event[Any], ...]) -> None:
        """The outcome is in the journal or, a pure function's, calculated; nothing is published yet."""

    def published(self, event: Event[Any]) -> None:
        """The outcome is published: the event is dealt with."""

    def dropped(self, event: Event[Any]) -> None:
        """The event is a duplicate, nobody's, or its run has ended."""

    def retried(self, event: Event[Any], reason: str, delay: float) -> None:
        """The event is to be delivered again after some seconds."""

    def dead(self, event: Event[Any], reason: str) -> None:
        """The event goes to the dead letters."""
