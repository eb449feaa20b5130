"""The server's HTTP interface against clients that are slow, foreign, wrong or hostile."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

import toy
from host.served import Server, serving
from varloop.app import App
from varloop.context import Context, Resources
from varloop.evaluation import Evaluation
from varloop.events import (
    CancelRequested,
    CircuitEncoded,
    CircuitExecuted,
    Event,
    Job,
    Measurement,
    Memo,
    ObjectiveEvaluated,
    ParametersProposed,
    Request,
    RunCancelled,
    RunCompleted,
    RunSubmitted,
    event_id,
)
from varloop.host.server import http as server_http
from varloop.host.server.gate import Gate
from varloop.runs import StoredRun
from varloop.store.folder import FolderStore
from varloop.store.memory import MemoryStore
from varloop.wire.codec import MAX_BYTES, STRUCTURED, encode_body, to_json

TOKEN = "a-token-of-the-laboratory"
MEMO = Memo("000006/optimize", "0" * 32)
REQUEST = Request(template="toy", points=[[0.0, 0.0]], memo=MEMO)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server over a store in memory."""
    with serving(MemoryStore()) as found:
        yield found


def event(data: Any, run: str = "mine", **more: Any) -> Event[Any]:
    """An event of the toy pipeline from an application."""
    fixed = {"id": f"{run}-{data.type}", "source": "app", "time": 1.0, "pipeline": "toy"}
    return Event(run=run, data=data, **{**fixed, **more})


def submission(run: str, **spec: Any) -> Event[Any]:
    """A submission of the toy's spec."""
    return event(RunSubmitted(spec={**toy.SPEC, **spec}), run)


def from_a_function(given: Event[Any]) -> Event[Any]:
    """The event as a stranger who knows the algorithm of ids makes it look like a function's."""
    raw = encode_body(given.data)
    id = event_id(given.pipeline, given.run, given.iteration, given.type, raw)
    return msgspec.structs.replace(given, id=id, source="varloop/optimize", encoded=raw)


FORGED = (
    CircuitEncoded(template="toy", points=[[0.0, 0.0]] * 1000, memo=MEMO),
    ParametersProposed(template="toy", points=[[0.0, 0.0]] * 1000, memo=MEMO),
    CircuitExecuted(
        request=REQUEST,
        job=Job(backend="toy", rows=1),
        measurement=Measurement(circuits=1, shots=1, values=[-1e6]),
    ),
    ObjectiveEvaluated(memo=MEMO, evaluation=Evaluation(values=[-1e6], errors=[0.0])),
    RunCompleted(value=-1e6, error=0.0, parameters=[0.0], iterations=1, shots=1, reason="converged"),
    RunCancelled(reason="gone"),
)


@pytest.mark.parametrize("body", FORGED, ids=lambda body: type(body).__name__)
@pytest.mark.parametrize("disguised", [False, True])
@pytest.mark.parametrize("pipeline", ["toy", "default"])
def test_a_strangers_events_change_nothing(server: Server, body: Any, disguised: bool, pipeline: str) -> None:
    """What functions tell each other is refused from outside: an ended run keeps its result and spends nothing."""
    server.post(submission("mine", shots=100))
    list(server.stream("mine"))
    before = {key: server.service.store.get(key) for key in server.service.store.keys()}
    forged = event(body, iteration=7, pipeline=pipeline)

    status, problem = server.post(from_a_function(forged) if disguised else forged)

    assert status == 400
    assert ("is for functions" if disguised else "not taken from applications") in problem["detail"]
    assert {key: server.service.store.get(key) for key in server.service.store.keys()} == before


def test_a_batch_is_taken_whole_or_not_at_all(server: Server) -> None:
    """One fault anywhere in a batch, of whatever kind, leaves nothing behind."""
    server.post(submission("taken"))
    list(server.stream("taken"))
    good = submission("good")
    for bad in (
        submission("taken", seed=9),
        submission("good", seed=9),
        event(FORGED[3]),
        event(RunSubmitted(spec={}), "other", pipeline="default"),
        event(CancelRequested(), pipeline="nobodys"),
    ):
        assert server.post(good, bad)[0] in (400, 422)
    assert [each["run"] for each in server.request("GET", "/runs")[1]] == ["taken"]


def test_an_event_in_chunks_that_is_too_large_is_refused(server: Server) -> None:
    """8 MiB and no more, whether the length is declared or not; nothing of it is taken."""
    start, rest = to_json(submission("mine"))[:-1], b" " * 2**20
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)

    def chunks() -> Iterator[bytes]:
        yield start
        for _ in range(MAX_BYTES // len(rest)):
            yield rest
        yield b"}"

    connection.request("POST", "/", chunks(), {"content-type": STRUCTURED}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    assert server.request("GET", "/runs") == (200, [])


def test_a_thousand_faults_are_told_by_the_first_ten(server: Server) -> None:
    """What is wrong with a large spec is a small answer."""
    terms = [["Q" * 50, "x" * 10_000]] * 500
    spec = {"problem": {"kind": "energy", "observable": terms}, "circuit": {"library": "real_amplitudes"}}

    status, problem = server.post(event(RunSubmitted(spec=spec), pipeline="default"))

    assert status == 400
    assert len(json.dumps(problem)) < 20_000


@pytest.mark.parametrize("last", ["9" * 5000, "٣", "-1", "x", "1e3"])
def test_any_last_event_id_is_answered(server: Server, last: str) -> None:
    """What is no id of an event of ours means from the start."""
    server.submit("mine")
    expected = [kind for kind, _ in server.stream("mine")]

    assert [
        kind for kind, _ in server.stream("mine", **{"Last-Event-ID": last.encode().decode("latin-1")})
    ] == expected


def test_who_has_seen_the_end_need_not_come_again(server: Server) -> None:
    """The last event's id tells a reconnecting EventSource apart; it is answered 204, which makes it stop."""
    server.submit("mine")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/runs/mine/events")
    ids = [line for line in connection.getresponse().read().decode().splitlines() if line.startswith("id: ")]
    assert ids[-1] == "id: end"
    assert "id: end" not in ids[:-1]

    connection.request("GET", "/runs/mine/events", headers={"Last-Event-ID": "end"})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (204, b"")
    connection.close()


def test_a_stream_begins_before_all_is_read(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first bytes of a long run's stream do not wait for its whole history."""
    server.submit("mine")
    list(server.stream("mine"))
    reads = threading.Semaphore(3)
    find = MemoryStore._read

    def slow(store: MemoryStore, key: str) -> bytes | None:
        if "/journal/0" in key:
            reads.acquire(timeout=10)
        return find(store, key)

    monkeypatch.setattr(MemoryStore, "_read", slow)
    stream = server.stream("mine")
    assert next(stream)[0] == "dev.varloop.run.submitted"
    reads.release(1000)
    assert [kind for kind, _ in stream][-1] == "dev.varloop.run.completed"


def test_half_a_request_holds_nobody_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four hundred connections that never finish their request take no thread."""
    half = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(400)]
    try:
        for connection in half:
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        assert server.request("GET", "/runs") == (200, [])
    finally:
        for connection in half:
            connection.close()


def test_a_connection_whose_request_does_not_come_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After IDLE seconds."""
    monkeypatch.setattr(server_http, "IDLE", 0)
    with (
        serving(MemoryStore()) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection,
    ):
        connection.sendall(b"POST / HTTP/1.1\r\n")
        assert connection.recv(1) == b""


def test_more_streams_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams beyond the limit are told to come again; other requests are answered."""
    monkeypatch.setattr(server_http, "STREAMS", 1)
    with serving(MemoryStore()) as server:
        server.post(submission("mine", optimizer={"name": "spsa", "options": {"seconds": 0.02}}))
        first = server.stream("mine")
        next(first)
        status, problem = server.request("GET", "/runs/mine/events")
        assert (status, problem["title"]) == (503, "TemporaryError")
        assert server.request("GET", "/runs/mine")[0] == 200
        first.close()


def stuck() -> tuple[App, threading.Event]:
    """The toy pipeline; the first job of a run called stuck does not end before the event is set."""
    app, free = App("toy"), threading.Event()
    for function in toy.app.functions:

        def step(
            given: Event[Any], ctx: Context, call: Any = function.handler, name: str = function.name
        ) -> Any:
            if name == "execute" and ctx.run.startswith("stuck"):
                free.wait(60)
            return call(given, ctx)

        app.function(on=function.on, emits=function.emits, name=function.name, pure=function.pure)(step)
    return app, free


def test_runs_whose_steps_do_not_end_hold_up_no_other() -> None:
    """With more of them than threads the others still go on, and each of them can be cancelled."""
    app, free = stuck()
    with serving(MemoryStore(), app=app, turn=0.2) as server:
        server.submit("first")  # first calls are made one at a time
        list(server.stream("first"))
        for number in range(6):
            server.submit(f"stuck-{number}")
        server.submit("mine")
        assert list(server.stream("mine"))[-1][0] == "dev.varloop.run.completed"

        server.post(event(CancelRequested(reason="enough"), "stuck-0"))
        kind, told = list(server.stream("stuck-0"))[-1]
        assert (kind, told["data"]["reason"]) == ("dev.varloop.run.cancelled", "enough")
        free.set()
        assert list(server.stream("stuck-1"))[-1][0] == "dev.varloop.run.completed"


def test_results_do_not_depend_on_the_threads(tmp_path: Any) -> None:
    """Ten runs beside each other end as each does alone, and every job is done once."""
    from varloop.client import embedded

    alone = embedded("memory:", apps=[toy.app]).submit({**toy.SPEC, "shots": 100}, pipeline="toy").result()
    with serving(FolderStore(tmp_path)) as server:
        for number in range(10):
            server.post(submission(f"r{number}", shots=100))
        ends = [list(server.stream(f"r{number}"))[-1][1]["data"] for number in range(10)]
    assert {end["value"] for end in ends} == {alone.value}
    resources = Resources(FolderStore(tmp_path), types=toy.app.types())
    for number in range(10):
        executed = [call for call in StoredRun(resources, f"r{number}").calls() if call.function == "execute"]
        assert len(executed) == len({call.iteration for call in executed})


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil", "[", ""])
def test_a_foreign_name_is_refused(server: Server, host: str) -> None:
    """A page whose name was made to lead here (DNS rebinding) gets nothing."""
    status, problem = server.request("GET", "/runs", Host=host)

    assert status in (400, 403)
    assert status == 400 or "--allow-host" in problem["detail"]


def test_names_that_are_allowed_and_addresses_are_known() -> None:
    """Of any port."""
    with serving(MemoryStore(), Gate(names=frozenset({"lab"}))) as server:
        for host in ("lab", "lab:80", "127.0.0.1", "10.0.0.7:8765", "[::1]:1", "localhost:9", "LOCALHOST"):
            assert server.request("GET", "/runs", Host=host) == (200, [])


def test_pages_of_other_origins_are_refused(server: Server) -> None:
    """A page elsewhere can neither read nor submit; one that this host served may."""
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{server.port + 1}"):
        status, problem = server.post(submission("mine"), Origin=origin)
        assert (status, "--allow-origin" in problem["detail"]) == (403, True)
    assert server.request("GET", "/runs", Origin=f"http://127.0.0.1:{server.port}") == (200, [])


def test_a_page_that_is_allowed_may_ask() -> None:
    """Its browser is told so, before (OPTIONS, without a token) and with the answer; others are not."""
    gate = Gate(origins=frozenset({"https://lab.example"}), tokens=frozenset({TOKEN}))
    with serving(MemoryStore(), gate) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        ask = {"Origin": "https://lab.example", "Access-Control-Request-Headers": "authorization,ce-id"}
        connection.request("OPTIONS", "/", headers=ask)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == "https://lab.example"
        assert answer.headers["access-control-allow-headers"] == "authorization,ce-id"

        connection.request("OPTIONS", "/", headers={**ask, "Origin": "https://evil.example"})
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (403, None)
        connection.close()


def test_a_token_is_asked_for() -> None:
    """In every request but probes, as a bearer's or as a password; nothing else will do."""
    with serving(MemoryStore(), Gate(tokens=frozenset({TOKEN, "another-one-of-the-tokens"}))) as server:
        for given in ("", "Bearer wrong", f"Bearer {TOKEN}x", "Basic Og==", f"Token {TOKEN}", "Bearer ä"):
            status, problem = server.request("GET", "/runs", Authorization=given)
            assert status == 401
            assert TOKEN not in json.dumps(problem)
        assert server.post(submission("mine"))[0] == 401
        assert server.request("GET", "/runs", Authorization=f"Bearer {TOKEN}") == (200, [])
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", "/health/liveness")
        assert connection.getresponse().status == 200
        connection.close()
