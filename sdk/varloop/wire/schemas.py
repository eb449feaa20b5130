"""JSON Schemas of the events' data and of the run spec, generated from their types.

``python -m varloop.wire.schemas FOLDER`` writes them. They describe what varloop accepts to programs in any language.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from varloop import events, spec
from varloop.events import BODIES, PREFIX, VERSION, RunSubmitted
from varloop.spec import RunSpec

__all__ = ["schemas", "write"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NAMES = f"urn:varloop:schema:{VERSION}:"
"""what the ``dataschema`` of every event starts with"""
REF = "#/$defs/{name}"


def schemas() -> dict[str, dict[str, Any]]:
    """Schemas by name: ``run-spec``, and each event type without its prefix (``run.submitted``, …)."""
    kinds: dict[str, type[msgspec.Struct]] = {"run-spec": RunSpec}
    kinds.update((name.removeprefix(PREFIX), body) for name, body in BODIES.items())
    return {name: _schema(name, kind) for name, kind in kinds.items()}


def write(folder: Path) -> list[Path]:
    """Write every schema as ``<name>.json``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, schema in schemas().items():
        file = folder / f"{name}.json"
        file.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        files.append(file)
    return files


def _schema(name: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    kinds = (kind, RunSpec) if kind is RunSubmitted else (kind,)
    (root, *_), parts = msgspec.json.schema_components(kinds, ref_template=REF)
    if kind is RunSubmitted:
        parts["RunSubmitted"]["properties"]["spec"] = {"$ref": REF.format(name="RunSpec")}
    notes = {**_notes(events), **_notes(spec)}
    for title, part in parts.items():
        if text := part.get("description"):  # Python 3.13 takes the indentation away itself
            part["description"] = inspect.cleandoc(text)
        for field, schema in part.get("properties", {}).items():
            if note := _note(title, field, notes):
                schema["description"] = note
            _shorten(schema, parts)
    head = {"$schema": DIALECT, "$id": NAMES + name, "title": name}
    return {**head, **root, "$defs": parts}


def _shorten(schema: dict[str, Any], parts: dict[str, Any]) -> None:
    """Let one field of an object stand for all of it, where the spec does."""
    for kind, field in spec.SHORT.items():
        if schema.get("$ref") == REF.format(name=kind.__name__):
            one = {
                key: value
                for key, value in parts[kind.__name__]["properties"][field].items()
                if key != "default"
            }
            schema["anyOf"] = [{"$ref": schema.pop("$ref")}, one]


def _note(title: str, field: str, notes: dict[tuple[str, str], str]) -> str | None:
    """What is written under a field, in its class or where the class inherited it from."""
    kind = getattr(events, title, None) or getattr(spec, title)
    found = (notes.get((base.__name__, field)) for base in kind.__mro__)
    return next(filter(None, found), None)


def _notes(module: ModuleType) -> dict[tuple[str, str], str]:
    """The strings under the fields of a module's classes, by class and field."""
    notes = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef):
            for field, below in zip(node.body, node.body[1:], strict=False):
                match field, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(str(text))):
                        notes[node.name, name] = inspect.cleandoc(text)
    return notes


if __name__ == "__main__":
    write(Path(sys.argv[1]))
