"""Clients of functions that run elsewhere.

One publishes to their bus and follows runs by what is in their store, the other asks a server for all of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.metadata import entry_points
from os import PathLike
from typing import Any, Protocol, overload

from varloop.bus.http import HttpPublisher
from varloop.client import Client, StoreClient
from varloop.client.server import Server
from varloop.context import Resources
from varloop.errors import UsageError
from varloop.events import BODIES, Event, RunSubmitted
from varloop.runs import History, Iteration, RunState
from varloop.store import Store, open_store
from varloop.support.clock import Clock, SystemClock
from varloop.wire.codec import from_json

__all__ = ["Publisher", "RemoteClient", "ServedClient", "connect"]


log = logging.getLogger("varloop.client")

SILENCE = 15.0
"""seconds without a record of a run after which it is asked whether this is the right store"""

GROUP = "varloop.buses"
"""entry points: kinds of buses by the schemes of their URLs; called with one each gives a :class:`Publisher`"""


class Publisher(Protocol):
    """The half of a bus that an application needs."""

    def publish(self, *events: Event[Any]) -> None:
        """Publish events; on return they will be delivered."""


class RemoteClient(StoreClient):
    """Submits runs to functions elsewhere. Its runs go on when this process ends."""

    def __init__(self, publisher: Publisher, resources: Resources, **options: Any) -> None:
        super().__init__(resources, **options)
        self._publisher = publisher

    def publish(self, *events: Event[Any]) -> None:
        self._publisher.publish(*events)

    def events(self, run: str) -> Iterator[Event[Any] | None]:
        """The run's recorded events from its beginning, as they are found in the store.

        A run of which nothing is found for long is most likely run on another store: that is said once.
        """
        began, silent = self.clock.now(), True
        for event in self.recorded(run):
            if event is None and silent and self.clock.now() - began >= SILENCE:
                place = self.resources.store.url
                text = "run %s: nothing of it is in %s after %g s; does a worker run, and does it use this very store?"
                log.warning(text, run, place, SILENCE, extra={"run": run})
                silent = False
            silent = silent and (event is None or event.type == RunSubmitted.type)
            yield event


class ServedRun:
    """What a server knows about one run.

    :raises UnknownRun: at each question, if there is no such run.
    """

    def __init__(self, server: Server, id: str) -> None:
        self._server = server
        self.id = id

    def pipeline(self) -> str:
        return self.state().pipeline

    def state(self) -> RunState:
        return self._server.state(self.id)

    def ending(self) -> Event[Any] | None:
        return self._server.ending(self.id)

    def history(self) -> History:
        return self._server.history(self.id)

    def find_iteration(self, iteration: int) -> Iteration | None:
        return self._server.find_iteration(self.id, iteration)

    def pending(self) -> list[Event[Any]]:
        """Nothing: a server goes on with its runs by itself."""
        return []


class ServedClient(Client):
    """Submits runs to ``varloop serve`` and asks it about them. Needs no store.

    An event whose body lies in the server's store comes with a reference in its place.
    """

    def __init__(self, server: Server, clock: Clock | None = None, **options: Any) -> None:
        super().__init__(clock or SystemClock(), **options)
        self._server = server

    def begin(self, submitted: Event[Any]) -> None:
        self._server.publish(submitted)

    def publish(self, *events: Event[Any]) -> None:
        for event in events:
            self._server.publish(event)

    def known(self, run: str) -> ServedRun:
        return ServedRun(self._server, run)

    def events(self, run: str) -> Iterator[Event[Any] | None]:
        """The run's recorded events from its beginning, as the server streams them."""
        for told in self._server.stream(run):
            if told is None:
                yield None
            elif told.kind in BODIES:
                yield from_json(told.data)


@overload
def connect(url: str) -> ServedClient: ...


@overload
def connect(url: str, store: Store | str | PathLike[str]) -> RemoteClient: ...


def connect(url: str, store: Store | str | PathLike[str] | None = None) -> Client:
    """A client of functions that run elsewhere.

    :param url: a server (``varloop serve``), ``http(s)://HOST:PORT``; or, with a store, a Knative Broker,
        ``http(s)://HOST/NAMESPACE/BROKER``, ``kafka://HOST:PORT/TOPIC``, or what an installed package offers as entry point
        of ``varloop.buses``, as seen from here. HTTP URLs may have
        ``USER:PASSWORD@``; a server's token is the password or in ``VARLOOP_TOKEN``.
    :param store: the store that the functions use, or its URL as seen from here. A server needs none.
    :raises UsageError: if there is no bus of this kind, or it needs a store.
    """
    if store is None:
        if url.startswith("kafka://"):
            raise UsageError(
                f"a client of {url} needs the store of its functions", hint="connect(url, store)"
            )
        return ServedClient(Server(url))
    place = store if isinstance(store, Store) else open_store(store)
    return RemoteClient(_publisher(url), Resources(place))


def _publisher(url: str) -> Publisher:
    if url.startswith(("http://", "https://")):
        return HttpPublisher(url)
    if url.startswith("kafka://"):
        from varloop.bus.kafka import KafkaBus

        return KafkaBus(url)
    for point in entry_points(group=GROUP, name=url.partition(":")[0]):
        publisher: Publisher = point.load()(url)
        return publisher
    raise UsageError(f"no bus at {url!r}", hint="http://HOST/NAMESPACE/BROKER or kafka://HOST:PORT/TOPIC")
