from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import varloop


def test_the_door_lists_its_names_in_order() -> None:
    """`__all__` is sorted, has no name twice, and is what `dir` shows."""
    assert varloop.__all__ == sorted(set(varloop.__all__))
    assert dir(varloop) == varloop.__all__


@pytest.mark.parametrize("name", varloop.__all__)
def test_every_listed_name_is_there(name: str) -> None:
    """Each public name can be had from the door, and says where it is defined."""
    value = getattr(varloop, name)

    assert name == "__version__" or value.__module__.startswith("varloop.")


ROOT = Path(__file__).parents[1]
PUBLIC = {"varloop", *re.findall(r":mod:`([\w.]+)`", varloop.__doc__ or "")}
SHOWN = [
    *sorted((ROOT / "examples").glob("*.py")),
    *sorted((ROOT / "sdk/varloop/cli/scaffold").glob("*.py.in")),
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def imported(text: str) -> Iterator[tuple[str, str]]:
    """Modules of varloop that a program imports, each with the names it takes from them."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((each.name, "") for each in node.names if each.name.startswith("varloop"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("varloop"):
            yield from ((node.module or "", each.name) for each in node.names)


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.name)
def test_what_is_shown_to_people_is_public(path: Path) -> None:
    """Examples, the scaffold of a new project and the pages import nothing that the door does not list."""
    text = path.read_text("utf-8")
    programs = [text] if path.suffix != ".md" else re.findall(r"```python\n(.*?)```", text, re.DOTALL)

    for program in programs:
        for module, name in imported(program):
            assert module in PUBLIC
            assert not name or name in import_module(module).__all__, f"{module}.{name}"


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name is reported as such."""
    with pytest.raises(AttributeError, match="module 'varloop' has no attribute 'sumbit'"):
        _ = varloop.sumbit


def test_opening_the_door_loads_nothing() -> None:
    """`import varloop` imports no other module of varloop and no library."""
    program = "import sys, varloop; print(*(name.partition('.')[0] for name in sys.modules))"
    run = [sys.executable, "-c", program]
    loaded = set(subprocess.run(run, check=True, capture_output=True, text=True).stdout.split())

    assert not loaded & {"click", "cloudevents", "flask", "msgspec", "numpy", "qiskit", "qiskit_aer", "scipy"}
