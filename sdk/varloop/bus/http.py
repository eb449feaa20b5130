"""Publishes over HTTP: to a Knative Broker's ingress, or anything else that takes CloudEvents in binary mode."""

from __future__ import annotations

from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from varloop.codec import to_http
from varloop.errors import EventError, TemporaryError, UsageError
from varloop.events import Body, Event

__all__ = ["HttpPublisher"]

LATER = (404, 408, 425, 429)
"""statuses, beside 5xx, of a Broker that is not ready yet or has too much to do"""


class HttpPublisher:
    """Posts events to one URL; what is answered with 2xx is the receiver's to keep.

    :param url: ``http(s)://HOST/NAMESPACE/BROKER``, as the Broker's ``status.address.url`` says.
    :param timeout: seconds without an answer.
    :raises UsageError: if this is not the URL of an HTTP server.
    """

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url!r} is not an HTTP URL", hint="http://HOST/NAMESPACE/BROKER")
        self.url = url
        self._timeout = timeout

    def publish(self, *events: Event[Body]) -> None:
        """Publish events, one after the other; on return the receiver has all of them.

        :raises EventError: if the receiver refuses one for good.
        :raises TemporaryError: if it does not answer or cannot take it now.
        """
        for event in events:
            headers, body = to_http(event)
            request = Request(self.url, body, headers, method="POST")
            try:
                with urlopen(request, timeout=self._timeout):
                    pass
            except HTTPError as error:
                with error:
                    raise self._refused(error.code, event) from error
            except (URLError, OSError, HTTPException) as error:
                reason = getattr(error, "reason", error)
                raise TemporaryError(f"{self.url} does not answer: {reason}", run=event.run) from error

    def _refused(self, status: int, event: Event[Body]) -> Exception:
        if status >= 500 or status in LATER:
            return TemporaryError(f"{self.url} answered {status}", run=event.run)
        return EventError(f"{self.url} refuses {event.type}: {status}", run=event.run)
