from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cli.program import Program

TOY = ("--app", "app.py")


@contextmanager
def serving(program: Program, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its address."""
    process = program.start("serve", "--port", "0", *TOY, *words)
    assert process.stdout is not None
    first = process.stdout.readline()
    found = re.match(r"listening on (http://127\.0\.0\.1:\d+)  \(store ", first)
    assert found is not None, first
    try:
        yield process, found[1]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_server_stops_when_told_and_the_next_one_goes_on(program: Program, how: signal.Signals) -> None:
    """A signal lets it finish the job under way and end well; its runs go on under the next server."""
    with serving(program) as (process, url):
        slow = ("--set", "optimizer.options.seconds=0.1", "--pipeline", "toy", "--run", "mine")
        program("submit", "toy.yaml", "--at", url, *slow)
        process.send_signal(how)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors.count("\n")) == (0, 1)
    assert program.json("status", "mine")["state"] == "running"

    with serving(program) as (process, url):
        assert process.stdout is not None
        assert process.stdout.readline() == "going on with mine\n"
        assert "completed after 6 iterations" in program("watch", "mine", "--at", url).stdout


def test_a_port_that_is_taken_is_said_to_be(program: Program) -> None:
    """The message has the address and what to do."""
    with serving(program) as (_, url):
        port = url.rpartition(":")[2]
        result = program("serve", "--port", port, *TOY, code=2)

    assert (
        result.stderr
        == f"error: cannot listen on 127.0.0.1:{port}: Address already in use\n  try: --port 0\n"
    )
