"""The documents say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml

from varloop import optimizers
from varloop.host import load_pipelines
from varloop.host.server.bus import INBOX
from varloop.settings import Settings
from varloop.spec import Budget, CircuitSpec, Problem, RunSpec, parse
from varloop.store import layout

ROOT = Path(__file__).parents[1]
SPEC = (ROOT / "docs/spec.md").read_text("utf-8")


def names(struct: Any) -> list[str]:
    """Fields of a struct."""
    return [field.name for field in msgspec.structs.fields(struct)]


def row(name: str) -> str:
    """The line of a table whose first cell is this name."""
    (found,) = re.findall(rf"^\| `{name}` \|.*$", SPEC, re.MULTILINE)
    return str(found)


def test_the_spec_shown_is_whole_and_has_the_defaults() -> None:
    """Every field is there, with its default if it has one."""
    (shown,) = re.findall(r"```yaml\n(.*?)```", SPEC, re.DOTALL)
    data = yaml.safe_load(shown)
    spec = parse(data)

    assert (list(data), list(data["budget"])) == (names(RunSpec), names(Budget))
    assert spec == RunSpec(problem=spec.problem, circuit=spec.circuit)


@pytest.mark.parametrize("kind", get_args(Problem), ids=lambda kind: kind.__name__)
def test_every_problem_is_explained(kind: Any) -> None:
    """Each kind has a line with its own fields; what binary problems share is said once."""
    line = row(kind.__struct_config__.tag)

    assert all(f"`{name}`" in line for name in names(kind) if name not in ("layers", "cvar"))
    assert all(f"`{name}`" in SPEC for name in (*names(kind), *names(CircuitSpec)) if name != "options")


def test_every_place_in_a_store_is_explained() -> None:
    """The keys that layout.py spells, and those of the server, stand in the table of docs/architecture.md."""
    shown = (ROOT / "docs/architecture.md").read_text("utf-8")
    listed = re.findall(r"^\| ``([^`]+)`` \|", layout.__doc__ or "", re.MULTILINE)

    assert len(listed) > 6
    for key in (*listed, f"{INBOX}…", "probe/…"):
        assert f"`{key}`" in shown, key


def test_every_event_that_an_application_may_send_is_listed() -> None:
    """What some function takes and none emits, on the page about HTTP."""
    functions = [function for app in load_pipelines().apps for function in app.functions]
    taken = {body.type for function in functions for body in function.on}
    emitted = {body.type for function in functions for body in function.emits}
    listed = re.findall(
        r"^\| `(dev\.varloop\.[\w.]+)` \|", (ROOT / "docs/http.md").read_text("utf-8"), re.MULTILINE
    )

    assert sorted(listed) == sorted(taken - emitted)


OPERATING = (ROOT / "docs/operating.md").read_text("utf-8")


def test_every_setting_is_listed_with_its_default() -> None:
    """How patient the hosts are, on the page for those who run them."""
    listed = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", OPERATING, re.MULTILINE))

    assert {name: float(text) for name, text in listed.items()} == msgspec.to_builtins(Settings())


def test_every_variable_is_listed() -> None:
    """What the code reads from the environment is on the page."""
    sources = [path.read_text("utf-8") for path in (ROOT / "sdk/varloop").rglob("*.py")]
    read = {name for text in sources for name in re.findall(r"\bVARLOOP_[A-Z0-9_]+[A-Z]\b", text)}

    shell = {"VARLOOP_COMPLETE"}  # a shell sets it, for completion
    missing = {
        name for name in read - shell if name not in OPERATING and not name.startswith("VARLOOP_KAFKA_")
    }
    assert missing == set()


@pytest.mark.timeout(120)
def test_the_blocks_for_python_run(tmp_path: Path) -> None:
    """Those of docs/python.md, one after the other; what needs other machines says that it is not run."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text("utf-8"), re.DOTALL)
    program = "\n".join(block for block in blocks if not block.startswith("# not run here"))
    (tmp_path / "page.py").write_text(program)

    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert len(blocks) > 7
    for expected in ("has cost -3.0", "- optimizer.name: got 'newton'", "- shots: ", "completed -1."):
        assert expected in done.stdout, done.stdout


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """Every relative link names a file."""
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text("utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", optimizers.NAMES)
def test_every_option_is_listed_with_its_default(name: str) -> None:
    """Each optimizer has a line with all its options."""
    options = import_module(f"varloop.optimizers.{name.replace('-', '_')}").Options()
    listed = dict(re.findall(r"`(\w+)` \(([^)]+)\)", row(name)))

    assert list(listed) == names(options)
    for option, text in listed.items():
        default = getattr(options, option)
        assert text == "calibrated" if default is None else float(text) == pytest.approx(default, rel=0.02)
