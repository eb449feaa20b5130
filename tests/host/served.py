"""A server over HTTP, as tests talk to it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import toy
from varloop.app import App
from varloop.events import Event
from varloop.host import load_pipelines
from varloop.host.server.gate import Gate
from varloop.host.server.http import HttpServer
from varloop.host.server.service import TURN, Service
from varloop.store import Store
from varloop.support.clock import SystemClock
from varloop.wire.codec import BATCH, STRUCTURED, to_json

__all__ = ["Server", "serving"]


class Server:
    """A server under test and what a client in any language does with it."""

    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self.port = port

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        """Status and JSON of an answer; header names with - for _."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(
            method, path, body, {name.replace("_", "-"): text for name, text in headers.items()}
        )
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, json.loads(data)

    def stream(self, run: str, **headers: str) -> Iterator[tuple[str, Any]]:
        """(event, data) of a run's stream until the server ends it."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("GET", f"/runs/{run}/events", headers=headers)
            with connection.getresponse() as answer:
                assert answer.headers["content-type"] == "text/event-stream"
                kind = ""
                for line in answer:
                    field, _, value = line.decode().rstrip("\n").partition(": ")
                    if field == "event":
                        kind = value
                    if field == "data":
                        yield kind, json.loads(value)

    def post(self, *events: Event[Any], **headers: str) -> tuple[int, Any]:
        """Post events, several as a batch."""
        body = b"[" + b",".join(map(to_json, events)) + b"]" if len(events) > 1 else to_json(events[0])
        return self.request(
            "POST", "/", body, content_type=BATCH if len(events) > 1 else STRUCTURED, **headers
        )

    def submit(self, run: str, spec: dict[str, Any] = toy.SPEC) -> tuple[int, Any]:
        """Submit to the toy pipeline in binary mode."""
        return self.request(
            "POST",
            "/",
            json.dumps({"spec": spec}).encode(),
            content_type="application/json",
            ce_specversion="1.0",
            ce_type="dev.varloop.run.submitted",
            ce_source="test",
            ce_id=run,
            ce_pipeline="toy",
        )


@contextmanager
def serving(
    store: Store,
    gate: Gate = Gate(),  # noqa: B008
    app: App = toy.app,
    turn: float = TURN,
    port: int = 0,
) -> Iterator[Server]:
    """A server on a port of this machine, a free one by default."""
    service = Service(load_pipelines([app]), store, SystemClock(), turn)
    server = HttpServer(service, "127.0.0.1", port, gate)
    service.start()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield Server(service, server.port)
    finally:
        service.stopping.set()
        server.stop()
        thread.join()
        service.stop()
