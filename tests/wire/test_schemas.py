from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from varloop.events import BODIES, PREFIX, CancelRequested, Event
from varloop.wire.codec import to_http
from varloop.wire.schemas import schemas, write

COMMITTED = Path(__file__).parents[2] / "eventing" / "schemas"


def test_the_committed_schemas_are_current(tmp_path: Path) -> None:
    """`python -m varloop.wire.schemas eventing/schemas` would change nothing."""
    generated = {file.name: file.read_text() for file in write(tmp_path)}

    assert {file.name: file.read_text() for file in COMMITTED.glob("*.json")} == generated


def test_the_generator_is_a_command(tmp_path: Path) -> None:
    """The documented command writes one file for each event type and one for the run spec."""
    subprocess.run([sys.executable, "-m", "varloop.wire.schemas", str(tmp_path)], check=True)

    names = {file.stem for file in tmp_path.iterdir()}
    assert names == {"run-spec", *(name.removeprefix(PREFIX) for name in BODIES)}


def test_the_id_of_a_schema_is_the_dataschema_of_its_events() -> None:
    """Whoever receives an event can find its schema by the event's own attribute."""
    event = Event(id="1", source="test", run="r", data=CancelRequested(), time=0.0)

    headers, _ = to_http(event)

    assert headers["ce-dataschema"] == schemas()["run.cancel.requested"]["$id"]


@pytest.mark.parametrize("name", sorted(schemas()))
def test_every_reference_of_a_schema_is_inside_it(name: str) -> None:
    """A schema can be used offline: it refers to nothing but its own definitions."""
    schema = schemas()[name]
    inside = {f"#/$defs/{title}" for title in schema["$defs"]}

    assert set(references(schema)) <= inside


def references(node: Any) -> list[str]:
    """Every reference in a schema."""
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [ref for value in node.values() for ref in references(value)]
    return [ref for value in node for ref in references(value)] if isinstance(node, list) else []


def test_what_the_code_says_about_a_field_is_in_its_schema() -> None:
    """Units and orders written under a field in the code reach programs in other languages."""
    definitions = schemas()["run-spec"]["$defs"]

    assert definitions["RunSpec"]["properties"]["shots"]["description"] == "per circuit; None is exact"
    assert definitions["MaxCut"]["properties"]["layers"]["description"].startswith("QAOA depth p")


def test_the_short_forms_of_a_spec_are_in_its_schema() -> None:
    """An optimizer by its name, a budget by its iterations."""
    fields = schemas()["run-spec"]["$defs"]["RunSpec"]["properties"]

    assert fields["optimizer"]["anyOf"] == [{"$ref": "#/$defs/OptimizerSpec"}, {"type": "string"}]
    assert fields["budget"]["anyOf"] == [
        {"$ref": "#/$defs/Budget"},
        {"type": "integer", "minimum": 1, "maximum": 999_999},
    ]


def test_the_submission_holds_the_whole_run_spec() -> None:
    """The spec inside run.submitted is described down to its last field, not as any object."""
    schema = schemas()["run.submitted"]

    assert schema["$defs"]["RunSubmitted"]["properties"]["spec"]["$ref"] == "#/$defs/RunSpec"
    assert json.dumps(schema["$defs"]["RunSpec"]) == json.dumps(schemas()["run-spec"]["$defs"]["RunSpec"])
