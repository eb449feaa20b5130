from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.program import Program
from varloop.cli import doctor
from varloop.cli.doctor import Finding


def test_a_new_project_runs_as_its_readme_says(program: Program) -> None:
    """Every command that the README of a scaffolded project prints works as printed, the server's aside."""
    program("new", "my-loop")
    folder = program.folder / "my-loop"
    readme = (folder / "README.md").read_text()
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^    (.*)", readme, re.MULTILINE)]
    programs = {"varloop": ["-c", "from varloop.cli import main; main()"], "python": []}

    ran = []
    for name, *words in commands:
        if "serve" not in words:
            command = [sys.executable, *programs[name], *words]
            result = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, timeout=50
            )
            assert result.returncode == 0, result.stdout + result.stderr
            ran.append(result.stdout)

    assert "completed after 20 iterations" in ran[0]
    assert "2 passed" in ran[1]


def test_a_new_project_is_in_good_style(program: Program) -> None:
    """The scaffolded code passes varloop's own formatter and linter."""
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    assert ruff is not None
    program("new", "my-loop")

    for check in (["format", "--check"], ["check", "--select", "E,F,I,B,UP"]):
        result = subprocess.run(
            [ruff, *check, "--isolated", "--line-length", "110", "my-loop"],
            cwd=program.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr


def test_a_new_project_overwrites_nothing(program: Program) -> None:
    """A folder that exists is left alone; a name that no pipeline can have is refused."""
    (program.folder / "mine").mkdir()

    assert "mine exists already, nothing was changed" in program("new", "mine", code=2).stderr
    assert "cannot be a pipeline's name" in program("new", "../mine", code=2).stderr
    assert "default is the pipeline of varloop's own steps" in program("new", "default", code=2).stderr
    assert list((program.folder / "mine").iterdir()) == []


def test_the_doctor_finds_this_installation_sound(program: Program) -> None:
    """Python, packages, functions, simulator and store are all looked at, and the store is left as it was."""
    found = {each["what"]: each for each in program.json("doctor")}

    assert {"Python", "varloop", "qiskit", "functions", "simulator", "store", "[kafka]", "[ibm]"} <= set(
        found
    )
    assert all(each["state"] != "bad" for each in found.values())
    assert not [path for path in (program.folder / ".varloop").rglob("*") if path.is_file()]


def test_the_doctor_says_what_to_do(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is broken is marked, comes with what to do, and the exit code is 1."""
    (program.folder / "file").write_text("")
    monkeypatch.setattr(doctor, "_simulator", lambda: Finding("simulator", "bad", "broken", "mend it"))

    result = program("doctor", "--store", "file", code=1)

    assert re.search(r"^BAD +simulator +broken  ->  mend it$", result.stdout, re.MULTILINE)
    assert re.search(r"^BAD +store .*  ->  \S", result.stdout, re.MULTILINE)
    assert re.search(r"^ok +Python", result.stdout, re.MULTILINE)


def test_a_missing_extra_comes_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each extra of the distribution is looked at; one that lacks a package says how to install it."""
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "minio" else "1.0")

    found = {each.what: each for each in doctor._extras()}

    assert found["[s3]"] == Finding(
        "[s3]", "absent", "certifi 1.0, minio missing", "pip install 'certifi' 'minio>=7.2'"
    )
    assert found["[kafka]"].state == "ok"


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o"), ("zsh", "#compdef varloop"), ("fish", "complete ")]
)
def test_completion_prints_a_script(program: Program, shell: str, mark: str) -> None:
    """Each shell gets the script that asks varloop itself."""
    script = program("completion", shell).stdout

    assert mark in script
    assert f"_VARLOOP_COMPLETE={shell}_complete" in script


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("varloop ru", "run"),
        ("varloop run h2-", "h2-shots"),
        ("varloop status m", "mine"),
        ("varloop run --s", "--store"),
    ],
)
def test_commands_examples_options_and_runs_are_completed(
    program: Program, words: str, expected: str
) -> None:
    """The shell is offered commands, the names of examples, options, and the runs of the store."""
    program("run", "toy.yaml", "--app", "app.py", "--run", "mine")
    environment = {
        "_VARLOOP_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, "-c", "from varloop.cli import main; main()"]
    result = subprocess.run(
        command, cwd=program.folder, env=environment, capture_output=True, text=True, check=False
    )

    assert f"plain,{expected}" in result.stdout.splitlines()
