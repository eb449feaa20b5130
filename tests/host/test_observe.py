"""The observer is told what becomes of every delivery, by the invoker alone, whatever the host."""

from __future__ import annotations

from typing import Any

from core.toys import Toy, cancellation, invoker, submission
from varloop.app import Function
from varloop.errors import TemporaryError
from varloop.events import Event
from varloop.host.observe import Observer
from varloop.journal import Call


class Told(Observer):
    """Writes down all it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def received(self, event: Event[Any], attempt: int) -> None:
        """As it says."""
        self.told.append(("received", str(attempt)))

    def calling(self, function: Function, event: Event[Any]) -> None:
        """As it says."""
        self.told.append(("calling", function.name))

    def called(self, call: Call, event: Event[Any]) -> None:
        """As it says."""
        self.told.append(("called", call.function))

    def recorded(self, event: Event[Any], outcome: tuple[Event[Any], ...]) -> None:
        """As it says."""
        self.told.append(("recorded", *(each.type.rpartition(".")[2] for each in outcome)))

    def published(self, event: Event[Any]) -> None:
        """As it says."""
        self.told.append(("published",))

    def dropped(self, event: Event[Any]) -> None:
        """As it says."""
        self.told.append(("dropped",))

    def retried(self, event: Event[Any], reason: str, delay: float) -> None:
        """As it says."""
        self.told.append(("retried", reason, f"{delay:g}"))

    def dead(self, event: Event[Any], reason: str) -> None:
        """As it says."""
        self.told.append(("dead", reason.partition(":")[0]))


def test_a_delivery_is_told_from_its_beginning_to_its_end() -> None:
    """Received, called, recorded, published; a duplicate is dropped or answered again without a call."""
    told = Told()
    host = invoker(Toy().app, observer=told)
    (encoded,) = host.invoke(submission()).events
    host.confirm(submission())
    host.invoke(encoded)
    told.told.append(("again",))
    host.invoke(submission(), 2)

    assert told.told == [
        *[
            ("received", "1"),
            ("calling", "encode"),
            ("called", "encode"),
            ("recorded", "encoded"),
            ("published",),
        ],
        *[("received", "1"), ("calling", "execute"), ("called", "execute"), ("recorded", "executed")],
        *[("again",), ("received", "2"), ("dropped",)],
    ]


def test_what_goes_wrong_is_told_with_its_reason() -> None:
    """A retry with its delay, a dead letter with its reason, a dropped event of nobody's."""

    def before(name: str, event: Event[Any]) -> None:
        raise TemporaryError("busy", retry_after=7.0)

    told = Told()
    host = invoker(Toy(before=before).app, observer=told)
    host.invoke(submission())
    host.invoke(submission(start=5.0))
    invoker(observer=told).invoke(cancellation())

    assert told.told == [
        *[("received", "1"), ("calling", "encode"), ("retried", "busy", "7")],
        *[("received", "1"), ("dead", "run r")],
        *[("received", "1"), ("dropped",)],
    ]
