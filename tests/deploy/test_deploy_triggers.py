from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from varloop.app import App
from varloop.deploy.triggers import pipeline_triggers
from varloop.events import CircuitExecuted, Event, ObjectiveEvaluated
from varloop.host import load_pipelines

TRIGGERS = Path(__file__).parents[2] / "eventing/base/triggers.yaml"

MODEL = {
    "metadata": {
        "namespace": "varloop",
        "annotations": {"kafka.eventing.knative.dev/delivery.order": "unordered", "own": "x"},
    },
    "spec": {"broker": "varloop", "delivery": {"retry": 10}, "filters": [], "subscriber": {}},
}


@pytest.fixture
def app() -> App:
    """A pipeline with a step of its own."""
    app = App("noisy")

    @app.function(on=CircuitExecuted, emits=ObjectiveEvaluated)
    def weigh(event: Event[CircuitExecuted], ctx: Any) -> None:
        """Somebody's own."""

    return app


def defaults() -> dict[str, App]:
    """The default pipeline's apps by service."""
    steps = {"encode": "encode", "execute": "execute", "postprocess": "postprocess", "optimize": "optimize"}
    apps = {app.functions[0].name: app for app in load_pipelines().apps}
    return {service: apps[function] for service, function in steps.items()}


def subscribers(triggers: list[dict[str, Any]]) -> dict[str, str]:
    """Service by event type."""
    return {
        each["exact"]["type"]: trigger["spec"]["subscriber"]["ref"]["name"]
        for trigger in triggers
        for each in trigger["spec"]["filters"][1]["any"]
    }


def test_what_an_app_does_not_define_is_done_by_the_default_services(app: App) -> None:
    """Every type of a pipeline has one subscriber: the app's own service, or the default one."""
    found = subscribers(pipeline_triggers(app, defaults(), MODEL))

    assert found == {
        "dev.varloop.run.submitted": "encode",
        "dev.varloop.circuit.encoded": "execute",
        "dev.varloop.parameters.proposed": "execute",
        "dev.varloop.run.cancel.requested": "execute",
        "dev.varloop.run.stop.requested": "execute",
        "dev.varloop.request.skipped": "optimize",
        "dev.varloop.circuit.executed": "noisy-weigh",
        "dev.varloop.objective.evaluated": "optimize",
    }


def test_delivery_is_that_of_the_default_pipeline(app: App) -> None:
    """Broker, retries, dead letters and order are kept; every Trigger takes events of this pipeline alone."""
    for trigger in pipeline_triggers(app, defaults(), MODEL):
        assert trigger["spec"]["broker"] == "varloop"
        assert trigger["spec"]["delivery"] == {"retry": 10}
        assert trigger["metadata"]["annotations"] == {
            "kafka.eventing.knative.dev/delivery.order": "unordered"
        }
        assert trigger["spec"]["filters"][0] == {"exact": {"pipeline": "noisy"}}


def types(filters: Any) -> Iterator[str]:
    """All event types that filters name."""
    match filters:
        case list():
            for each in filters:
                yield from types(each)
        case {"type": str(found)}:
            yield found
        case {"cesql": str(text)}:
            yield text.split("'")[1]
        case dict():
            yield from types(list(filters.values()))


def test_the_triggers_of_the_default_pipeline_are_those_of_its_functions() -> None:
    """Each step's Trigger takes the types that the step's functions take, and no other."""
    found = {
        trigger["spec"]["subscriber"]["ref"]["name"]: set(types(trigger["spec"]["filters"]))
        for trigger in yaml.safe_load_all(TRIGGERS.read_text())
    }

    assert found == {
        service: {body.type for function in app.functions for body in function.on}
        for service, app in defaults().items()
    }
