from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import toy
from core.toys import FlakyStore
from host.served import Server, serving
from varloop import runs
from varloop.client import embedded
from varloop.context import Resources
from varloop.errors import StoreUnavailable
from varloop.events import CancelRequested, Event, RunSubmitted
from varloop.host import Invoker, load_pipelines
from varloop.host.server.service import Service
from varloop.store.folder import FolderStore
from varloop.store.layout import index_key
from varloop.store.memory import MemoryStore
from varloop.support.clock import SystemClock
from varloop.wire.codec import BATCH, MAX_BYTES, STRUCTURED, to_json

SLOW = {
    **toy.SPEC,
    "optimizer": {"name": "spsa", "options": {"seconds": 0.05}},
    "budget": {"iterations": 1000},
}


@pytest.fixture
def server() -> Iterator[Server]:
    """A server over a store in memory."""
    with serving(MemoryStore()) as found:
        yield found


def submitted(run: str, **more: Any) -> Event[RunSubmitted]:
    """A submission as Python makes it."""
    fixed = {"source": "test", "data": RunSubmitted(spec=toy.SPEC), "time": 1.0, "pipeline": "toy"}
    return Event(id=run, run=run, **{**fixed, **more})


def test_a_run_submitted_with_plain_http_is_streamed_to_its_end(server: Server) -> None:
    """A binary CloudEvent is answered with 202; the stream tells each iteration and the result, then closes."""
    status, answer = server.submit("mine")
    news = list(server.stream("mine"))

    assert (status, answer) == (202, {"accepted": [{"id": "mine", "run": "mine"}]})
    assert [data["iteration"] for kind, data in news if kind == "iteration"] == list(
        range(7)
    )  # and the final value
    assert news[-1][0] == "dev.varloop.run.completed"
    assert news[-1][1]["data"]["value"] == pytest.approx(toy.MINIMUM, abs=0.05)
    assert server.request("GET", "/runs/mine")[1]["state"] == "completed"


def test_structured_and_batched_events_are_taken(server: Server) -> None:
    """All three content modes of CloudEvents over HTTP submit runs."""
    one, two, three = (to_json(submitted(run)) for run in ("one", "two", "three"))

    assert server.request("POST", "/", one, content_type=STRUCTURED)[0] == 202
    assert server.request("POST", "/", b"[" + two + b"," + three + b"]", content_type=BATCH)[0] == 202

    ends = [list(server.stream(run))[-1][0] for run in ("one", "two", "three")]
    assert ends == ["dev.varloop.run.completed"] * 3
    assert {each["run"] for each in server.request("GET", "/runs")[1]} == {"one", "two", "three"}


def test_a_stream_is_taken_up_where_it_was_lost(server: Server) -> None:
    """A reconnecting client sends the last id it saw and gets that iteration again and all that follow."""
    server.submit("mine")
    everything = list(server.stream("mine"))

    again = list(server.stream("mine", **{"Last-Event-ID": "3"}))

    assert again == [each for each in everything if each in again]
    assert next(data["iteration"] for kind, data in again if kind == "iteration") == 3


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (
            b"{}",
            {"content_type": "application/json"},
            "not a CloudEvent: specversion, id, source, type missing (as headers ce-id",
        ),
        (b"not json", {"content_type": STRUCTURED}, "not a CloudEvent"),
        (
            b'{"specversion":"1.0","id":"1","source":"s","type":"dev.other"}',
            {"content_type": STRUCTURED},
            "dev.other",
        ),
        (to_json(submitted("bad/id")), {"content_type": STRUCTURED}, "is not a run id"),
        (
            to_json(submitted("r", pipeline="other")),
            {"content_type": STRUCTURED},
            "no pipeline 'other' here, only default, toy",
        ),
    ],
)
def test_a_bad_event_is_refused_with_the_reason(
    server: Server, body: bytes, headers: dict[str, str], reason: str
) -> None:
    """What cannot be understood is a 400 whose detail says why; nothing is stored."""
    status, problem = server.request("POST", "/", body, **headers)

    assert status == 400
    assert reason in problem["detail"]
    assert list(server.service.store.keys()) == []


def test_a_bad_spec_is_refused_with_all_its_faults(server: Server) -> None:
    """Of the default pipeline, whose specs are known, every fault is in the answer."""
    spec = {"problem": {"kind": "maxcut", "edges": [[0, 0, 1]]}, "shots": -1}
    body = to_json(submitted("bad", data=RunSubmitted(spec=spec), pipeline="default"))

    status, problem = server.request("POST", "/", body, content_type=STRUCTURED)

    assert status == 400
    assert [fault.partition(":")[0] for fault in problem["faults"]] == ["shots", "problem.edges[0]"]


def test_one_bad_event_of_a_batch_refuses_the_batch(server: Server) -> None:
    """A batch is taken whole or not at all, so that it can be corrected and sent again."""
    batch = b"[" + to_json(submitted("good")) + b",{}]"

    assert server.request("POST", "/", batch, content_type=BATCH)[0] == 400
    assert server.request("GET", "/runs") == (200, [])


def test_a_run_id_belongs_to_the_first_spec(server: Server) -> None:
    """The same submission again is the same run; another spec under its id is refused."""
    server.submit("mine")

    assert server.submit("mine")[0] == 202
    status, problem = server.submit("mine", {**toy.SPEC, "seed": 8})
    assert (status, problem["title"]) == (422, "ConflictError")


def test_an_event_of_a_hundred_megabytes_is_refused_unread(server: Server) -> None:
    """Its declared length is enough."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest("POST", "/")
    connection.putheader("content-type", STRUCTURED)
    connection.putheader("content-length", str(100 * 2**20))
    connection.endheaders(b"{")
    answer = connection.getresponse()

    assert answer.status == 413
    assert str(MAX_BYTES + 1) in answer.read().decode()
    connection.close()


def test_an_unknown_run_is_not_found(server: Server) -> None:
    """State and stream of a run that nobody submitted are 404, with the run's id."""
    for path in ("/runs/none", "/runs/none/events"):
        status, problem = server.request("GET", path)
        assert status == 404
        assert "none" in problem["detail"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/run", 404), ("DELETE", "/runs", 405)])
def test_what_is_not_there_is_a_problem_too(server: Server, method: str, path: str, status: int) -> None:
    """Whoever asks for what is not there is told what is."""
    answered, problem = server.request(method, path)
    assert (answered, problem["status"]) == (status, status)
    assert f"{method} {path}: there are POST / for events" in problem["detail"]


def test_a_run_is_cancelled_by_an_event(server: Server) -> None:
    """A cancel request ends a run that would go on for a minute."""
    server.submit("long", SLOW)
    cancel = Event(
        id="c", source="test", run="long", data=CancelRequested(reason="enough"), time=1.0, pipeline="toy"
    )

    assert server.request("POST", "/", to_json(cancel), content_type=STRUCTURED)[0] == 202

    kind, event = list(server.stream("long"))[-1]
    assert (kind, event["data"]["reason"]) == ("dev.varloop.run.cancelled", "enough")
    assert not list(server.service.store.keys("inbox/"))


def test_what_nobody_can_use_is_set_aside_with_the_reason(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancel request for an unknown run is accepted and ends among the dead letters, not silently."""
    cancel = Event(id="c", source="test", run="none", data=CancelRequested(), time=1.0, pipeline="toy")
    server.request("POST", "/", to_json(cancel), content_type=STRUCTURED)
    server.submit("mine")
    list(server.stream("mine"))

    store = server.service.store
    (letter,) = [json.loads(store.get(key)) for key in store.keys("dead-letters/")]
    assert "no such run" in letter["reason"]
    assert letter["event"]["id"] == "c"
    assert "is set aside" in caplog.text


def test_a_server_goes_on_with_what_another_left(tmp_path: Path) -> None:
    """A run that was interrupted by a stop is finished by the next server, with the uninterrupted result."""
    client = embedded("memory:", apps=[toy.app])
    expected = client.submit(toy.SPEC, pipeline="toy").result()
    with serving(FolderStore(tmp_path)) as first:
        first.submit("mine", {**toy.SPEC, "optimizer": {"name": "spsa", "options": {"seconds": 0.05}}})
        next(kind for kind, _ in first.stream("mine") if kind == "iteration")
    assert runs.StoredRun(Resources(FolderStore(tmp_path)), "mine").state().state == "running"

    with serving(FolderStore(tmp_path)) as second:
        kind, event = list(second.stream("mine"))[-1]

    assert kind == "dev.varloop.run.completed"
    assert event["data"]["parameters"] == expected.parameters


def test_an_accepted_event_survives_a_crash(tmp_path: Path) -> None:
    """What was answered with 202 and not dealt with is dealt with by the next server."""
    dead = Service(load_pipelines([toy.app]), FolderStore(tmp_path), SystemClock())
    embedded(FolderStore(tmp_path), [toy.app]).submit(SLOW, run="long", pipeline="toy")
    dead.accept(Event(id="c", source="test", run="long", data=CancelRequested(), time=1.0, pipeline="toy"))

    with serving(FolderStore(tmp_path)) as second:
        kinds = [kind for kind, _ in second.stream("long")]

    assert kinds[-1] == "dev.varloop.run.cancelled"


def test_a_server_that_could_accept_nothing_does_not_start() -> None:
    """A store that cannot be written is told at once, not to the first who submits."""
    service = Service(load_pipelines([toy.app]), FlakyStore(lambda _: True), SystemClock())

    with pytest.raises(StoreUnavailable):
        service.start()
    service.stop()


def test_what_cannot_be_delivered_holds_up_nobody_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A delivery that breaks the host itself is tried again later; the runs of others go on."""
    with serving(MemoryStore()) as server:
        invoke = Invoker.invoke

        def broken(invoker: Invoker, event: Event[Any], attempt: int = 1) -> Any:
            if event.run == "cursed":
                raise RuntimeError("a bug of ours")
            return invoke(invoker, event, attempt)

        monkeypatch.setattr(Invoker, "invoke", broken)
        server.submit("cursed")
        server.submit("mine")
        assert list(server.stream("mine"))[-1][0] == "dev.varloop.run.completed"

    assert "a bug of ours" in caplog.text


def test_a_broken_object_does_not_keep_a_server_from_starting(tmp_path: Path) -> None:
    """A corrupt inbox or run is left alone, and the server does its work."""
    store = FolderStore(tmp_path)
    for key in ("inbox/x", "runs/broken/submitted", index_key(0.0, "broken")):
        store.put(key, b"nonsense")

    with serving(store) as server:
        server.submit("mine")
        assert list(server.stream("mine"))[-1][0] == "dev.varloop.run.completed"
        states = [(each["run"], each["state"]) for each in server.request("GET", "/runs")[1]]
        assert states == [("mine", "completed"), ("broken", "unreadable")]
