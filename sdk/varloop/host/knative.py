"""The HTTP host: one function behind CloudEvents over HTTP, as Knative delivers and expects them.

What a function emits goes back in the response or, where there is a sink, is posted to that: a reply's way to the
next function is longer, it passes all the proxies that the event came through, and Brokers may count replies and drop
an event after too many. Status codes are Knative's contract: 2xx is done; 408, 409, 429 and 5xx are delivered again;
any other 4xx goes to the dead letter sink.

It speaks ASGI itself: what a web framework and a bridge to it add to every event is more than the rest of a warm step.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from varloop.app import App, Pipelines
from varloop.context import Resources
from varloop.errors import SchemaError, UsageError, VarloopError
from varloop.events import Body, CancelRequested, Event
from varloop.host.invoke import Invoker, Outcome, Verdict
from varloop.quantum.sandbox import Sandbox
from varloop.settings import Settings
from varloop.store import open_store
from varloop.support.masking import mask
from varloop.wire.codec import (
    BATCH,
    MAX_BYTES,
    Types,
    batch_from_json,
    batch_to_json,
    from_http,
    from_json,
    to_http,
)

if TYPE_CHECKING:
    from varloop.bus.http import HttpPublisher
    from varloop.quantum.circuits import Load

__all__ = ["Answer", "FunctionHost", "problem", "received", "retry_later", "serve_function"]

log = logging.getLogger("varloop.host")

SETTINGS = Settings(patience=20.0)
"""longer than the next function takes to start, or duplicates breed while it does"""

THREADS = 4
"""requests dealt with at a time; probes are answered beside them"""

LOOK = 1.0
"""seconds between two looks at the calls under way"""

BAD, ABSENT, NO_POST, TOO_LARGE, REFUSED, BUSY = 400, 404, 405, 413, 422, 503


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes


DONE = Answer(204, {}, b"")


def problem(status: int, error: str, detail: str, **more: Any) -> Answer:
    """An RFC 9457 problem.

    :param more: further members.
    """
    body = json.dumps({"status": status, "title": error, "detail": detail, **more})
    return Answer(status, {"content-type": "application/problem+json"}, body.encode())


def retry_later(error: str, detail: str, delay: float) -> Answer:
    """The problem that is none any more after ``delay`` seconds."""
    answer = problem(BUSY, error, detail)
    answer.headers["retry-after"] = str(max(1, round(delay)))
    return answer


LARGE = problem(
    TOO_LARGE, "SchemaError", f"the event is larger than {MAX_BYTES} bytes (put large data into the store)"
)


def received(headers: Mapping[str, str], body: bytes, types: Types) -> list[Event[Body]]:
    """The events of a request, in binary, structured or batched mode.

    :param headers: with lower-case names.
    :raises SchemaError: if one of them cannot be read.
    """
    if _is_batch(headers):
        return [from_json(raw, types) for raw in batch_from_json(body)]
    return [from_http(headers, body, types)]


def _is_batch(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == BATCH


class Receiver:
    """Turns a request with events into a function's answer. For all threads.

    :param types: bodies it can read, by CloudEvents type.
    :param sink: where events go; without one they are the reply, which carries one.
    """

    def __init__(self, invoker: Invoker, types: Types, sink: HttpPublisher | None = None) -> None:
        self._invoker = invoker
        self._types = types
        self._sink = sink
        self._turn = threading.Lock()

    @property
    def well(self) -> bool:
        """Whether there are threads left for what comes."""
        return self._invoker.given_up < min(self._invoker.settings.given_up, THREADS)

    def oversee(self) -> None:
        """Fail the runs of calls that take too long, and give others their turn."""
        for event, outcome in self._invoker.oversee():
            self._turn = threading.Lock()
            if self._sink is None or _publish(self._sink, outcome.events):
                log.error("event %s: the end of its run comes when it is delivered again", event.id)

    def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Deal with a request."""
        try:
            events = received(headers, body, self._types)
        except SchemaError as error:
            return problem(BAD, type(error).__name__, mask(str(error)))
        outcomes = [self._outcome(event) for event in events]
        if failure := _worst(outcomes):
            return failure
        emitted = [event for outcome in outcomes for event in outcome.events]
        if self._sink is None:
            return _reply(emitted, _is_batch(headers))
        if refused := _publish(self._sink, emitted):
            for event in events:
                self._invoker.unpublished(event)
            return refused
        for event in events:
            self._invoker.confirm(event)
        return DONE

    def _outcome(self, event: Event[Body]) -> Outcome:
        """What comes of an event. A request to cancel does not wait until the call is over which it shall end."""
        if isinstance(event.data, CancelRequested):
            return self._invoker.invoke(event)
        with self._turn:
            return self._invoker.invoke(event)


def _worst(outcomes: Iterable[Outcome]) -> Answer | None:
    """The answer to a delivery that is not done: later beats never, so that nothing is lost."""
    by_verdict = {outcome.verdict: outcome for outcome in outcomes}
    if retry := by_verdict.get(Verdict.RETRY):
        return retry_later(retry.error, retry.reason, retry.delay)
    if dead := by_verdict.get(Verdict.DEAD):
        return problem(REFUSED, dead.error, dead.reason)
    return None


def _publish(sink: HttpPublisher, events: Iterable[Event[Body]]) -> Answer | None:
    """The answer if the sink does not take every event: the delivery is not done then, whatever the sink says."""
    try:
        sink.publish(*events)
    except VarloopError as error:
        log.warning("%s", mask(str(error)))
        return problem(BUSY, type(error).__name__, mask(str(error)))
    return None


def _reply(events: list[Event[Body]], batch: bool) -> Answer:
    """The reply event; several only to a sender of batches."""
    if not events:
        return DONE
    if batch:
        return Answer(200, {"content-type": BATCH}, batch_to_json(events))
    if len(events) > 1:
        return problem(500, "UsageError", "the function emitted several events; an HTTP reply carries one")
    return Answer(200, *to_http(events[0]))


Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class FunctionHost:
    """An instance of a function under Knative's func runtime (``new()`` returns it)."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._threads = ThreadPoolExecutor(THREADS, "varloop-request")
        self._stopping = threading.Event()
        threading.Thread(target=self._oversee, name="varloop-overseer", daemon=True).start()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        status, headers, body = await self._answer(scope, receive)
        headers = headers | {"content-length": str(len(body))} if status != DONE.status else headers
        named = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": named})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if scope["path"] != "/":
            return problem(ABSENT, "UsageError", "events are posted to /")
        if scope["method"] != "POST":
            return problem(NO_POST, "UsageError", "events are posted")
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        if (body := await _body(headers, receive)) is None:
            return LARGE
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._receiver.answer, headers, body)

    def alive(self) -> tuple[bool, str]:
        """Liveness."""
        return self._receiver.well, "alive" if self._receiver.well else "its calls do not come back"

    def ready(self) -> tuple[bool, str]:
        """Readiness."""
        return True, "ready"

    def stop(self) -> None:
        """Finish what is under way."""
        self._stopping.set()
        self._threads.shutdown()

    def _oversee(self) -> None:
        while not self._stopping.wait(LOOK):
            self._receiver.oversee()


async def _body(headers: Mapping[str, str], receive: Receive) -> bytes | None:
    """A request's body, or None if it is too large: by its length alone, or as soon as it is."""
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_BYTES:
        return None
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BYTES:
            return None
    return bytes(body)


def serve_function(*apps: App, store: str = "", load: Load | None = None) -> FunctionHost:
    """Host functions under Knative's func runtime. ``K_SINK``, which a SinkBinding sets, is the sink.

    :param store: URL of the store; by default the environment's ``VARLOOP_STORE``.
    :param load: reads the circuits of specs; by default a sandbox that starts with the first of them.
    """
    url = store or os.environ.get("VARLOOP_STORE", "")
    if not url:
        raise UsageError(
            "VARLOOP_STORE is not set", hint="set it to the URL of the store the functions share"
        )
    logging.getLogger("qiskit").setLevel(logging.WARNING)  # func's runtime logs everything at INFO
    pipelines = Pipelines(apps)
    resources = Resources(open_store(url), types=pipelines.types, load=load or Sandbox().load)
    invoker = Invoker(pipelines, resources, host=os.environ.get("HOSTNAME", "http"), settings=SETTINGS)
    return FunctionHost(Receiver(invoker, pipelines.types, _sink(os.environ.get("K_SINK", ""))))


def _sink(url: str) -> HttpPublisher | None:
    if not url:
        return None
    from varloop.bus.http import HttpPublisher

    return HttpPublisher(url)
