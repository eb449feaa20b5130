from __future__ import annotations

import io
import signal
from pathlib import Path

import pytest

import toy
from cli.program import RUN, Program
from varloop import runs
from varloop.client import embedded
from varloop.store.folder import FolderStore
from varloop.testing import FakeClock

PLAIN = """\
run mine: energy on aer, exact, spsa, seed 0
iteration    1  value 0.380778  lowest 0.380778
iteration    2  value -0.426328  lowest -0.426328
iteration    3  value -1.107874  lowest -1.107874
iteration    4  value -1.411245  lowest -1.411245
iteration    5  value -1.484549  lowest -1.484549
iteration    6  value -1.497491  lowest -1.497491
final point     value -1.499598  lowest -1.499598
completed after 6 iterations: the budget of iterations is used up
  value       -1.499598 (exact)
  parameters  0.0272 0.0117
  report      varloop report mine
"""


def test_without_a_terminal_a_run_prints_plain_lines(program: Program) -> None:
    """Each iteration is a line, then come the result and the command that makes its page."""
    assert program(*RUN).stdout == PLAIN


def test_a_long_run_prints_every_few_iterations(program: Program) -> None:
    """A thousand iterations are some 25 lines, the first and the last among them."""
    lines = program(*RUN, "--set", "budget.iterations=1000").stdout.splitlines()

    numbers = [int(line.split()[1]) for line in lines if line.startswith("iteration")]
    assert numbers == [1, *range(50, 1001, 50)]


def test_json_is_the_final_state_alone(program: Program) -> None:
    """For programs there is one JSON object on standard output and nothing else."""
    state = program.json(*RUN)

    assert (state["run"], state["state"], state["iterations"]) == ("mine", "completed", 6)
    assert state["outcome"]["value"] == pytest.approx(-1.499598, abs=1e-6)


def test_a_run_is_named_after_its_spec(program: Program) -> None:
    """Without --run the id begins with the spec's name and is new each time."""
    names = {program.json(*RUN[:4])["run"] for _ in range(2)}

    assert len(names) == 2
    assert all(name.startswith("toy-") for name in names)


def test_fields_of_the_spec_may_be_set(program: Program) -> None:
    """--set reaches inside the spec, and its values are YAML."""
    state = program.json(*RUN, "--set", "shots=100", "--set", "budget.iterations=2")

    assert (state["iterations"], state["shots"]) == (2, 800)


def test_a_spec_may_come_from_standard_input(program: Program) -> None:
    """- reads the spec from a pipe."""
    text = (program.folder / "toy.yaml").read_text()

    assert "completed" in program("run", "-", "--app", "app.py", text=text).stdout


def test_a_failed_run_says_why_and_what_to_do(program: Program) -> None:
    """Exit code 1, the function and the reason on standard error, no traceback."""
    result = program(*RUN, "--set", "optimizer.options.broken=2", code=1)

    assert result.stderr.splitlines() == [
        "error: run mine: PermanentError in execute: the toy broke as told",
        "  try: do not tell it to",
    ]
    assert "failed" in result.stdout


def test_a_taken_run_id_is_refused(program: Program) -> None:
    """Another spec under the id of an existing run is a mistake that leaves the run alone."""
    program(*RUN)

    result = program(*RUN, "--set", "seed=8", code=2)

    assert "run mine: this run id belongs to another spec" in result.stderr
    assert program.json("status", "mine")["iterations"] == 6


def interrupted(program: Program, iterations: int) -> None:
    """A run of the toy whose process died after some iterations."""
    client = embedded(FolderStore(program.folder / ".varloop"), [toy.app])
    run = client.submit(toy.SPEC, run="mine", pipeline="toy")
    for event in run.watch():
        if event.iteration == iterations:
            return


def test_a_run_is_stopped_with_its_result(program: Program) -> None:
    """Who goes on with a run that was asked to stop ends it well; once it has ended there is nothing to stop."""
    interrupted(program, 2)

    assert "asked whoever drives mine to stop it" in program("stop", "mine", "--app", "app.py").stdout
    assert (
        "completed after 3 iterations: stopped as asked"
        in program("resume", "mine", "--app", "app.py").stdout
    )
    assert program("stop", "mine", "--app", "app.py").stdout == "run mine has ended already: completed\n"


def test_a_stopped_run_is_resumed_to_the_same_end(program: Program) -> None:
    """Resuming prints what a run without the interruption prints."""
    interrupted(program, 3)

    assert program("resume", "mine", "--app", "app.py").stdout == PLAIN


def test_an_ended_run_may_be_resumed_and_just_says_so(program: Program) -> None:
    """Resuming an ended run tells its result again, and needs no app for it."""
    program(*RUN)

    assert program("resume", "mine").stdout == PLAIN


def test_resuming_without_the_runs_own_functions_says_which_are_missing(program: Program) -> None:
    """The message names the pipeline and the exact command; the run is not harmed."""
    interrupted(program, 3)

    result = program("resume", "mine", code=2)

    assert result.stderr.splitlines() == [
        "error: run mine belongs to pipeline 'toy', which is not here; only default",
        "  try: varloop resume mine --app FILE",
    ]
    assert "completed" in program("resume", "mine", "--app", "app.py").stdout


def test_ctrl_c_leaves_a_run_that_can_be_resumed(program: Program) -> None:
    """An interrupt ends the program with 130 and the exact command, which ends the run as if nothing had been."""
    words = (*RUN, "--store", "else where", "--set", "optimizer.options.seconds=0.05")
    process = program.start(*words)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("iteration    2"):
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)

    assert process.returncode == 130
    assert errors == (
        "\nstopped; nothing is lost. Go on with:  varloop resume mine --store 'else where' --app app.py\n"
    )
    assert program.json("status", "mine", "--store", "else where")["state"] == "running"
    ended = program("resume", "mine", "--store", "else where", "--app", "app.py").stdout
    assert "value       -1.499598 (exact)" in ended


def test_a_run_that_another_process_cancels_ends_here_too(program: Program) -> None:
    """The process that drives a run notices that it was cancelled, before its next job."""
    process = program.start(*RUN, "--set", "optimizer.options.seconds=0.05", "--set", "budget.iterations=500")
    assert process.stdout is not None
    while not process.stdout.readline().startswith("iteration   20"):
        pass
    program("cancel", "mine", "--reason", "enough", "--app", "app.py")
    output, errors = process.communicate(timeout=20)

    assert process.returncode == 1
    assert "cancelled: enough" in output
    assert errors == ""
    assert program.json("status", "mine")["state"] == "cancelled"


def test_an_app_is_found_by_file_name_or_module(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """--app takes FILE, FILE:NAME or a module; what is no App is refused by name."""
    monkeypatch.syspath_prepend(tmp_path)
    for app in ("app.py:app", "toy"):
        assert program.json("run", "toy.yaml", "--app", app)["state"] == "completed"
    for app, reason in (
        ("app.py:nothing", "app.py has no App named 'nothing'"),
        ("none.py", "there is no file none.py"),
        ("no.such", "no module named 'no'"),
    ):
        assert reason in program("run", "toy.yaml", "--app", app, code=2).stderr


def test_a_run_on_a_terminal_is_redrawn(program: Program) -> None:
    """The screen shows progress, the value with its error, its history, shots and the best solution."""
    from rich.console import Console

    from varloop.cli.progress import Plan, Screen
    from varloop.events import Solution
    from varloop.spec import parse

    plan = Plan("mine", parse({**toy.SPEC, "shots": 100, "budget": {"iterations": 4, "shots": 900}}))
    console = Console(width=90, force_terminal=False)
    screen = Screen(plan, FakeClock(), io.StringIO())
    with console.capture() as before:
        console.print(screen)
    for k, value in enumerate((3.0, 1.0)):
        solution = Solution(bits="01", cost=-1.0, probability=0.5)
        screen.show(
            runs.Iteration(
                iteration=k, value=value, error=0.1, lowest=value, shots=100 * k + 100, solution=solution
            )
        )
    with console.capture() as after:
        console.print(screen)

    assert "compiling the circuit" in before.get()
    for expected in (
        "mine",
        "2/4",
        "1.00 ± 0.10",
        "lowest 1.00",
        "█▁",
        "200 of 900",
        "01 (variable 0 first)",
        "cost -1",
    ):
        assert expected in after.get()
