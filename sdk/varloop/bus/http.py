"""Publishes over HTTP: to a Knative Broker's ingress, or anything else that takes CloudEvents in binary mode."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException

from varloop.errors import EventError, TemporaryError, UsageError
from varloop.events import Body, Event
from varloop.support.connections import Connections, address, authorization, endpoint
from varloop.wire.codec import to_http

__all__ = ["HttpPublisher"]

LATER = (404, 408, 425, 429)
"""statuses, beside 5xx, of a Broker that is not ready yet or has too much to do"""


class HttpPublisher:
    """Posts events to one URL, over connections that are kept; what is answered with 2xx is the receiver's to keep.

    :param url: ``http(s)://[USER:PASSWORD@]HOST/NAMESPACE/BROKER``, as the Broker's ``status.address.url`` says.
    :param timeout: seconds without an answer.
    :raises UsageError: if this is not the URL of an HTTP server.
    """

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        parts = endpoint(url)
        if parts is None:
            raise UsageError(f"{url!r} is not an HTTP URL", hint="http://HOST/NAMESPACE/BROKER")
        self.url = address(parts)
        self._headers = {"host": parts.netloc.rpartition("@")[2], **authorization(parts)}
        self._path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        self._connections = Connections(parts, None, (timeout, timeout))

    def publish(self, *events: Event[Body]) -> None:
        """Publish events, one after the other; on return the receiver has all of them.

        :raises EventError: if the receiver refuses one for good.
        :raises TemporaryError: if it does not answer or cannot take it now.
        """
        for event in events:
            self.post(*to_http(event), run=event.run)

    def post(self, headers: Mapping[str, str], body: bytes, run: str = "") -> None:
        """Post a message as it is; on return the receiver has it.

        :param run: the run it belongs to, if one is known.
        :raises EventError: if the receiver refuses it for good.
        :raises TemporaryError: if it does not answer or cannot take it now.
        """
        sent = {**headers, **self._headers, "content-length": str(len(body))}
        try:
            status, _ = self._post(sent, body)
        except (OSError, HTTPException) as error:
            raise TemporaryError(f"{self.url} does not answer: {error}", run=run) from error
        if status >= 500 or status in LATER:
            raise TemporaryError(f"{self.url} answered {status}", run=run)
        if not 200 <= status < 300:
            kind = headers.get("ce-type", "an event without a type")
            raise EventError(f"{self.url} refuses {kind}: {status}", run=run)

    def _post(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Post an event; once more where a connection was cut, as kept ones are when the receiver restarts."""
        try:
            return self._connections.send("POST", self._path, headers, body)
        except TimeoutError:
            raise
        except (OSError, HTTPException):
            self._connections.close()
            return self._connections.send("POST", self._path, headers, body)
