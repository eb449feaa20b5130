from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import toy
from cli.program import RUN, Program
from host.served import serving
from varloop.client import embedded
from varloop.store.memory import MemoryStore

SLOW = ("--set", "optimizer.options.seconds=0.05", "--set", "budget.iterations=1000")


@pytest.fixture
def url() -> Iterator[str]:
    """The address of a server with the toy pipeline."""
    with serving(MemoryStore()) as server:
        yield f"http://127.0.0.1:{server.port}"


def submit(program: Program, url: str, *more: str) -> str:
    """Submit the toy's spec as the run ``mine``."""
    words = ("submit", "toy.yaml", "--at", url, "--pipeline", "toy", "--run", "mine")
    return program(*words, *more).stdout


def test_a_submitted_run_goes_on_elsewhere(program: Program, url: str) -> None:
    """submit does not wait and prints the command that follows the run, which shows its end."""
    output = submit(program, url)

    assert output == f"submitted mine\n  watch it    varloop watch mine --at {url}\n"
    lines = program("watch", "mine", "--at", url).stdout.splitlines()
    assert lines[0] == "iteration    1  value 0.380778  lowest 0.380778"
    assert "completed after 6 iterations: the budget of iterations is used up" in lines


def test_a_server_is_asked_as_a_store_is(program: Program, url: str) -> None:
    """status, runs and watch give the same whether they ask a server or a store."""
    submit(program, url)
    lines = program("watch", "mine", "--at", url, "--json").stdout.splitlines()

    assert [json.loads(line)["iteration"] for line in lines] == list(range(7))
    assert program.json("status", "mine", "--at", url)["state"] == "completed"
    assert [each["run"] for each in program.json("runs", "--at", url)] == ["mine"]
    assert "no such run" in program("status", "none", "--at", url, code=3).stderr


def test_a_run_elsewhere_is_cancelled(program: Program, url: str) -> None:
    """cancel --at ends a run that would go on for a minute; who watches it learns that it has no result."""
    submit(program, url, *SLOW)

    assert "asked" in program("cancel", "mine", "--at", url, "--reason", "enough").stdout

    assert "cancelled: enough" in program("watch", "mine", "--at", url, code=1).stdout


def test_a_run_of_the_store_is_cancelled_without_its_process(program: Program) -> None:
    """cancel ends a stopped run; doing it again says that it has ended."""
    embedded(".varloop", [toy.app]).submit(toy.SPEC, run="mine", pipeline="toy")

    first = program("cancel", "mine", "--app", "app.py", "--reason", "enough")
    again = program("cancel", "mine", "--app", "app.py")

    assert first.stdout == "cancelled: enough\n"
    assert again.stdout == "run mine has ended already: cancelled\n"


def test_faults_are_found_before_anything_is_sent(program: Program) -> None:
    """A spec with faults never reaches the server, whether there is one or not."""
    words = ("submit", "maxcut", "--at", "http://127.0.0.1:9", "--set", "shots=-1", "--set", "seed=x")

    errors = program(*words, code=2).stderr.splitlines()

    assert errors[0] == "error: the spec has 2 faults"
    assert [line.partition(":")[0] for line in errors[1:3]] == ["  - shots", "  - seed"]


def test_the_faults_that_a_server_finds_are_told(program: Program, url: str) -> None:
    """What the server refuses is refused here, with its reason: here a pipeline that it does not have."""
    words = ("submit", "toy.yaml", "--at", url, "--pipeline", "other")

    assert "no pipeline 'other' here, only default, toy" in program(*words, code=2).stderr


def test_a_taken_run_id_has_one_exit_code(program: Program, url: str) -> None:
    """Whether a run is started here or submitted elsewhere: 2, and the run that has the id is untouched."""
    submit(program, url)
    program(*RUN)

    here = program(*RUN, "--set", "seed=9", code=2).stderr
    there = program(
        "submit", "toy.yaml", "--at", url, "--pipeline", "toy", "--run", "mine", "--set", "seed=9", code=2
    ).stderr

    assert "run mine: this run id belongs to another spec" in here
    assert "run mine: this run id belongs to another spec" in there


def test_a_server_that_does_not_answer_has_its_own_exit_code(program: Program) -> None:
    """Exit code 4 means: try again; the address is in the message."""
    result = program("runs", "--at", "http://127.0.0.1:9", code=4)

    assert result.stderr.startswith("error: http://127.0.0.1:9 does not answer: ")
    assert result.stderr.endswith("  try: varloop serve\n")


def test_a_password_in_a_url_is_not_shown(program: Program) -> None:
    """Secrets are masked in messages."""
    result = program("runs", "--at", "http://me:hunter22@127.0.0.1:9", code=4)

    assert "hunter22" not in result.output
    assert "http://127.0.0.1:9" in result.output


def test_what_is_no_server_is_said_to_be_none(program: Program) -> None:
    """An address of another scheme, and a server that speaks something else, are told apart."""

    class Other(BaseHTTPRequestHandler):
        """A server of another kind."""

        def do_GET(self) -> None:
            """Know nothing."""
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    assert "is not the URL of a server" in program("runs", "--at", "kafka://x", code=2).stderr
    with HTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.handle_request)
        thread.start()
        result = program("runs", "--at", f"http://127.0.0.1:{other.server_port}", code=2)
        thread.join()
    assert "is this a varloop server?" in result.stderr


def test_what_cannot_be_a_runs_id_is_told_before_anything_is_published(program: Program) -> None:
    """An event under such an id would end as a dead letter: submit refuses it, whatever it submits to."""
    refused = program("submit", "maxcut", "--run", "no/id", "--at", "kafka://127.0.0.1:1/t", code=2)

    assert "'no/id' is not a run id" in refused.stderr
