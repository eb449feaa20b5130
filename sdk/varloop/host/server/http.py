"""The HTTP interface of a server: takes CloudEvents from any language and streams what happens.

=====  =====================  =================================================================
POST   ``/``                  CloudEvents, binary, structured or batched → 202; 400 with the reason
GET    ``/runs``              where the newest runs stand
GET    ``/runs/ID``           where a run stands
GET    ``/runs/ID/history``   its finished iterations; one of them under ``/N``
GET    ``/runs/ID/end``       the event that ended it; 204 while there is none
GET    ``/runs/ID/events``    the run's events from its start, as server-sent events, until it ends
=====  =====================  =================================================================
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from varloop.context import Resources
from varloop.errors import ConflictError, EventError, PermanentError, SpecError, TemporaryError, VarloopError
from varloop.host.knative import BAD, REFUSED, Answer, problem, received, retry_later
from varloop.host.server.gate import Gate
from varloop.host.server.service import Service
from varloop.runs import StoredRun
from varloop.runs.follow import Follower, News
from varloop.runs.listing import PAGE, states
from varloop.support.masking import mask
from varloop.wire.codec import MAX_BYTES, STRUCTURED, to_json

if TYPE_CHECKING:
    from flask import Flask, Response
    from waitress.server import BaseWSGIServer

__all__ = ["HttpServer", "create_ingress"]

LOOK = 0.1
"""seconds between two looks for news of a run that is streamed"""
QUIET = 2.0
"""seconds without news after which a stream says that it is still there"""
STREAMS, OTHERS = 48, 16
"""streams at a time, each of which holds a thread, and other requests"""
IDLE = 20
"""seconds after which a connection is closed whose request does not come, or does not go on"""
CONNECTIONS = 500
FAULTS = 10
"""faults of a spec that an answer lists; of more it tells the number"""
PLACES = "there are POST / for events, and GET /runs, /runs/ID, /runs/ID/history and /runs/ID/events"
END = "end"
"""id of a stream's last event: whoever comes again with it has seen all"""


def create_ingress(service: Service, gate: Gate) -> Flask:
    """The server's Flask application."""
    from flask import Flask, request

    app = Flask("varloop")

    @app.post("/")
    def take() -> Response:
        headers = {name.lower(): value for name, value in request.headers}
        events = received(headers, request.get_data(), service.pipelines.types)
        service.accept(*events)
        return _json({"accepted": [{"id": event.id, "run": event.run} for event in events]}, 202)

    @app.get("/health/<probe>")
    def health(probe: str) -> str:
        return "OK"

    _tell(app, service)
    _stream_runs(app, service)
    _guard(app, gate)
    _explain(app)
    return app


def _tell(app: Flask, service: Service) -> None:
    """Where runs stand."""
    from flask import Response, request

    @app.get("/runs")
    def list_all() -> Response:
        limit = request.args.get("limit", PAGE, type=int)
        wanted = {name: request.args.get(name, "") for name in ("state", "before")}
        return _json(states(service.resources, limit=max(0, limit), **wanted))

    @app.get("/runs/<run>")
    def show(run: str) -> Response:
        return _json(_run(service, run).state())

    @app.get("/runs/<run>/history")
    def history(run: str) -> Response:
        return _json(_run(service, run).history())

    @app.get("/runs/<run>/history/<int:iteration>")
    def finished(run: str, iteration: int) -> Response:
        return _json(_run(service, run).find_iteration(iteration))

    @app.get("/runs/<run>/end")
    def end(run: str) -> Response:
        event = _run(service, run).ending()
        if event is None:
            return Response(status=204)
        return _response(Answer(200, {"content-type": STRUCTURED}, to_json(event)))


def _stream_runs(app: Flask, service: Service) -> None:
    """What happens in runs."""
    from flask import Response, request

    streams = threading.BoundedSemaphore(STREAMS)

    @app.get("/runs/<run>/events")
    def stream(run: str) -> Response:
        resources = _known(service, run)
        last = request.headers.get("Last-Event-ID", "")
        if last == END:
            return Response(status=204)  # what makes an EventSource stop asking
        if not streams.acquire(blocking=False):
            return _response(
                retry_later("TemporaryError", f"{STREAMS} streams are open, no more are served", 5.0)
            )
        follower = Follower(resources, run, _iteration(last))
        response = Response(_stream(follower, service), headers=STREAM)
        response.call_on_close(streams.release)
        return response


STREAM = {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}


def _guard(app: Flask, gate: Gate) -> None:
    """Let in who may enter, and let browsers show the answers to pages that are trusted."""
    from flask import request

    @app.before_request
    def enter() -> Response | None:
        if request.path.startswith("/health/"):
            return None
        token = None if request.method == "OPTIONS" else _token()  # a browser's question shows none
        refused = gate.refusal(request.headers.get("Host", ""), request.headers.get("Origin", ""), token)
        return None if refused is None else _response(refused)

    @app.after_request
    def share(response: Response) -> Response:
        origin = request.headers.get("Origin", "")
        if origin and gate.trusts(origin):
            response.headers["access-control-allow-origin"] = origin
            response.headers["access-control-allow-headers"] = request.headers.get(
                "Access-Control-Request-Headers", ""
            )
            response.vary.add("Origin")
        return response


def _token() -> str:
    """What the request shows: a bearer's token or a password."""
    from flask import request

    match request.authorization:
        case None:
            return ""
        case shown if shown.type == "bearer":
            return shown.token or ""
        case shown:
            return shown.password or "" if shown.type == "basic" else ""


def _known(service: Service, run: str) -> Resources:
    """Resources, if there is such a run."""
    from flask import abort

    resources = service.resources
    try:
        resources.submitted(run)
    except (EventError, PermanentError) as error:
        abort(_response(problem(404, type(error).__name__, mask(str(error)))))
    return resources


def _run(service: Service, run: str) -> StoredRun:
    """A run, if there is such a one."""
    return StoredRun(_known(service, run), run)


def _iteration(last: str) -> int:
    """The iteration that an event's id names; the start if it names none."""
    return int(last) if last.isdecimal() and len(last) < 10 else 0


def _stream(follower: Follower, service: Service) -> Iterator[bytes]:
    """Server-sent events until the run ends or the server stops. The id of each is its iteration."""
    quiet = 0.0
    while True:
        for news in follower.news():
            quiet = 0.0
            yield _message(news, follower.ended)
        if follower.ended or service.stopping.wait(LOOK):
            return
        quiet += LOOK
        if quiet >= QUIET:
            quiet = 0.0
            yield b": still running\n\n"


def _message(news: News, last: bool) -> bytes:
    id = END if last else str(news.at)
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (id.encode(), news.kind.encode(), news.data)


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
            return _response(retry_later(name, detail, error.retry_after))
        if isinstance(error, SpecError):
            return _response(_faulty(error))
        return _response(problem(REFUSED if isinstance(error, ConflictError) else BAD, name, detail))

    @app.errorhandler(HTTPException)
    def elsewhere(error: HTTPException) -> Any:
        if error.response is not None:  # ours already
            return error.response
        answer = problem(error.code or BAD, error.name, mask(f"{request.method} {request.path}: {PLACES}"))
        answer.headers.update((name, value) for name, value in error.get_headers() if name == "Allow")
        return _response(answer)


def _faulty(error: SpecError) -> Answer:
    """The first faults of a spec and their number."""
    faults = [mask(fault)[:500] for fault in error.faults[:FAULTS]]
    if (more := len(error.faults) - len(faults)) > 0:
        faults.append(f"and {more} more")
    count = "1 fault" if len(error.faults) == 1 else f"{len(error.faults)} faults"
    return problem(BAD, type(error).__name__, f"the spec has {count}", faults=faults)


class HttpServer:
    """Answers on an address; 0 is any free port.

    Requests are read beside each other whatever their senders do, and are dealt with on threads.

    :raises OSError: if the address cannot be used.
    """

    def __init__(self, service: Service, host: str, port: int, gate: Gate = Gate()) -> None:  # noqa: B008
        from waitress.server import create_server

        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._sockets: dict[int, Any] = {}
        self._stopping, self._waking = threading.Event(), threading.Lock()
        self._server: BaseWSGIServer = create_server(
            create_ingress(service, gate),
            map=self._sockets,
            sockets=[socket.create_server((host, port), family=family)],
            threads=STREAMS + OTHERS,
            ident=None,
            max_request_body_size=MAX_BYTES + 1,
            channel_timeout=IDLE,
            cleanup_interval=1,
            connection_limit=CONNECTIONS,
            asyncore_use_poll=True,
        )
        self.port = int(self._server.effective_port)

    def serve(self) -> None:
        """Answer until told to stop."""
        from waitress.wasyncore import loop

        while not self._stopping.is_set():
            loop(timeout=1.0, use_poll=True, map=self._sockets, count=1)
        self._server.task_dispatcher.shutdown()
        with self._waking:  # what wakes the loop is closed too
            pass
        for each in list(self._sockets.values()):
            each.close()

    def stop(self) -> None:
        """Let :meth:`serve` end. For another thread."""
        with self._waking:
            self._stopping.set()
            self._server.pull_trigger()
