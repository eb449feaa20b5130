from __future__ import annotations

from typing import Any

import pytest

from core.toys import Toy
from varloop.app import App, Pipelines
from varloop.context import Context
from varloop.errors import UsageError
from varloop.events import (
    BODIES,
    Body,
    CircuitEncoded,
    CircuitExecuted,
    Event,
    ObjectiveEvaluated,
    ParametersProposed,
    RunCompleted,
    RunSubmitted,
)
from varloop.host import load_pipelines


class Mine(Body, frozen=True):
    type = "com.example.mine"


class Theirs(Body, frozen=True):
    type = "com.example.mine"


class Nameless(Body, frozen=True):
    pass


class Extended(ObjectiveEvaluated, frozen=True, kw_only=True):
    spread: float


def step(event: Event[Any], ctx: Context) -> None:
    """A step that does nothing."""


def an_app(pipeline: str = "default", name: str = "step", **options: Any) -> App:
    """An app with one step."""
    app = App(pipeline)
    app.function(**{"on": Mine, **options}, name=name)(step)
    return app


def test_a_function_stays_what_it_was() -> None:
    """The decorator registers and returns the very function, so it can be called in a test."""
    app = App()
    registered = app.function(on=Mine, emits=(Theirs, RunCompleted))(step)
    (function,) = app.functions

    assert registered is step
    assert (function.name, function.handler, function.pure) == ("step", step, False)
    assert (function.on, function.emits) == ((Mine,), (Theirs, RunCompleted))
    assert repr(app) == "App('default', functions=['step'])"


def test_two_functions_of_one_name() -> None:
    """Names are keys of the journal, so an app has each once."""
    app = an_app()

    with pytest.raises(UsageError, match="pipeline default has two functions named step"):
        app.function(on=RunSubmitted)(step)


def test_two_functions_for_one_type() -> None:
    """In a pipeline each type has one function; the message names both and the type."""
    app = an_app()

    with pytest.raises(UsageError, match=r"step and other of pipeline default both take com.example.mine"):
        app.function(on=(RunSubmitted, Mine), name="other")(step)
    with pytest.raises(UsageError, match=r"two functions of pipeline default take com.example.mine"):
        Pipelines([an_app(), an_app(name="other")])


@pytest.mark.parametrize("name", ["a/b", "a.b", "..", "a b", "<lambda>", "ä"])
def test_a_name_must_do_as_a_key(name: str) -> None:
    """A name that would be misread in the journal or in an event's source is refused at once."""
    with pytest.raises(UsageError, match=f"{name!r} is not a name for a function"):
        an_app(name=name)


@pytest.mark.parametrize("pipeline", ["", "a/b", "a b", "ä", "x" * 64, "a\n", ".hidden", None, 5])
def test_a_pipelines_name_must_travel(pipeline: Any) -> None:
    """A name that would be misread in an event, a header or a service is refused at once."""
    with pytest.raises(UsageError, match="is no name for a pipeline"):
        App(pipeline)


@pytest.mark.parametrize("body", [Nameless, Body, CircuitEncoded.__base__])
def test_a_body_needs_a_type(body: type[Body]) -> None:
    """A body without a type cannot travel, so no function can take or emit it."""
    with pytest.raises(UsageError, match=f"{body.__name__} has no type"):
        an_app(on=body)
    with pytest.raises(UsageError, match=f"{body.__name__} has no type"):
        an_app(emits=body)


@pytest.mark.parametrize("body", [str, 5, "text"])
def test_what_is_no_body(body: Any) -> None:
    """Only bodies travel."""
    with pytest.raises(UsageError, match="is not a Body"):
        an_app(on=(body,))


@pytest.mark.parametrize("emitted", [Theirs, Extended])
def test_one_type_has_one_body(emitted: type[Body]) -> None:
    """Two bodies of one type would change how others' events are read, so a host refuses them."""
    with pytest.raises(UsageError, match=f"{emitted.type} is the type of both"):
        Pipelines([an_app(), an_app("mine", emits=emitted)])


def test_routes() -> None:
    """A pipeline's own step comes first, then the default one; other pipelines never."""
    own = App("own")
    own.function(on=CircuitExecuted, emits=ObjectiveEvaluated, pure=True, name="mine")(step)
    pipelines = Pipelines([Toy().app, own])

    def route(pipeline: str, body: type[Body]) -> str:
        function = pipelines.route(pipeline, body.type)
        return function.name if function else ""

    assert route("own", CircuitExecuted) == "mine"
    assert route("own", RunSubmitted) == "encode"
    assert route("default", CircuitExecuted) == "postprocess"
    assert route("other", CircuitExecuted) == "postprocess"
    assert route("own", RunCompleted) == ""
    assert ("own" in pipelines, "default" in pipelines, "other" in pipelines) == (True, True, False)
    assert list(pipelines) == ["default", "own"]
    assert pipelines.types == BODIES


def test_types_of_all_apps_are_known() -> None:
    """A host reads what any of its functions takes or emits."""
    assert Pipelines([an_app()]).types == {**BODIES, Mine.type: Mine}


def test_who_records_what_comes_of_an_event() -> None:
    """Pure steps leave no record; the search goes on behind them and counts iterations."""
    toy = Toy()
    pipelines = Pipelines([toy.app])

    def recorders(body: type[Body]) -> list[tuple[str, int]]:
        return [(function.name, later) for function, later in pipelines.recorders("default", body.type)]

    assert recorders(CircuitEncoded) == [("execute", 0)]
    assert recorders(CircuitExecuted) == [("optimize", 0)]
    assert recorders(RunCompleted) == []

    pure = App("pure")
    pure.function(on=ObjectiveEvaluated, emits=(ParametersProposed, RunCompleted), pure=True, name="p")(step)
    pipelines = Pipelines([toy.app, pure])
    assert [(f.name, n) for f, n in pipelines.recorders("pure", CircuitExecuted.type)] == [("execute", 1)]


def test_a_name_is_not_taken_from_an_inherited_step() -> None:
    """A step of another kind under an inherited step's name would take its records for its own."""
    with pytest.raises(UsageError, match=r"execute of pipeline own .* inherits another step of that name"):
        Pipelines([Toy().app, an_app("own", name="execute")])
    with pytest.raises(UsageError, match="pipeline own has two functions named step"):
        Pipelines([Toy().app, an_app("own"), an_app("own", on=RunCompleted)])


def test_a_recorded_step_keeps_its_name() -> None:
    """What takes the place of a recorded step records under its name: cancelling and histories rely on it."""
    with pytest.raises(UsageError, match=r"mine of pipeline own takes the place of execute.*name='execute'"):
        Pipelines([Toy().app, an_app("own", name="mine", on=ParametersProposed)])

    for options in ({"name": "execute"}, {"name": "mine", "pure": True}):
        Pipelines([Toy().app, an_app("own", on=ParametersProposed, **options)])


def test_what_is_taken_from_applications() -> None:
    """One answer for every host: of pipelines that are here, types that some function takes and none emits."""
    pipelines = Pipelines([Toy().app, App("own")])

    assert [pipelines.refusal(name, RunSubmitted.type) for name in ("default", "own")] == ["", ""]
    assert pipelines.refusal("mystery", RunSubmitted.type).startswith("no pipeline 'mystery' here")
    for type in ("dev.varloop.circuit.executed", "dev.varloop.run.completed", "com.example.unknown"):
        assert pipelines.refusal("own", type).startswith(f"{type} is not taken from applications")


def test_whose_specs_can_be_checked_before() -> None:
    """Those that varloop's own first step takes."""
    installed = load_pipelines([App("inherits"), Toy("own").app])

    assert [installed.takes_specs(name) for name in ("default", "inherits", "own")] == [True, True, False]
