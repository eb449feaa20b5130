"""Whatever was accepted can be shown: no submission and no end of a run makes a command die."""

from __future__ import annotations

import json
import tempfile
import time
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from core.wires import ends
from varloop.app import App
from varloop.cli.root import BUG, cli
from varloop.client import embedded
from varloop.context import Context
from varloop.events import Body, Event, RunSubmitted, Terminal
from varloop.wire.codec import from_json

SPEC: dict[str, Any] = {
    "problem": {"kind": "maxcut", "edges": [[0, 1, 1.0]]},
    "optimizer": {"name": "cobyla"},
    "budget": {"iterations": 1},
}
COMMANDS = (
    ("status", "odd"),
    ("status", "odd", "--json"),
    ("runs",),
    ("runs", "--json"),
    ("watch", "odd"),
    ("resume", "odd"),
    ("history", "odd"),
    ("history", "odd", "--format", "json"),
    ("replay", "odd"),
    ("report", "odd", "-o", "-"),
    ("report", "odd", "--json"),
)
NOON = "2026-01-01T12:00:00Z"

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = (*SPEC, "circuit", "initial", "backend", "shots", "seed", "gradient", "mitigation", "unknown")
specs = st.dictionaries(st.sampled_from(fields), values, min_size=1, max_size=4)
times = st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")


def submission(changes: dict[str, Any], time: str, pipeline: str = "default") -> Event[Any]:
    """A submission as any application may publish it."""
    wire = {
        "specversion": "1.0",
        "id": "odd",
        "source": "elsewhere",
        "type": RunSubmitted.type,
        "time": time,
        "pipeline": pipeline,
        "data": {"spec": {**SPEC, **changes}},
    }
    return from_json(json.dumps(wire).encode())


def check(event: Event[Any], *apps: App) -> None:
    """Let a run go as far as it goes and call every command about it: none has a bug."""
    with tempfile.TemporaryDirectory() as folder:
        client = embedded(folder, apps)
        client.host.publish(event)
        client.host.drain()
        assert client.run("odd").state().outcome is not None
        for words in COMMANDS:
            result = CliRunner().invoke(cli, [*words, "--store", folder], prog_name="varloop")
            assert result.exit_code != BUG, f"{words}: {result.output}"


FOUND: dict[str, dict[str, Any]] = {
    "no problem": {"problem": None},
    "a problem that is a number": {"problem": 3},
    "an optimizer that is a number": {"optimizer": 5},
    "shots that are a word": {"shots": "x"},
    "shots that are a list": {"shots": [1]},
    "a seed of many digits": {"seed": 10**400},
    "a backend that is an object": {"backend": {"a": 1}},
}


@pytest.mark.parametrize("name", FOUND)
def test_a_faulty_spec_can_be_shown(name: str) -> None:
    """The run has failed, and every command can say so."""
    check(submission(FOUND[name], NOON))


@settings(max_examples=40, deadline=None)
@given(specs, times)
def test_any_spec_can_be_shown(changes: dict[str, Any], moment: str) -> None:
    """Whatever JSON stands in a spec, and whenever it says that it was submitted."""
    check(submission(changes, moment))


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T12:00:00+11:00"]
)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_a_time_at_the_edge_can_be_shown(moment: str, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever time is accepted, also where the local clock cannot show it."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    check(submission({"shots": 0}, moment))


@settings(max_examples=40, deadline=None)
@given(ends)
def test_any_end_can_be_shown(end: Body) -> None:
    """Whatever a step of one's own says of its run's end."""
    app = App("own")

    @app.function(on=RunSubmitted, emits=Terminal)
    def encode(event: Event[RunSubmitted], ctx: Context) -> Body:
        return end

    check(submission({}, NOON, pipeline="own"), app)
