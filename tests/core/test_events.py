from __future__ import annotations

import inspect
import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varloop import events
from varloop.events import BODIES, Body, CancelRequested, Claim, Event, Request, RunCompleted, event_id

ROUTING = {"pipeline": "p", "run": "r", "iteration": 1, "type": "t", "data": b"{}"}


def an_event(**changes: object) -> Event[CancelRequested]:
    """An event, with changes."""
    given = {"id": "i", "source": "app", "run": "r", "data": CancelRequested(reason="enough"), "time": 1.0}
    return Event(**{**given, **changes})  # type: ignore[arg-type]


def test_every_body_is_known_by_its_type() -> None:
    """BODIES has every body that can travel by itself, under its own type, and no type twice."""
    bodies = {
        kind
        for kind in vars(events).values()
        if inspect.isclass(kind) and issubclass(kind, Body) and kind not in (Body, Claim, Request)
    }

    assert set(BODIES.values()) == bodies
    assert {body.type: body for body in bodies} == BODIES
    assert all(name.startswith("dev.varloop.") for name in BODIES)


def test_only_proposed_parameters_open_an_iteration() -> None:
    """One event of the loop belongs to the iteration after its cause."""
    assert [name for name, body in BODIES.items() if body.advances] == ["dev.varloop.parameters.proposed"]


def test_what_is_equal_travels_equally() -> None:
    """Equality covers everything that travels and nothing else."""
    assert an_event() == an_event(encoded=b'{"reason":"enough"}')
    assert hash(an_event()) == hash(an_event(encoded=b"{}"))
    assert an_event() != "an event"


@pytest.mark.parametrize(
    "change",
    [
        {"id": "j"},
        {"source": "s"},
        {"run": "q"},
        {"data": CancelRequested()},
        {"time": 2.0},
        {"pipeline": "p"},
        {"iteration": 1},
        {"traceparent": "00-1-1-01"},
        {"tracestate": "a=b"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_attribute_makes_a_difference(change: dict[str, object]) -> None:
    """Two events that differ in one attribute are not equal."""
    assert an_event() != an_event(**change)


def test_events_do_not_change() -> None:
    """Events and bodies are frozen."""
    with pytest.raises(AttributeError):
        an_event().id = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        an_event().data.reason = "other"  # type: ignore[misc]


def test_a_claim_has_the_type_of_what_it_stands_for() -> None:
    """An event that carries a claim is of the type of the body that was deposited."""
    claimed: Event[Claim] = Event(
        id="i", source="s", run="r", data=Claim(of=RunCompleted.type, ref="objects/0"), time=0.0
    )

    assert claimed.type == RunCompleted.type


def test_defaults_are_not_shared() -> None:
    """Two bodies do not share their default containers."""
    first = events.RunFailed(error="E", detail="d")
    first.faults.append("mine")

    assert events.RunFailed(error="E", detail="d").faults == []


def test_the_id_is_a_uuid_of_routing_and_content() -> None:
    """The same outcome has the same id, wherever and whenever it is computed."""
    first = event_id(**ROUTING)  # type: ignore[arg-type]

    assert uuid.UUID(first).version == 5
    assert first == event_id(**ROUTING) == "2e8bd06a-4b77-5735-b914-efd2fdedc214"  # type: ignore[arg-type]


@given(
    field=st.sampled_from(["pipeline", "run", "type"]),
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), max_size=5),
)
def test_another_routing_is_another_id(field: str, text: str) -> None:
    """An id changes with the pipeline, the run and the type."""
    changed = {**ROUTING, field: text}

    assert (event_id(**changed) == event_id(**ROUTING)) == (changed == ROUTING)  # type: ignore[arg-type]


@given(iteration=st.integers(0, 10**6), data=st.binary(max_size=8))
def test_another_content_is_another_id(iteration: int, data: bytes) -> None:
    """An id changes with the iteration and any byte of the data."""
    changed = {**ROUTING, "iteration": iteration, "data": data}

    assert (event_id(**changed) == event_id(**ROUTING)) == (changed == ROUTING)  # type: ignore[arg-type]


def test_bodies_have_a_schema() -> None:
    """Every body can be written as a JSON Schema of its own fields."""
    for body in BODIES.values():
        schema = msgspec.json.schema(body)
        assert set(schema["$defs"][body.__name__]["properties"]) == set(body.__struct_fields__)
