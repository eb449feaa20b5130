"""A small server: takes CloudEvents from any language, runs them, and streams what happens.

=====  =====================  =================================================================
POST   ``/``                  CloudEvents, binary, structured or batched → 202; 400 with the reason
GET    ``/runs``              where every run stands
GET    ``/runs/ID``           where a run stands
GET    ``/runs/ID/events``    the run's events from its start, as server-sent events, until it ends
=====  =====================  =================================================================

An event that was answered with 202 is dealt with even if this process dies: it lies in the store first.
"""

from __future__ import annotations

import logging
import socket
import threading
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from varloop.app import DEFAULT, Pipelines
from varloop.context import Resources
from varloop.errors import ConflictError, EventError, PermanentError, SpecError, TemporaryError, VarloopError
from varloop.events import Body, Event, RunSubmitted
from varloop.host.embedded import EmbeddedHost
from varloop.host.knative import BAD, LARGE, REFUSED, TOO_LARGE, Answer, later, problem, received
from varloop.host.server.bus import LiveBus
from varloop.journal import list_runs
from varloop.runs import StoredRun, states
from varloop.runs.follow import Follower, News
from varloop.spec import parse
from varloop.store import Store
from varloop.support.clock import Clock
from varloop.support.masking import mask
from varloop.wire.codec import MAX_BYTES

if TYPE_CHECKING:
    from flask import Flask, Response
    from werkzeug.serving import BaseWSGIServer

__all__ = ["Service", "create_ingress", "listen"]

log = logging.getLogger("varloop.host")

LOOK = 0.1
"""seconds between two looks for news of a run that is streamed"""
PAUSE = 1.0
"""seconds to wait after an unexpected error"""
PLACES = "there are POST / for events, and GET /runs, /runs/ID and /runs/ID/events"
QUIET = 15.0
"""seconds without news after which a stream says that it is still there"""


class Service:
    """Runs events on a thread of its own, the runs of its store that have not ended among them."""

    def __init__(self, pipelines: Pipelines, store: Store, clock: Clock) -> None:
        self.pipelines = pipelines
        self.store = store
        self.clock = clock
        self.stopping = threading.Event()
        self._bus = LiveBus(store, clock)
        self._host = EmbeddedHost(pipelines, self.resources(), self._bus)
        self._thread = threading.Thread(target=self._deliver, name="varloop-serve", daemon=True)

    def resources(self) -> Resources:
        """Resources for one thread: they cache, and caches are not shared."""
        return Resources(self.store, self.clock, self.pipelines.types)

    def start(self) -> list[str]:
        """Begin to deliver, with what earlier processes left. Returns the runs that go on.

        :raises StoreUnavailable: if nothing can be written: no event could be accepted.
        """
        probe = f"probe/{uuid.uuid4().hex}"
        self.store.create(probe, b"")
        self.store.delete(probe)
        self._bus.publish(*self._bus.left(self.pipelines.types))
        resumed = [run for run in list_runs(self.store) if self._resume(run)]
        self._thread.start()
        return resumed

    def _resume(self, run: str) -> bool:
        try:
            events = StoredRun(self.resources(), run).pending()
        except VarloopError as error:
            log.warning("not resumed: %s", mask(str(error)))
            return False
        self._bus.publish(*events)
        return bool(events)

    def _deliver(self) -> None:
        """Deliver until the bus is closed, whatever happens meanwhile."""
        while not self.stopping.is_set():
            try:
                self._host.drain()
            except Exception:
                log.exception("a delivery was interrupted and is tried again")
                self._host.put_off(PAUSE)

    def stop(self) -> None:
        """Finish the delivery under way and no other; what is left lies in the store."""
        self.stopping.set()
        self._bus.close()
        if self._thread.is_alive():
            self._thread.join()
        self._host.close()

    def accept(self, event: Event[Body]) -> None:
        """Take an event from outside.

        :raises EventError: if it cannot be accepted.
        :raises SpecError: if it submits a spec with faults.
        """
        if absence := self.pipelines.absence(event.pipeline):
            raise EventError(absence, run=event.run)
        if isinstance(event.data, RunSubmitted):
            event = self._submitted(event)
        self._bus.accept(event)

    def _submitted(self, event: Event[Any]) -> Event[Any]:
        """The submission as it is registered."""
        if event.pipeline == DEFAULT:
            parse(event.data.spec)
        resources = self.resources()
        time = event.time or round(self.clock.now(), 6)
        data, encoded = resources.claims.deposit(event.data)
        event = msgspec.structs.replace(event, data=data, encoded=encoded, time=time)
        resources.register(event)
        return event


def create_ingress(service: Service) -> Flask:
    """The server's Flask application."""
    from flask import Flask, Response, request

    app = Flask("varloop")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES

    @app.post("/")
    def take() -> Response:
        headers = {name.lower(): value for name, value in request.headers}
        events = received(headers, request.get_data(), service.pipelines.types)
        for event in events:
            service.accept(event)
        return _json({"accepted": [{"id": event.id, "run": event.run} for event in events]}, 202)

    @app.get("/runs")
    def list_all() -> Response:
        return _json(states(service.resources()))

    @app.get("/runs/<run>")
    def show(run: str) -> Response:
        return _json(StoredRun(_known(service, run), run).state())

    @app.get("/runs/<run>/events")
    def stream(run: str) -> Response:
        since = request.headers.get("Last-Event-ID", "0")
        follower = Follower(_known(service, run), run, int(since) if since.isdecimal() else 0)
        return Response(_stream(follower, service), headers=STREAM)

    @app.get("/health/<probe>")
    def health(probe: str) -> str:
        return "OK"

    _explain(app)
    return app


STREAM = {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}


def _known(service: Service, run: str) -> Resources:
    """Resources, if there is such a run."""
    from flask import abort

    resources = service.resources()
    try:
        resources.submitted(run)
    except (EventError, PermanentError) as error:
        abort(_response(problem(404, type(error).__name__, mask(str(error)))))
    return resources


def _stream(follower: Follower, service: Service) -> Iterator[bytes]:
    """Server-sent events until the run ends or the server stops. The id of each is its iteration."""
    quiet = 0.0
    while True:
        news = [_message(each) for each in follower.news()]
        yield from news
        if follower.ended or service.stopping.wait(LOOK):
            return
        quiet = 0.0 if news else quiet + LOOK
        if quiet >= QUIET:
            quiet = 0.0
            yield b": still running\n\n"


def _message(news: News) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (news.at, news.kind.encode(), news.data)


def _json(data: Any, status: int = 200) -> Response:
    return _response(Answer(status, {"content-type": "application/json"}, msgspec.json.encode(data)))


def _response(answer: Answer) -> Response:
    from flask import Response

    return Response(answer.body, answer.status, answer.headers)


def _explain(app: Flask) -> None:
    """Errors as problems: what happened and what to do."""
    from flask import request
    from werkzeug.exceptions import HTTPException

    @app.errorhandler(VarloopError)
    def refused(error: VarloopError) -> Response:
        name, detail = type(error).__name__, mask(str(error))
        if isinstance(error, TemporaryError):
            return _response(later(name, detail, error.retry_after))
        status = REFUSED if isinstance(error, ConflictError) else BAD
        faults = {"faults": list(error.faults)} if isinstance(error, SpecError) else {}
        return _response(problem(status, name, detail, **faults))

    @app.errorhandler(TOO_LARGE)
    def too_large(error: Exception) -> Response:
        return _response(LARGE)

    @app.errorhandler(HTTPException)
    def elsewhere(error: HTTPException) -> Any:
        if error.response is not None:  # ours already
            return error.response
        answer = problem(error.code or BAD, error.name, f"{request.method} {request.path}: {PLACES}")
        answer.headers.update((name, value) for name, value in error.get_headers() if name == "Allow")
        return _response(answer)


def listen(service: Service, host: str, port: int) -> BaseWSGIServer:
    """A server that answers on this address; 0 is any free port.

    :raises OSError: if the address cannot be used.
    """
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as bound:  # werkzeug would exit, not raise
        return make_server(host, port, create_ingress(service), threaded=True, fd=bound.fileno())
