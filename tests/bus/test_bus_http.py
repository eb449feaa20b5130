from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from varloop.bus.http import HttpPublisher
from varloop.errors import EventError, TemporaryError, UsageError
from varloop.events import CancelRequested, Event
from varloop.wire.codec import from_http

EVENT = Event(id="1", source="/test", run="r1", data=CancelRequested(reason="enough"), time=1.0)


class Receiver(BaseHTTPRequestHandler):
    """Answers with one status and keeps what it was sent."""

    status: ClassVar[int] = 202
    got: ClassVar[list[tuple[dict[str, str], bytes]]] = []

    protocol_version = "HTTP/1.1"
    ports: ClassVar[set[int]] = set()
    cut: ClassVar[int] = 0
    """requests left unanswered"""

    def do_POST(self) -> None:
        """Take an event."""
        self.ports.add(self.client_address[1])
        self.got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
        if self.cut:
            type(self).cut -= 1
            self.close_connection = True
            return
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """A server that takes events."""
    Receiver.status, Receiver.got[:] = 202, []
    Receiver.ports.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/varloop/varloop"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_event_arrives_as_it_was_sent(url: str) -> None:
    """What is posted is a CloudEvent in binary mode, equal in everything that travels."""
    HttpPublisher(url).publish(EVENT, EVENT)

    assert [from_http(headers, body) for headers, body in Receiver.got] == [EVENT, EVENT]
    assert len(Receiver.ports) == 1


def test_a_user_and_a_password_are_shown_to_the_receiver(url: str) -> None:
    """They are in the URL as it is given, and in no other."""
    publisher = HttpPublisher(url.replace("http://", "http://me:p%40ss@"))
    publisher.publish(EVENT)

    ((headers, _),) = Receiver.got
    assert headers["authorization"] == "Basic bWU6cEBzcw=="
    assert (publisher.url, headers["host"]) == (url, url.split("/")[2])


def test_a_connection_that_was_cut_is_made_again(url: str) -> None:
    """A receiver that hangs up instead of answering, as on its way down, is posted to once more."""
    publisher = HttpPublisher(url)
    publisher.publish(EVENT)
    Receiver.cut = 1
    publisher.publish(EVENT)

    assert len(Receiver.got) == 3
    Receiver.cut = 2
    with pytest.raises(TemporaryError, match="does not answer"):
        publisher.publish(EVENT)


@pytest.mark.parametrize(
    ("status", "error"),
    [(503, TemporaryError), (404, TemporaryError), (429, TemporaryError), (400, EventError)],
)
def test_a_refusal_says_whether_to_try_again(status: int, error: type[Exception], url: str) -> None:
    """A Broker that is not ready is temporary; what it refuses for good is the event's fault."""
    Receiver.status = status

    with pytest.raises(error, match=str(status)):
        HttpPublisher(url).publish(EVENT)


def test_nobody_there_is_temporary() -> None:
    """A server that does not answer may come back."""
    with pytest.raises(TemporaryError, match="does not answer"):
        HttpPublisher("http://127.0.0.1:9/varloop/varloop").publish(EVENT)


def test_only_http_is_taken() -> None:
    """Another scheme is the caller's mistake."""
    with pytest.raises(UsageError, match="not an HTTP URL"):
        HttpPublisher("kafka://host")


def test_a_port_is_a_number() -> None:
    """A port that cannot be is the caller's mistake too, and leaves nothing half made behind."""
    for port in ("port", "99999"):
        with pytest.raises(UsageError, match="not an HTTP URL"):
            HttpPublisher(f"http://host:{port}/")
