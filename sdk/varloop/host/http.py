"""The HTTP host: one function behind CloudEvents over HTTP, as Knative delivers and expects them.

A reply event goes back in the response. Brokers may count replies and drop an event after too many; where there is a
sink, several events, and those of every tenth iteration, are posted there instead. Status codes are Knative's contract: 2xx is done; 408, 409, 429 and 5xx are delivered again; any other
4xx goes to the dead letter sink.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from varloop.app import App, Pipelines
from varloop.codec import (
    BATCH,
    MAX_BYTES,
    Types,
    batch_from_json,
    batch_to_json,
    from_http,
    from_json,
    to_http,
)
from varloop.context import Resources
from varloop.errors import SchemaError, UsageError, VarloopError
from varloop.events import Body, Event
from varloop.host.invoke import Invoker, Outcome, Verdict
from varloop.secrets import mask
from varloop.store import open_store

if TYPE_CHECKING:
    from flask import Flask, Request, Response

    from varloop.bus.http import HttpPublisher

__all__ = ["FunctionHost", "create_app", "serve_function"]

log = logging.getLogger("varloop.host")

PATIENCE = 20.0
"""see :class:`Invoker`; longer than the next function takes to start, or duplicates breed while it does"""

STRIDE = 10
"""iterations from one that is posted to the next; a Broker that counts allows 255 replies, an iteration takes three"""

NO_CONTENT, BAD, TOO_LARGE, REFUSED, BUSY = 204, 400, 413, 422, 503


def create_app(invoker: Invoker, types: Types, sink: HttpPublisher | None = None) -> Flask:
    """The Flask application of a function.

    :param types: bodies it can read, by CloudEvents type.
    :param sink: where events go that a reply cannot carry, or should not; without one all of them are the reply.
    """
    from flask import Flask, Response, request

    app = Flask("varloop")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES
    turn = threading.Lock()

    @app.post("/")
    def receive() -> Response:
        try:
            events = received(request, types)
        except SchemaError as error:
            return problem(BAD, type(error).__name__, mask(str(error)))
        with turn:
            outcomes = [invoker.invoke(event) for event in events]
        if failure := _worst(outcomes):
            return failure
        emitted = [event for outcome in outcomes for event in outcome.events]
        if sink is None or not _wants_sink(emitted):
            return _reply(emitted, request)
        if refused := _publish(sink, emitted):
            return refused
        with turn:
            for event in events:
                invoker.confirm(event)
        return Response(status=NO_CONTENT)

    @app.get("/health/<probe>")
    def health(probe: str) -> str:
        return "OK"

    @app.errorhandler(TOO_LARGE)
    def too_large(error: Exception) -> Response:
        return problem(
            TOO_LARGE,
            "SchemaError",
            f"the event is larger than {MAX_BYTES} bytes (put large data into the store)",
        )

    return app


def received(request: Request, types: Types) -> list[Event[Body]]:
    """The events of a request, in binary, structured or batched mode.

    :raises SchemaError: if one of them cannot be read.
    """
    headers, body = dict(request.headers), request.get_data()
    if request.mimetype == BATCH:
        return [from_json(raw, types) for raw in batch_from_json(body)]
    return [from_http(headers, body, types)]


def _worst(outcomes: Iterable[Outcome]) -> Response | None:
    """The answer to a delivery that is not done: later beats never, so that nothing is lost."""
    by_verdict = {outcome.verdict: outcome for outcome in outcomes}
    if retry := by_verdict.get(Verdict.RETRY):
        response = problem(BUSY, retry.error, retry.reason)
        response.headers["Retry-After"] = str(max(1, round(retry.delay)))
        return response
    if dead := by_verdict.get(Verdict.DEAD):
        return problem(REFUSED, dead.error, dead.reason)
    return None


def _wants_sink(events: Collection[Event[Body]]) -> bool:
    return len(events) > 1 or any(event.iteration % STRIDE == 0 for event in events)


def _publish(sink: HttpPublisher, events: Iterable[Event[Body]]) -> Response | None:
    """The answer if the sink does not take every event: the delivery is not done then, whatever the sink says."""
    try:
        sink.publish(*events)
    except VarloopError as error:
        log.warning("%s", mask(str(error)))
        return problem(BUSY, type(error).__name__, mask(str(error)))
    return None


def _reply(events: list[Event[Body]], request: Any) -> Response:
    """The reply event; several only to a sender of batches."""
    from flask import Response

    if not events:
        return Response(status=NO_CONTENT)
    if request.mimetype == BATCH:
        return Response(batch_to_json(events), status=200, content_type=BATCH)
    if len(events) > 1:
        return problem(500, "UsageError", "the function emitted several events; an HTTP reply carries one")
    headers, body = to_http(events[0])
    return Response(body, status=200, headers=headers)


def problem(status: int, error: str, detail: str, **more: Any) -> Response:
    """An RFC 9457 problem.

    :param more: further members.
    """
    from flask import Response, json

    body = json.dumps({"status": status, "title": error, "detail": detail, **more})
    return Response(body, status=status, content_type="application/problem+json")


Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class FunctionHost:
    """An instance of a function under Knative's func runtime (``new()`` returns it)."""

    def __init__(self, app: Flask) -> None:
        from a2wsgi import WSGIMiddleware

        def bounded(environ: dict[str, Any], start_response: Any) -> Any:
            environ["wsgi.input_terminated"] = True  # a body without a length ends where it ends
            return app.wsgi_app(environ, start_response)

        self._asgi = WSGIMiddleware(bounded, workers=4)  # type: ignore[arg-type]

    async def handle(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        await self._asgi(scope, receive, send)  # type: ignore[arg-type]

    def alive(self) -> tuple[bool, str]:
        """Liveness."""
        return True, "alive"

    def ready(self) -> tuple[bool, str]:
        """Readiness."""
        return True, "ready"

    def stop(self) -> None:
        """Finish what is under way."""
        self._asgi.executor.shutdown()


def serve_function(*apps: App, store: str = "") -> FunctionHost:
    """Host functions under Knative's func runtime. ``K_SINK``, which a SinkBinding sets, is the sink.

    :param store: URL of the store; by default the environment's ``VARLOOP_STORE``.
    """
    url = store or os.environ.get("VARLOOP_STORE", "")
    if not url:
        raise UsageError(
            "VARLOOP_STORE is not set", hint="set it to the URL of the store the functions share"
        )
    logging.getLogger("qiskit").setLevel(logging.WARNING)  # func's runtime logs everything at INFO
    pipelines = Pipelines(apps)
    resources = Resources(open_store(url), types=pipelines.types)
    invoker = Invoker(pipelines, resources, host=os.environ.get("HOSTNAME", "http"), patience=PATIENCE)
    return FunctionHost(create_app(invoker, pipelines.types, _sink(os.environ.get("K_SINK", ""))))


def _sink(url: str) -> HttpPublisher | None:
    if not url:
        return None
    from varloop.bus.http import HttpPublisher

    return HttpPublisher(url)
