from __future__ import annotations

import io
import json
import re
from collections.abc import Callable

import msgspec
import pytest
from rich.console import Console

import toy
from cli.program import RUN, Program
from varloop.cli.status import APPEAR, QUIET, await_submission, poll, table
from varloop.client import EmbeddedClient, embedded
from varloop.context import Resources
from varloop.errors import UnknownRun
from varloop.runs import RunState
from varloop.runs.follow import LOOK
from varloop.store import open_store
from varloop.store.layout import index_key
from varloop.store.memory import MemoryStore
from varloop.testing import FakeClock


class Driver(FakeClock):
    """A clock during whose sleep another process does something.

    :param act: called at each sleep.
    """

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.sleeps: list[float] = []
        self._act = act

    def sleep(self, seconds: float) -> None:
        """Let the other process act."""
        self.sleeps.append(seconds)
        super().sleep(seconds)
        self._act()


def test_status_tells_where_a_run_stands(program: Program) -> None:
    """Pipeline, time of submission, result and shots of a completed run."""
    program(*RUN, "--set", "shots=100")

    head, *lines = program("status", "mine").stdout.splitlines()

    assert head.startswith("run mine, pipeline toy, submitted 2")
    assert lines[0] == "completed after 6 iterations: the budget of iterations is used up"
    assert lines[-1] == "  shots       1,200"
    assert "±" in lines[1]


def test_status_of_a_stopped_run_says_how_to_go_on(program: Program) -> None:
    """A run that has not ended comes with the exact command that resumes it."""
    embedded(".varloop", [toy.app]).submit(toy.SPEC, run="mine", pipeline="toy")

    lines = program("status", "mine", "--store", ".varloop").stdout.splitlines()

    assert lines[1:] == [
        "not ended, 0 iterations so far",
        "  resume      varloop resume mine --store .varloop",
    ]


def test_status_of_a_failed_run_says_why(program: Program) -> None:
    """Asking for the state of a failed run is no failure: exit code 0, with the reason."""
    program(*RUN, "--set", "optimizer.options.broken=1", code=1)

    assert "PermanentError in execute: the toy broke as told" in program("status", "mine").stdout


def test_an_unknown_run_has_its_own_exit_code(program: Program) -> None:
    """Exit code 3 and the store that was asked, for every command that takes a run."""
    program(*RUN)
    for command in ("status", "watch", "resume", "cancel", "report"):
        result = program(command, "none", code=3)
        assert "error: run none: folder:" in result.stderr, command


def test_what_is_no_run_id_is_a_wrong_command_line(program: Program) -> None:
    """It is refused before any store is asked, with where to find the ids there are."""
    for command in ("status", "watch", "resume", "cancel", "report"):
        stderr = program(command, "../mine", code=2).stderr
        assert stderr == "error: '../mine' is not a run id\n  try: varloop runs\n", command


def test_runs_lists_the_newest_first(program: Program) -> None:
    """All runs of the store with state, value and shots."""
    program(*RUN)
    program(*RUN[:4], "--run", "later", "--set", "shots=100")

    lines = program("runs").stdout.splitlines()

    assert lines[0].split() == ["run", "state", "iterations", "value", "shots", "submitted"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["later", "completed", "6"],
        ["mine", "completed", "6"],
    ]
    assert [each["run"] for each in program.json("runs")] == ["later", "mine"]


def test_a_damaged_run_hides_no_other(program: Program) -> None:
    """It is listed as unreadable; asking for it says why."""
    program(*RUN)
    damaged = program.folder / ".varloop/runs/later/submitted"
    damaged.parent.mkdir()
    damaged.write_text("junk")
    open_store(str(program.folder / ".varloop")).put(index_key(0.0, "later"), b"")

    lines = program("runs").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["mine", "completed"], ["later", "unreadable"]]
    assert "does not match its digest" in program("status", "later", code=1).stderr


@pytest.mark.parametrize(
    "words",
    [("runs",), ("gc",), *((name, "x") for name in ("status", "watch", "resume", "cancel", "report"))],
)
@pytest.mark.parametrize("store", [".varlop", "memory:"])
def test_a_store_that_is_not_there_is_an_error(words: tuple[str, ...], store: str, program: Program) -> None:
    """A mistyped name is no store without runs; and looking makes none."""
    program(*RUN)

    stderr = program(*words, "--store", store, code=2).stderr

    assert re.match(r"error: there is no store (folder:.*/\.varlop|memory:)\n  try: --store tells", stderr)
    assert not (program.folder / ".varlop").exists()


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (100, ["run", "state", "iterations", "value", "shots", "submitted"]),
        (85, ["run", "state", "iterations", "value", "shots"]),
        (60, ["run", "state", "value"]),
        (20, ["run", "state"]),
    ],
)
def test_ids_are_whole_whatever_the_width(width: int, columns: list[str]) -> None:
    """On a narrow terminal columns are left out, the least needed first; what is shown is not cut."""
    long = "a-run-whose-name-is-long-0123456789"
    state = RunState(
        run=long, state="completed", pipeline="toy", submitted=1.0, iterations=60, value=-1.25, shots=6000
    )
    console = Console(width=width, file=io.StringIO())

    table([state, msgspec.structs.replace(state, run="mine")], console)

    head, *lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert head.split() == columns
    assert [line.split()[:2] for line in lines] == [[long, "completed"], ["mine", "completed"]]


def test_an_empty_store_says_how_to_begin(program: Program) -> None:
    """No runs is no error."""
    (program.folder / ".varloop").mkdir()

    assert program("runs").stdout == "no runs yet; start one:  varloop run h2\n"
    assert program.json("runs") == []


def test_watching_an_ended_run_shows_it_from_its_beginning(program: Program) -> None:
    """Every iteration and the result, as when it ran."""
    shown = program(*RUN).stdout.splitlines()[:-1]

    assert program("watch", "mine").stdout.splitlines() == shown


def test_watching_as_json_is_a_line_for_each_iteration(program: Program) -> None:
    """Programs read one iteration a line."""
    program(*RUN)

    lines = [json.loads(line) for line in program("watch", "mine", "--json").stdout.splitlines()]

    assert [line["iteration"] for line in lines] == list(range(7))
    assert [line["final"] for line in lines] == [False] * 6 + [True]


def test_watching_a_run_that_fails_fails(program: Program) -> None:
    """Whoever waits for a result learns by the exit code that there is none."""
    program(*RUN, "--set", "optimizer.options.broken=1", code=1)

    assert "the toy broke as told" in program("watch", "mine", code=1).stderr


def seen(client: EmbeddedClient, clock: FakeClock) -> Resources:
    """The client's store, as another process sees it."""
    return Resources(client.resources.store, clock, client.resources.types)


@pytest.fixture
def client() -> EmbeddedClient:
    """A client of the toy pipeline in memory."""
    return embedded("memory:", apps=[toy.app])


def test_a_run_is_watched_while_another_process_drives_it(client: EmbeddedClient) -> None:
    """Looking at the store now and then shows every iteration once, until the end."""
    run = client.submit(toy.SPEC, pipeline="toy")
    events = run.watch()
    clock = Driver(lambda: next(events, None))

    shown = list(poll(seen(client, clock), run.id, pytest.fail))

    assert shown == run.history()
    assert set(clock.sleeps) == {LOOK}


def test_a_run_that_nobody_drives_is_noticed(client: EmbeddedClient) -> None:
    """After a while without news it is said, once, and watching goes on."""
    run = client.submit(toy.SPEC, pipeline="toy")
    told: list[float] = []
    clock = Driver(lambda: clock.now() > 3 * QUIET + FakeClock().now() and client.host.drain())

    shown = list(poll(seen(client, clock), run.id, lambda: told.append(clock.now())))

    assert [time - FakeClock().now() for time in told] == [pytest.approx(QUIET, abs=3 * LOOK)]
    assert len(shown) == 7


def test_watching_nothing_fails() -> None:
    """A run that nobody takes up within the time for that is unknown; that one waits is said once."""
    told: list[str] = []
    clock = FakeClock()
    with pytest.raises(UnknownRun, match="none"):
        await_submission(Resources(MemoryStore(), clock), "none", lambda: told.append("waiting"))

    assert told == ["waiting"]
    assert clock.now() - FakeClock().now() == pytest.approx(APPEAR, abs=2 * LOOK)


def test_a_run_is_awaited_that_a_worker_takes_up_later(client: EmbeddedClient) -> None:
    """What was submitted to a bus lies in no store until a worker begins with it."""
    clock = Driver(lambda: client.submit(toy.SPEC, run="late", pipeline="toy"))

    await_submission(seen(client, clock), "late", lambda: None)

    assert len(clock.sleeps) == 1


def test_the_history_as_data(program: Program) -> None:
    """CSV with a line of names, or the same rows as JSON; a run that is not there is an error."""
    program(*RUN)
    lines = program("history", "mine").stdout.splitlines()
    rows = json.loads(program("history", "mine", "--format", "json").stdout)

    assert lines[0].split(",")[:6] == ["iteration", "final", "value", "error", "lowest", "shots"]
    assert len(lines) - 1 == len(rows) == 7
    assert [float(line.split(",")[2]) for line in lines[1:]] == [row["value"] for row in rows]
    program("history", "none", code=3)


def test_a_record_is_replayed(program: Program) -> None:
    """The same numbers again, bit for bit."""
    program(*RUN)

    assert (
        program("replay", "mine", "--app", "app.py").stdout
        == "run mine: 7 iterations of 7 the same, bit for bit\n"
    )
