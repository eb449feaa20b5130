from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from varloop import errors
from varloop.errors import MissingExtra, RunEnded, SpecError, StoreUnavailable, TemporaryError, VarloopError

DOCS = Path(__file__).parents[2] / "docs" / "errors.md"
_LINE = re.compile(r"(?m)^(?P<indent>[│ ]*)(?:[├└]── )?(?P<name>[A-Z]\w+)(?: {2,}(?P<meaning>.+))?$")


def drawn(text: str) -> dict[str, str]:
    """Name of the parent of every class in a drawn tree; the root's is empty."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for match in _LINE.finditer(text):
        if "──" not in match.group() and path:
            continue
        depth = len(match["indent"]) // 4 + ("──" in match.group())
        path[depth:] = [match["name"]]
        parents[match["name"]] = path[depth - 1] if depth else ""
    return parents


def declared() -> dict[str, str]:
    """Name of the parent of every error class of varloop; the root's is empty."""
    classes = [
        kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, VarloopError)
    ]
    return {kind.__name__: kind.__bases__[0].__name__ if kind is not VarloopError else "" for kind in classes}


def test_the_drawn_tree_is_the_real_one() -> None:
    """The tree at the top of the module has every class under its base, and no other."""
    assert errors.__doc__ is not None
    assert drawn(errors.__doc__) == declared()


def test_the_documented_tree_is_the_real_one() -> None:
    """The tree in the documentation is the module's, word for word."""
    assert errors.__doc__ is not None
    tree = errors.__doc__[errors.__doc__.index("VarloopError\n") :].strip()

    assert tree in DOCS.read_text()


def test_every_class_is_exported_and_described() -> None:
    """Each class is in __all__ and says when it is raised."""
    assert set(errors.__all__) == set(declared())
    assert all(getattr(errors, name).__doc__ for name in errors.__all__)


def test_no_error_stands_outside_the_tree() -> None:
    """A public error of any module is declared in this one, where the tree shows it."""
    kinds = "|".join(errors.__all__)
    outside = [
        f"{source.name}: {line.strip()}"
        for source in Path(errors.__file__).parent.rglob("*.py")
        for line in source.read_text().splitlines()
        if re.match(rf"\s*class [A-Za-z]\w*\(.*\b({kinds})\b", line) and source.name != "errors.py"
    ]

    assert outside == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (VarloopError("it broke"), "it broke"),
        (VarloopError("it broke", run="r"), "run r: it broke"),
        (VarloopError("it broke", hint="mend it"), "it broke (mend it)"),
        (VarloopError("it broke", hint="mend it", run="r"), "run r: it broke (mend it)"),
        (SpecError(["a: b"]), "the spec has 1 fault: a: b"),
        (SpecError(["a: b", "c: d"], run="r"), "run r: the spec has 2 faults: a: b; c: d"),
        (MissingExtra("minio", "s3"), "minio is not installed (pip install 'certifi' 'minio>=7.2')"),
        (StoreUnavailable("asleep"), "asleep"),
        (RunEnded("cancelled", run="r", faults=["a"]), "run r: cancelled"),
    ],
    ids=str,
)
def test_what_an_error_says(error: VarloopError, text: str) -> None:
    """An error says to which run what happened, and what to do."""
    assert str(error) == text


def test_what_a_host_needs_to_know() -> None:
    """Temporary errors carry their delay in seconds, spec errors and ended runs all faults."""
    assert TemporaryError("busy").retry_after == 1.0
    assert StoreUnavailable("busy", retry_after=5.0).retry_after == 5.0
    assert SpecError(["a", "b"]).faults == RunEnded("x", faults=["a", "b"]).faults == ("a", "b")
