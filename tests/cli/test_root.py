from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

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
    assert program("runn", code=2).stderr == "error: there is no command 'runn'\n  try: varloop run\n"
    assert program("xyz", code=2).stderr.endswith("  try: varloop --help\n")
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
    assert "UsageError" in errors


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


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("status", "none"), 2, "UsageError"),
        (("run", "toy.yaml", "--set", "shots=x", "--app", "app.py"), 2, "SpecError"),
        (("runs", "--at", "http://127.0.0.1:9"), 4, "TemporaryError"),
        (("run", "--nothing"), 2, "UsageError"),
        (("rum",), 2, "UsageError"),
    ],
)
def test_an_error_for_a_program_is_json(
    words: tuple[str, ...], code: int, error: str, program: Program
) -> None:
    """With --json standard error is one object, and standard output is left alone."""
    result = program(*words, "--json", code=code)
    told = json.loads(result.stderr)

    assert result.stdout == ""
    assert (told["error"], told["exit_code"]) == (error, code)
    assert len(told["faults"]) == (1 if error == "SpecError" else 0)
    assert told["detail"]


def on_a_terminal(folder: Path, environment: dict[str, str], *words: str) -> str:
    """What a command prints on a terminal."""
    parent, child = pty.openpty()
    command = [sys.executable, "-c", "from varloop.cli import main; main()", *words]
    variables = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    process = subprocess.Popen(
        command, stdin=child, stdout=child, stderr=child, cwd=folder, env=variables | environment
    )
    os.close(child)
    shown = b""
    with suppress(OSError):  # what reading raises at the end
        while some := os.read(parent, 65536):
            shown += some
    os.close(parent)
    process.wait(timeout=20)
    return shown.decode()


@pytest.mark.parametrize("words", [("run", "toy.yaml", "--app", "app.py"), ("status", "none"), ("runs",)])
def test_colour_is_a_choice(words: tuple[str, ...], program: Program) -> None:
    """NO_COLOR takes the colours away, and a terminal that knows no codes gets none."""
    program(*RUN)

    assert "\x1b[3" in on_a_terminal(program.folder, {"TERM": "xterm"}, *words)
    assert "\x1b" not in on_a_terminal(program.folder, {"TERM": "dumb"}, *words)
    assert not re.search(
        r"\x1b\[[\d;]*3\d", on_a_terminal(program.folder, {"TERM": "xterm", "NO_COLOR": "1"}, *words)
    )


@pytest.mark.parametrize(
    "words", [("runs",), ("run", "toy.yaml", "--app", "app.py"), ("report", "mine", "-o", "-")]
)
def test_a_full_disk_is_no_bug(words: tuple[str, ...], program: Program) -> None:
    """Output that cannot be written ends with 4 and says so, once."""
    program(*RUN)
    command = [sys.executable, "-c", "from varloop.cli import main; main()", *words]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, cwd=program.folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.stderr == "error: the output cannot be written: No space left on device\n"
    assert done.returncode == 4


def test_failures_are_clicks_own() -> None:
    """Programs that call the command object get Click's exceptions, with the original inside."""
    error = ValueError("x")

    failure = Failure(error)

    assert isinstance(failure, click.ClickException)
    assert failure.error is error
