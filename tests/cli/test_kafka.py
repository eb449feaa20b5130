"""Kafka's commands, against a fake cluster; the real one is in the services' suite."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

import varloop.bus.kafka
from bus.fake_kafka import URL, Cluster
from varloop.bus import DeadLetter
from varloop.bus.kafka import KafkaBus
from varloop.cli.root import cli
from varloop.events import CancelRequested, Event
from varloop.host.server.bus import LiveBus
from varloop.store.folder import FolderStore
from varloop.testing import FakeClock

ARGUMENTS = ("--bus", URL)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster that every bus opened in this test is on."""
    cluster = Cluster({"t": 3, "t.dead-letters": 1})
    monkeypatch.setattr(varloop.bus.kafka, "_driver", lambda settings: cluster)
    return cluster


def program(*words: str) -> Result:
    """The command line with these words."""
    return CliRunner().invoke(cli, words)


def bury(cluster: Cluster, whole: bool = True) -> None:
    """One record that could not be read, in the dead letters."""
    cluster.send("t", b"k", b"not json", [("content-type", b"text/plain")], lambda error: None)
    record = next(record for log in cluster.logs["t"] for record in log)
    letter = DeadLetter(reason="no CloudEvent", function="encode", error="SchemaError")
    KafkaBus(URL).bury(record, letter, lambda error: None, whole)


def test_setup_makes_topics_and_store(cluster: Cluster, tmp_path: Path) -> None:
    """All that workers need, by one command; a dry run only tells; done twice it does nothing."""
    cluster.logs.clear()
    words = ("setup", *ARGUMENTS, "--store", str(tmp_path / "new"), "--partitions", "3")
    told = [
        "create t with 3 partitions",
        "create t.dead-letters with 1 partitions",
        f"create folder {tmp_path}/new",
    ]

    assert json.loads(program(*words, "--dry-run", "--json").stdout) == told
    assert not cluster.logs
    assert not (tmp_path / "new").exists()
    assert program(*words).stdout.splitlines() == told
    assert program(*words).stdout == "nothing to do\n"


def test_a_store_in_memory_cannot_be_set_up(cluster: Cluster) -> None:
    """Nothing of it would be left."""
    done = program("setup", *ARGUMENTS, "--store", "memory:")
    assert done.exit_code == 2
    assert "nothing to set up at memory:" in done.stderr


def test_no_dead_letters_are_said_to_be_none(cluster: Cluster) -> None:
    """An empty list is no empty page."""
    assert program("dlq", "list", *ARGUMENTS).stdout == "no dead letters\n"


def test_a_dead_letter_is_listed_and_shown_with_its_reason(cluster: Cluster) -> None:
    """The list names it; show tells all, the record's bytes included."""
    bury(cluster)
    [listed] = json.loads(program("dlq", "list", *ARGUMENTS, "--json").stdout)
    assert (listed["function"], listed["error"], listed["reason"]) == (
        "encode",
        "SchemaError",
        "no CloudEvent",
    )

    assert listed["id"] in program("dlq", "list", *ARGUMENTS).stdout
    shown = program("dlq", "show", listed["id"], *ARGUMENTS).stdout
    assert shown.endswith("  content-type: text/plain\nnot json\n")


def test_a_dead_letter_is_replayed_byte_for_byte(cluster: Cluster) -> None:
    """Its record is in the topic again, with its own key and headers only."""
    bury(cluster)
    [listed] = json.loads(program("dlq", "list", *ARGUMENTS, "--json").stdout)

    assert program("dlq", "replay", listed["id"], *ARGUMENTS).stdout == f"published {listed['id']} again\n"
    first, second = (record for log in cluster.logs["t"] for record in log)
    assert (second.key, second.value, list(second.headers)) == (first.key, first.value, list(first.headers))
    assert program("dlq", "list", *ARGUMENTS).stdout == "no dead letters\n"


def test_a_dead_letter_without_its_value_says_so(cluster: Cluster) -> None:
    """What was too large is shown by size and digest; replaying it is refused, and says where the record lies."""
    bury(cluster, whole=False)
    [listed] = json.loads(program("dlq", "list", *ARGUMENTS, "--json").stdout)
    digest = hashlib.sha256(b"not json").hexdigest()
    assert (listed["size"], listed["sha256"]) == (8, digest)

    shown = program("dlq", "show", listed["id"], *ARGUMENTS).stdout
    assert shown.endswith(f"(the value was too large for the dead letters: sha256 {digest})\n")
    replayed = program("dlq", "replay", listed["id"], *ARGUMENTS)
    assert replayed.exit_code == 2
    assert f"the record is at {listed['id']}" in replayed.stderr
    assert len(cluster.scan("t")) == 1


def test_an_unknown_dead_letter_is_a_wrong_command_line(cluster: Cluster) -> None:
    """It says how to find the right one."""
    done = program("dlq", "show", "t/0/7", *ARGUMENTS)
    assert done.exit_code == 2
    assert "there is no dead letter t/0/7" in done.stderr
    assert "varloop dlq list" in done.stderr


PROBLEM = {"type": "about:blank", "title": "Not accepted", "status": 422, "detail": "no spec"}
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "app/x",
    "type": CancelRequested.type,
    "subject": "r",
    "time": "2026-11-25T12:00:00Z",
    "partitionkey": "r",
    "someextension": 'a "b"',
}
FAILED = {
    "knativeerrordest": "http://execute.varloop.svc.cluster.local",
    "knativeerrorcode": "422",
    "knativekafkapartition": "3",
    "knativekafkaoffset": "1042",
}


def dead_letter_of_knative(cluster: Cluster, data: bytes) -> None:
    """As a KafkaSink writes what a Trigger of a Broker gave up."""
    attributes = {**EVENT, **FAILED}
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    headers += [("content-type", b"application/json"), ("ce_knativeerrordata", data), ("kne-x", b"y")]
    cluster.send("t.dead-letters", b"r", b'{"reason":"\xc3\xbc"}', headers, lambda error: None)


@pytest.mark.parametrize("encoded", [True, False])
def test_dead_letters_of_knative_are_listed_with_their_reason(cluster: Cluster, encoded: bool) -> None:
    """The problem that the subscriber answered, in base64 or plain; which one it was; the event as it came."""
    problem = json.dumps(PROBLEM).encode()
    dead_letter_of_knative(cluster, base64.b64encode(problem) if encoded else problem)

    [listed] = json.loads(program("dlq", "list", *ARGUMENTS, "--json").stdout)
    assert listed["id"] == "t.dead-letters/0/0"
    assert (listed["function"], listed["error"], listed["reason"]) == (
        "execute",
        "HTTP 422",
        "Not accepted: no spec",
    )
    assert (listed["run"], listed["type"]) == ("r", CancelRequested.type)
    shown = program("dlq", "show", listed["id"], *ARGUMENTS).stdout
    assert "knative" not in shown
    assert shown.endswith('{"reason":"ü"}\n')


@pytest.mark.parametrize("data", [b"", b"upstream timed out", b'{"title":"cut of'])
def test_what_is_no_problem_is_told_as_it_is(cluster: Cluster, data: bytes) -> None:
    """A reason that is cut off, or plain text."""
    dead_letter_of_knative(cluster, data)
    [listed] = json.loads(program("dlq", "list", *ARGUMENTS, "--json").stdout)
    assert listed["reason"] == data.decode()


class Ingress(BaseHTTPRequestHandler):
    """Takes events."""

    got: ClassVar[list[tuple[dict[str, str], bytes]]] = []

    def do_POST(self) -> None:
        """Keep it."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(202)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def ingress() -> Iterator[str]:
    """URL of a Broker or a server."""
    Ingress.got.clear()
    with HTTPServer(("127.0.0.1", 0), Ingress) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/varloop/default"
        server.shutdown()
        thread.join()


def test_dead_letters_of_knative_are_replayed_to_the_ingress(cluster: Cluster, ingress: str) -> None:
    """The event as it was before nobody took it, byte for byte; the letter is off the list then."""
    dead_letter_of_knative(cluster, b"")
    where = program("dlq", "replay", "--all", *ARGUMENTS)
    assert where.exit_code == 2
    assert "--at http://HOST/NAMESPACE/BROKER" in where.stderr

    done = program("dlq", "replay", "--all", *ARGUMENTS, "--at", ingress)
    assert done.stdout == "published t.dead-letters/0/0 again\n"
    [(headers, body)] = Ingress.got
    sent = {name.removeprefix("ce-"): value for name, value in headers.items() if name.startswith("ce-")}
    assert sent == {**EVENT, "someextension": "a%20%22b%22"}
    assert (headers["content-type"], body) == ("application/json", b'{"reason":"\xc3\xbc"}')
    assert program("dlq", "list", *ARGUMENTS).stdout == "no dead letters\n"


def test_dead_letters_of_a_server_are_in_its_store(tmp_path: Path, ingress: str) -> None:
    """They are listed, shown and replayed like all others."""
    bus = LiveBus(FolderStore(tmp_path), FakeClock())
    event = Event(id="1", source="app/x", run="ghost", data=CancelRequested(reason=""), time=1.0)
    bus.set_aside(event, "knows no such run", "UnknownRun")
    store = ("--store", str(tmp_path))

    [listed] = json.loads(program("dlq", "list", *store, "--json").stdout)
    assert (listed["run"], listed["function"], listed["error"]) == ("ghost", "serve", "UnknownRun")
    assert listed["reason"] == "knows no such run"
    assert '"subject":"ghost"' in program("dlq", "show", listed["id"], *store).stdout
    assert "--at http://HOST:PORT" in program("dlq", "replay", listed["id"], *store).stderr
    assert program("dlq", "replay", listed["id"], *store, "--at", ingress).exit_code == 0
    assert Ingress.got[0][0]["ce-subject"] == "ghost"
    assert program("dlq", "list", *store).stdout == "no dead letters\n"


def test_a_topic_that_is_not_there_has_no_list(cluster: Cluster) -> None:
    """A mistyped name is no empty list."""
    done = program("dlq", "list", "--bus", URL + "ypo")
    assert done.exit_code == 2
    assert "there is no topic typo.dead-letters" in done.stderr


@pytest.mark.parametrize("words", [(), ("t/0/1", "--all")])
def test_replay_wants_to_know_which(cluster: Cluster, words: tuple[str, ...]) -> None:
    """Ids or all of them."""
    done = program("dlq", "replay", *words, *ARGUMENTS)
    assert done.exit_code == 2
    assert "which dead letters?" in done.stderr


def test_submit_publishes_on_the_bus(cluster: Cluster) -> None:
    """The run's id is the record's key."""
    done = program("submit", "h2", "--at", URL, "--run", "mine")
    assert done.exit_code == 0, done.stderr
    [record] = [record for log in cluster.logs["t"] for record in log]
    assert record.key == b"mine"
    assert "varloop watch mine --store URL" in done.stdout


def test_workers_do_not_share_memory(cluster: Cluster) -> None:
    """A store in memory is refused before anything is joined."""
    done = program("worker", *ARGUMENTS, "--store", "memory:")
    assert done.exit_code == 2
    assert "cannot share a store in memory" in done.stderr


@pytest.mark.parametrize("probes", [(), ("--probes", "0"), ("--probes", "127.0.0.1:0")])
def test_a_worker_says_what_it_hosts_until_it_is_told_to_stop(
    cluster: Cluster, tmp_path: Path, probes: tuple[str, ...]
) -> None:
    """Its functions, its bus, and its probes if it has any; SIGTERM makes it leave its groups and end well."""

    def stop() -> None:
        with cluster.news:
            hosted = cluster.news.wait_for(lambda: cluster.groups["t.encode"], timeout=20)
        if hosted:
            os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    words = ("worker", *ARGUMENTS, "--store", str(tmp_path), "--function", "encode", *probes)
    done = program(*words)
    stopper.join()

    assert done.exit_code == 0, done.output
    hosting, *rest = done.stdout.splitlines()
    assert hosting == f"hosting encode on {URL}"
    assert len(rest) == bool(probes)
    assert all(line.startswith("probes on http://127.0.0.1:") and ":0/" not in line for line in rest)
    assert not any(cluster.groups.values())


@pytest.mark.parametrize("words", [("--concurrency", "0"), ("--grace", "-1"), ("--log-format", "xml")])
def test_a_worker_that_could_not_work_is_refused(
    cluster: Cluster, tmp_path: Path, words: tuple[str, str]
) -> None:
    """Before anything is joined: with no threads it gave every record up."""
    done = program("worker", *ARGUMENTS, "--store", str(tmp_path), *words)
    assert done.exit_code == 2
    assert words[0] in done.stderr
    assert not any(cluster.groups.values())


@pytest.mark.parametrize("probes", ["", "http", "65536", "::", "0.0.0.0:²"])
def test_probes_need_a_port(cluster: Cluster, probes: str) -> None:
    """What is no port is a wrong command line that shows a right one."""
    done = program("worker", *ARGUMENTS, "--probes", probes)
    assert done.exit_code == 2
    assert f"{probes!r} is not a port" in done.stderr
    assert "--probes 0.0.0.0:8080" in done.stderr


def test_gc_says_what_it_would_do(tmp_path: object) -> None:
    """An empty store has nothing to remove."""
    assert program("gc", "--store", str(tmp_path)).stdout == "would remove 0 runs and 0 other objects\n"
