"""Kafka's commands, against a fake cluster; the real one is in the services' suite."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import varloop.bus.kafka
from bus.fake_kafka import URL, Cluster
from varloop.bus import DeadLetter
from varloop.bus.kafka import KafkaBus
from varloop.cli.root import cli

ARGUMENTS = ("--bus", URL)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster that every bus opened in this test is on."""
    cluster = Cluster({"t": 3, "t.dead": 1})
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


def test_submit_publishes_on_the_bus(cluster: Cluster) -> None:
    """The run's id is the record's key."""
    done = program("submit", "h2", "--to", URL, "--run", "mine")
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


@pytest.mark.parametrize("probes", ["", "http", "65536", "::", "0.0.0.0:²"])
def test_probes_need_a_port(cluster: Cluster, probes: str) -> None:
    """What is no port is a wrong command line that shows a right one."""
    done = program("worker", *ARGUMENTS, "--probes", probes)
    assert done.exit_code == 2
    assert f"{probes!r} is not a port" in done.stderr
    assert "--probes 0.0.0.0:8080" in done.stderr


def test_gc_says_what_it_would_do(tmp_path: object) -> None:
    """An empty store has nothing to remove."""
    assert program("gc", "--store", str(tmp_path)).stdout == "would remove 0 runs, 0 objects\n"
