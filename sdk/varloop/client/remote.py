"""A client of functions that run elsewhere: publishes to their bus, and follows runs by what is in their store."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any, Protocol

from varloop.bus.http import HttpPublisher
from varloop.client import Client
from varloop.context import Resources
from varloop.errors import UsageError
from varloop.events import Event
from varloop.store import Store, open_store

__all__ = ["Publisher", "RemoteClient", "connect"]


class Publisher(Protocol):
    """The half of a bus that an application needs."""

    def publish(self, *events: Event[Any]) -> None:
        """Publish events; on return they will be delivered."""


class RemoteClient(Client):
    """Submits runs to functions elsewhere. Its runs go on when this process ends."""

    def __init__(self, publisher: Publisher, resources: Resources, **options: Any) -> None:
        super().__init__(resources, **options)
        self._publisher = publisher

    def publish(self, *events: Event[Any]) -> None:
        self._publisher.publish(*events)

    def events(self, run: str) -> Iterator[Event[Any] | None]:
        """The run's recorded events from its beginning, as they are found in the store."""
        return self.recorded(run)


def connect(url: str, store: Store | str | PathLike[str]) -> RemoteClient:
    """A client of functions that run elsewhere.

    :param url: a Knative Broker, ``http(s)://HOST/NAMESPACE/BROKER``, or ``kafka://HOST:PORT/TOPIC``, as
        seen from here.
    :param store: the store that the functions use, or its URL as seen from here.
    :raises UsageError: if there is no bus of this kind.
    """
    place = store if isinstance(store, Store) else open_store(store)
    return RemoteClient(_publisher(url), Resources(place))


def _publisher(url: str) -> Publisher:
    if url.startswith(("http://", "https://")):
        return HttpPublisher(url)
    if url.startswith("kafka://"):
        from varloop.bus.kafka import KafkaBus

        return KafkaBus(url)
    raise UsageError(f"no bus at {url!r}", hint="http://HOST/NAMESPACE/BROKER or kafka://HOST:PORT/TOPIC")
