from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest

from cli.program import RUN, Program
from varloop.cli import root
from varloop.cli.root import COMMANDS, Failure, cli


def imported(*words: str) -> set[str]:
    """Modules that a call of the program loads."""
    code = f"""
import sys
from varloop.cli.root import cli
try:
    cli({list(words)!r})
finally:
    print(*sys.modules, file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stderr.split())


def test_help_loads_nothing_heavy() -> None:
    """The overview of all commands answers without rich, NumPy or Qiskit."""
    assert not {"rich", "numpy", "qiskit", "flask", "cloudevents"} & imported("--help")


def test_every_command_explains_itself(program: Program) -> None:
    """Each has a help text that fits the overview, and can be debugged."""
    overview = program("--help").stdout
    for name in COMMANDS:
        help = program(name, "--help").stdout
        assert help.startswith(f"Usage: varloop {name} "), name
        assert "--debug" in help, name
        assert "\\b" not in help, name
        assert re.search(rf"^  {name} +\S", overview, re.MULTILINE), name


def test_the_documented_exit_codes_are_those_in_use() -> None:
    """What `varloop --help` says about exit codes is all there is."""
    listed = {int(code) for code in re.findall(r"^  (\d+) ", cli.epilog or "", re.MULTILINE)}
    used = (root.FAILED, root.USAGE, root.UNKNOWN_RUN, root.UNAVAILABLE, root.BUG, root.INTERRUPTED)

    assert listed == {0, *used}


def test_a_wrong_command_line_is_the_callers_fault(program: Program) -> None:
    """Unknown commands and options end with 2."""
    program("runn", code=2)
    program("run", "--nothing", code=2)


def test_a_bug_is_told_without_a_traceback(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """What varloop did not foresee is one line, with its own exit code, and no secret in it."""
    monkeypatch.setenv("SOME_TOKEN", "hunter22")
    monkeypatch.setattr("varloop.cli.specs.read", lambda name: 1 / 0 if name == "x" else int("hunter22"))

    result = program("run", "x", code=70)
    assert result.stderr.splitlines() == [
        "error: a bug in varloop, ZeroDivisionError: division by zero",
        "  try: the same command with --debug shows where",
    ]
    assert "hunter22" not in program("run", "y", code=70).output


def test_debug_shows_where(program: Program) -> None:
    """With --debug errors come as Python shows them, and as they come without."""
    process = program.start("status", "none", "--debug")
    _, errors = process.communicate(timeout=20)

    assert "Traceback (most recent call last)" in errors
    assert "UnknownRun" in errors


def test_an_error_of_the_store_may_pass(program: Program) -> None:
    """A store that cannot be used now ends with 4 and names the folder."""
    (program.folder / "file").write_text("")

    result = program(*RUN, "--store", "file/inside", code=4)

    assert f"error: folder:{program.folder}/file/inside: Not a directory" in result.stderr


def test_a_run_id_that_cannot_be_one_is_refused(program: Program) -> None:
    """Ids that would leave their folder, or that no event can carry, are told what they must look like."""
    for bad in ("../x", "a b", "x" * 200):
        assert program(*RUN[:4], "--run", bad, code=2).stderr.startswith("error: "), bad


def test_an_interrupt_is_no_error(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C anywhere ends with 130 and without noise."""

    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("varloop.cli.specs.read", interrupt)

    assert program("check", "h2", code=130).output.strip() == ""


def test_the_version_is_told(program: Program) -> None:
    """--version has varloop's version and Python's."""
    assert re.fullmatch(r"varloop \d+\.\d+\.\d+, Python 3\.\d+\.\d+\n", program("--version").stdout)


def test_failures_are_clicks_own() -> None:
    """Programs that call the command object get Click's exceptions, with the original inside."""
    error = ValueError("x")

    failure = Failure(error)

    assert isinstance(failure, click.ClickException)
    assert failure.error is error
