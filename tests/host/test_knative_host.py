from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from flask import Flask
from werkzeug.serving import make_server

from core.toys import Toy, cancellation, submission
from core.wires import http as headers_of
from core.wires import structured
from varloop.app import App, Pipelines
from varloop.bus.http import HttpPublisher
from varloop.context import Context, Resources
from varloop.errors import EventError, PermanentError, TemporaryError, UsageError
from varloop.events import CancelRequested, CircuitEncoded, Event, RunCancelled, RunFailed, RunSubmitted
from varloop.host import Invoker
from varloop.host.knative import SETTINGS, FunctionHost, Receiver, serve_function
from varloop.store import Store
from varloop.store.folder import FolderStore
from varloop.store.memory import MemoryStore
from varloop.testing import FakeClock
from varloop.wire.codec import (
    BATCH,
    MAX_BYTES,
    STRUCTURED,
    batch_to_json,
    from_http,
    from_json,
    to_http,
    to_json,
)


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def event(self) -> Event[Any]:
        """The reply event."""
        assert self.status == 200
        return from_http(self.headers, self.body)

    def problem(self) -> tuple[int, str, str]:
        """Status, title and detail of a problem."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        return problem["status"], problem["title"], problem["detail"]


Post = Callable[..., Answer]


def split(body: bytes, chunk: int) -> list[bytes]:
    """The body in pieces."""
    return [body[start : start + chunk] for start in range(0, len(body), chunk)] or [b""]


class Server:
    """A Flask application over HTTP on 127.0.0.1."""

    def __init__(self, app: Flask) -> None:
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.port}/"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Runtime:
    """A function as func's ASGI runtime calls it, without a socket."""

    def __init__(self, host: FunctionHost) -> None:
        self.host = host

    def post(
        self, headers: dict[str, str], body: bytes, path: str = "/", method: str = "POST", chunk: int = 0
    ) -> Answer:
        """Make a request, in chunks without a length if told."""
        headers = headers if chunk else {**headers, "content-length": str(len(body))}
        parts = split(body, chunk or 2**16)
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            part = parts.pop(0) if parts else b""
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "server": ("127.0.0.1", 8080),
            "client": ("127.0.0.1", 50000),
            "scheme": "http",
            "root_path": "",
        }
        asyncio.run(self.host.handle(scope, receive, send))
        found = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))

    def close(self) -> None:
        """Stop serving."""
        self.host.stop()


def hosted(*apps: App, store: Store | None = None, sink: str = "", **options: Any) -> Runtime:
    """Functions under the runtime."""
    pipelines = Pipelines(apps)
    resources = Resources(store or MemoryStore(), FakeClock(), pipelines.types)
    publisher = HttpPublisher(sink) if sink else None
    return Runtime(
        FunctionHost(Receiver(Invoker(pipelines, resources, **options), pipelines.types, publisher))
    )


@pytest.fixture
def serve() -> Iterator[Callable[..., Post]]:
    """Serve functions; returns how to post to them."""
    runtimes = []

    def start(*apps: App, **options: Any) -> Post:
        runtimes.append(hosted(*apps, **options))
        return runtimes[-1].post

    yield start
    for runtime in runtimes:
        runtime.close()


def raising(error: Exception) -> App:
    """An app whose encode step raises."""

    def before(name: str, event: Event[Any]) -> None:
        raise error

    return Toy(before=before).app


def both_ways() -> App:
    """An app that answers a submission with two events."""
    app = App()

    @app.function(on=RunSubmitted, emits=CancelRequested)
    def both(event: Event[RunSubmitted], ctx: Context) -> list[Any]:
        return [CancelRequested(reason="a"), CancelRequested(reason="b")]

    return app


def a_submission(**changes: Any) -> tuple[dict[str, str], bytes]:
    """A submission in binary mode."""
    return to_http(submission(**changes))


# ------------------------------------------------------------------ well-formed requests


def test_binary_in_binary_out(serve: Callable[..., Post]) -> None:
    """An event in binary mode is answered with the event that the function emits, in binary mode."""
    answer = serve(Toy().app)(*a_submission())
    event = answer.event()

    assert isinstance(event.data, CircuitEncoded)
    assert (event.run, event.data.points) == ("r", [[3.0]])
    assert answer.headers["ce-type"] == "dev.varloop.circuit.encoded"
    assert answer.headers["ce-specversion"] == "1.0"
    assert answer.headers["content-type"] == "application/json"


def test_structured_in(serve: Callable[..., Post]) -> None:
    """An event in structured mode is answered the same."""
    post = serve(Toy().app)
    answer = post({"Content-Type": f"{STRUCTURED}; charset=utf-8"}, to_json(submission()))

    assert answer.event() == post(*a_submission()).event()


def test_a_batch_in_a_batch_out(serve: Callable[..., Post]) -> None:
    """A batch is answered with a batch of everything that was emitted."""
    post = serve(Toy().app)
    answer = post({"Content-Type": BATCH}, batch_to_json([submission("a"), submission("b")]))

    assert (answer.status, answer.headers["content-type"]) == (200, BATCH)
    events = [
        from_json(json.dumps(event, separators=(",", ":")).encode()) for event in json.loads(answer.body)
    ]
    assert [(event.run, type(event.data)) for event in events] == [
        ("a", CircuitEncoded),
        ("b", CircuitEncoded),
    ]


def test_an_empty_batch_is_done(serve: Callable[..., Post]) -> None:
    """A batch of nothing asks for nothing."""
    assert serve(Toy().app)({"Content-Type": BATCH}, b"[]").status == 204


def test_nothing_to_say(serve: Callable[..., Post]) -> None:
    """A function that emits nothing, and an event for somebody else, are an empty 204."""
    app = App()

    @app.function(on=CancelRequested)
    def note(event: Event[CancelRequested], ctx: Context) -> None: ...

    post = serve(app)
    for answer in (post(*to_http(cancellation())), post(*a_submission())):
        assert (answer.status, answer.body) == (204, b"")


def test_a_duplicate_is_answered_like_the_first(serve: Callable[..., Post]) -> None:
    """Delivered again, an event has the same reply, byte for byte; once taken up, none."""
    post = serve(Toy().app)
    first = post(*a_submission())

    assert post(*a_submission()).body == first.body
    assert post(first.headers, first.body).status == 200
    assert post(*a_submission()).status == 204


def test_the_whole_loop_by_replies(serve: Callable[..., Post]) -> None:
    """Posting each reply back runs the whole loop to its end, and the trace with it."""
    headers, body = a_submission()
    answer = serve(Toy().app)
    headers["ce-traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for _ in range(20):
        reply = answer(headers, body)
        if reply.status == 204:
            break
        headers, body = reply.headers, reply.body

    assert headers["ce-type"] == "dev.varloop.run.completed"
    assert headers["ce-traceparent"].startswith("00-0af76519")
    assert json.loads(body)["value"] == 0.25


def test_a_body_without_a_length(serve: Callable[..., Post]) -> None:
    """A request that says no length is read to its end, and no further than an event may reach."""
    post = serve(Toy().app)
    headers, body = a_submission()

    assert post(headers, body, chunk=7).event().data == post(*a_submission()).event().data
    assert post(headers, bytes(MAX_BYTES + 2**20), chunk=2**20).problem()[0] == 413
    assert post({**headers, "content-length": str(MAX_BYTES + 1)}, b"", chunk=1).problem()[0] == 413


def test_one_door(serve: Callable[..., Post]) -> None:
    """Events are posted to the root and nowhere else; func's runtime answers the probes before us."""
    post = serve(Toy().app)

    assert post({}, b"", "/elsewhere").status == 404
    assert post({}, b"", "/", "GET").status == 405


# ------------------------------------------------------------------ errors


def test_a_temporary_error_is_put_off(serve: Callable[..., Post]) -> None:
    """A temporary error is 503 with Retry-After in whole seconds, which Knative delivers again."""
    answer = serve(raising(TemporaryError("busy", retry_after=6.6)))(*a_submission())

    assert answer.problem() == (503, "TemporaryError", "busy")
    assert answer.headers["retry-after"] == "7"
    assert (
        serve(raising(TemporaryError("busy", retry_after=0.1)))(*a_submission()).headers["retry-after"] == "1"
    )


def test_a_permanent_error_is_a_reply(serve: Callable[..., Post]) -> None:
    """A permanent error is dealt with: the reply is run.failed."""
    event = serve(raising(PermanentError("no", hint="other")))(*a_submission()).event()

    assert event.data == RunFailed(error="PermanentError", detail="no", hint="other", function="encode")


def test_a_bug_is_a_reply_too(serve: Callable[..., Post]) -> None:
    """An unexpected error in a function is dealt with as well, and shows no traceback."""
    answer = serve(raising(KeyError("angle")))(*a_submission())

    assert isinstance(answer.event().data, RunFailed)
    assert b"Traceback" not in answer.body


def test_what_is_not_accepted_goes_to_the_dead_letters(serve: Callable[..., Post]) -> None:
    """An event that is refused is 422, which Knative does not deliver again."""
    post = serve(Toy().app)
    post(*a_submission())

    assert serve(raising(EventError("not mine")))(*a_submission()).problem() == (
        422,
        "EventError",
        "not mine",
    )
    status, title, detail = post(*a_submission(id="other", start=9.0)).problem()
    assert (status, title) == (422, "ConflictError")
    assert "belongs to another spec" in detail


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ({}, b"", "not a"),
        (headers_of(type="dev.varloop.run.unknown"), b"{}", "unknown event type 'dev.varloop.run.unknown'"),
        (headers_of(specversion="0.3"), b"{}", "version '0.3' is not supported"),
        (headers_of(id=None), b"{}", "id missing"),
        (headers_of(dataschema="urn:varloop:schema:9:run.cancel.requested"), b"{}", "is not version 1"),
        (headers_of(), b'{"reason":', "truncated"),
        (headers_of(), b'{"reason":5}', "Expected `str`, got `int`"),
        ({"Content-Type": STRUCTURED}, b"{", "not a CloudEvent"),
        ({"Content-Type": BATCH}, b"{}", "not a CloudEvent"),
        ({"Content-Type": BATCH}, b"[{}]", "specversion, id, source, type missing"),
        ({**headers_of(), "content-type": "text/xml"}, b"<a/>", "expected application/json"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_event_of_ours(
    serve: Callable[..., Post], headers: dict[str, str], body: bytes, reason: str
) -> None:
    """What cannot be read is 400 with the reason, and not delivered again."""
    status, title, detail = serve(Toy().app)(headers, body).problem()

    assert (status, title) == (400, "SchemaError")
    assert reason in detail


def test_later_beats_never(serve: Callable[..., Post]) -> None:
    """A batch of which one is put off is put off whole; one that is refused refuses it when nothing waits."""
    failures: dict[str, Exception] = {"late": TemporaryError("busy"), "bad": EventError("not mine")}

    def before(name: str, event: Event[Any]) -> None:
        if event.run in failures:
            raise failures[event.run]

    post = serve(Toy(before=before).app)

    def status(*runs: str) -> int:
        return post({"Content-Type": BATCH}, batch_to_json(map(submission, runs))).status

    assert status("good", "late", "bad") == 503
    assert status("good", "bad") == 422
    failures.clear()
    assert status("good", "late", "bad") == 200


def test_one_bad_event_refuses_its_batch(serve: Callable[..., Post]) -> None:
    """A batch with an unreadable event is refused before anything in it is done."""
    toy = Toy()
    answer = serve(toy.app)({"Content-Type": BATCH}, b"[%b,{}]" % to_json(submission()))

    assert answer.status == 400
    assert not toy.calls


def test_several_events_need_a_batch(serve: Callable[..., Post]) -> None:
    """A reply carries one event; a function that emits several says so instead of losing one."""
    post = serve(both_ways())
    status, title, detail = post(*a_submission()).problem()

    assert (status, title) == (500, "UsageError")
    assert "a reply carries one" in detail.replace("an HTTP reply", "a reply")
    answer = post({"Content-Type": BATCH}, batch_to_json([submission()]))
    assert [event["data"]["reason"] for event in json.loads(answer.body)] == ["a", "b"]


def test_a_hundred_megabytes(serve: Callable[..., Post]) -> None:
    """An event of 100 MB is refused by its length alone, and the host lives on."""
    toy = Toy()
    post = serve(toy.app)
    headers, _ = a_submission()
    for content_type in ("application/json", STRUCTURED, BATCH):
        answer = post({**headers, "content-type": content_type}, bytes(100_000_000))
        status, title, detail = answer.problem()
        assert (status, title) == (413, "SchemaError")
        assert f"larger than {MAX_BYTES} bytes" in detail

    assert not toy.calls
    assert post(*a_submission()).status == 200


def test_secrets_stay_out(serve: Callable[..., Post], monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer has the value of a secret environment variable."""
    monkeypatch.setenv("DEVICE_TOKEN", "hunter2000")
    for error in (TemporaryError("hunter2000"), PermanentError("hunter2000"), EventError("hunter2000")):
        answer = serve(raising(error))(*a_submission())
        assert b"***" in answer.body
        assert b"hunter2000" not in answer.body
    echoed = serve(Toy().app)(headers_of(type="hunter2000"), b"{}")
    assert b"hunter2000" not in echoed.body


# ------------------------------------------------------------------ with a sink


class Sink:
    """A server that keeps what is posted to it, and answers with one status."""

    def __init__(self) -> None:
        self.status = 202
        self.events: list[Event[Any]] = []
        app = Flask("sink")

        @app.post("/")
        def receive() -> tuple[str, int]:
            from flask import request

            if self.status < 300:
                self.events.append(from_http(dict(request.headers), request.get_data()))
            return "", self.status

        self.server = Server(app)


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A sink on 127.0.0.1."""
    sink = Sink()
    yield sink
    sink.server.close()


def test_a_sink_is_sent_every_event(serve: Callable[..., Post], sink: Sink) -> None:
    """With a sink, events are posted there, several too; the response is an empty 204 after all of them."""
    answer = serve(both_ways(), sink=sink.server.url)(*a_submission())

    assert (answer.status, answer.body) == (204, b"")
    assert [event.data for event in sink.events] == [CancelRequested(reason="a"), CancelRequested(reason="b")]


@pytest.mark.parametrize("status", [503, 429, 400])
def test_what_the_sink_does_not_take_is_delivered_again(
    status: int, serve: Callable[..., Post], sink: Sink
) -> None:
    """Whatever a sink refuses, the delivery is put off; later it is the same event, and the function not called."""
    toy = Toy()
    post = serve(toy.app, sink=sink.server.url, settings=SETTINGS)
    sink.status = status
    assert post(*a_submission()).problem()[0] == 503

    sink.status = 202
    assert post(*a_submission()).status == 204
    assert [type(event.data) for event in sink.events] == [CircuitEncoded]
    assert sum(toy.calls.values()) == 1


def test_the_whole_loop_through_a_sink(serve: Callable[..., Post], sink: Sink) -> None:
    """With a sink no event is a reply, and each is posted once."""
    post = serve(Toy(iterations=25).app, sink=sink.server.url)
    headers, body = a_submission()
    while headers.get("ce-type") != "dev.varloop.run.completed":
        assert post(headers, body).status == 204
        headers, body = to_http(sink.events[-1])

    assert len(sink.events) == 3 * 25 + 1


def test_a_duplicate_of_a_published_step_says_nothing(serve: Callable[..., Post], sink: Sink) -> None:
    """Once the sink has an event of ours, another delivery of what caused it posts nothing."""
    post = serve(Toy().app, sink=sink.server.url)
    post(*a_submission())
    encoded = to_http(sink.events[0])

    assert [post(*encoded).status for _ in range(2)] == [204, 204]
    assert [event.data.type for event in sink.events[1:]] == ["dev.varloop.circuit.executed"]


def test_a_sink_that_is_away(serve: Callable[..., Post]) -> None:
    """Nobody at the sink's address: the delivery is put off."""
    status, title, detail = serve(Toy().app, sink="http://127.0.0.1:9/")(*a_submission()).problem()

    assert (status, title) == (503, "TemporaryError")
    assert "does not answer" in detail


def test_errors_are_no_business_of_the_sink(serve: Callable[..., Post], sink: Sink) -> None:
    """What is refused, put off or unreadable is answered as without a sink, and nothing is posted."""
    url = sink.server.url
    assert serve(raising(TemporaryError("busy")), sink=url)(*a_submission()).status == 503
    assert serve(raising(EventError("not mine")), sink=url)(*a_submission()).status == 422
    assert serve(Toy().app, sink=url)({}, b"").status == 400
    assert not sink.events


# ------------------------------------------------------------------ under func's runtime


def test_many_at_once() -> None:
    """Requests in parallel are answered each with its own reply, and every run has one call."""
    toy = Toy()
    server = hosted(toy.app)
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(server.post(*a_submission(run=f"r{n % 4}"))))
        for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.close()

    assert sorted(answer.event().run for answer in answers) == sorted(f"r{n % 4}" for n in range(16))
    assert set(toy.calls.values()) == {1}


def test_two_hosts_share_a_folder(tmp_path: Any) -> None:
    """Functions in processes of their own, each behind HTTP, share nothing but the store."""
    servers = [hosted(toy.app, store=FolderStore(tmp_path)) for toy in (Toy(), Toy())]
    headers, body = a_submission()
    for turn in range(20):
        replies = [server.post(headers, body) for server in servers[:: (-1) ** turn]]
        if replies[0].status == 204:
            break
        headers, body = replies[0].headers, replies[0].body
    for server in servers:
        server.close()

    assert json.loads(body)["value"] == 0.25


def test_what_func_asks_for(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """``new()`` of a function has all that func's runtime calls, with the store of the environment."""
    monkeypatch.setenv("VARLOOP_STORE", f"folder:{tmp_path}")
    host = serve_function(Toy().app)

    assert (host.alive()[0], host.ready()[0]) == (True, True)
    host.stop()


def test_a_sink_comes_from_the_environment(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, sink: Sink
) -> None:
    """K_SINK, which a SinkBinding sets, is where a function's events go."""
    monkeypatch.setenv("VARLOOP_STORE", f"folder:{tmp_path}")
    monkeypatch.setenv("K_SINK", sink.server.url)
    runtime = Runtime(serve_function(Toy().app))

    assert runtime.post(*a_submission()).status == 204
    assert [type(event.data) for event in sink.events] == [CircuitEncoded]
    runtime.close()


def test_func_needs_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a store a function says which variable is missing."""
    monkeypatch.delenv("VARLOOP_STORE", raising=False)

    with pytest.raises(UsageError, match=r"VARLOOP_STORE is not set .set it to the URL"):
        serve_function(Toy().app)


def test_cancelled_runs_have_their_reply(serve: Callable[..., Post]) -> None:
    """The reply to a cancel is run.cancelled."""
    post = serve(Toy().app)
    post(*a_submission())

    assert post(*to_http(cancellation())).event().data == RunCancelled(reason="enough")
    assert post({"Content-Type": STRUCTURED}, structured()).event().data == RunCancelled(reason="enough")
