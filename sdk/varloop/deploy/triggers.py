"""Triggers of a pipeline of one's own: like those of the default pipeline, for its own events."""

from __future__ import annotations

from collections.abc import Mapping

from varloop.app import App, Function
from varloop.deploy.cluster import Manifest
from varloop.deploy.project import service_name

__all__ = ["PIPELINE", "pipeline_triggers"]

PIPELINE = "varloop.dev/pipeline"
"""label of everything that belongs to a pipeline of one's own"""


def pipeline_triggers(app: App, defaults: Mapping[str, App], model: Manifest) -> list[Manifest]:
    """The Triggers of an app: each of its functions takes its types, the default functions take the others.

    :param defaults: the apps of the default pipeline by service.
    :param model: a Trigger of the default pipeline in the cluster; its broker, retries and dead letter sink are kept.
    """
    own = {body.type for function in app.functions for body in function.on}
    triggers = []
    for function in app.functions:
        name = service_name(app.pipeline, function.name)
        triggers.append(_trigger(app.pipeline, name, name, _types(function), model))
    for service, default in defaults.items():
        if types := [type for function in default.functions for type in _types(function) if type not in own]:
            name = service_name(app.pipeline, f"default-{service}")
            triggers.append(_trigger(app.pipeline, name, service, types, model))
    return triggers


def _types(function: Function) -> list[str]:
    return [body.type for body in function.on]


def _trigger(pipeline: str, name: str, service: str, types: list[str], model: Manifest) -> Manifest:
    spec = {key: model["spec"][key] for key in ("broker", "delivery") if key in model["spec"]}
    order = "kafka.eventing.knative.dev/delivery.order"
    annotations = model["metadata"].get("annotations", {})
    return {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {
            "name": name,
            "namespace": model["metadata"]["namespace"],
            "labels": {"app.kubernetes.io/part-of": "varloop", PIPELINE: service_name("p", pipeline)},
            "annotations": {order: annotations[order]} if order in annotations else {},
        },
        "spec": {
            **spec,
            "filters": [
                {"exact": {"pipeline": pipeline}},
                {"any": [{"exact": {"type": type}} for type in types]},
            ],
            "subscriber": {
                "ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": service},
            },
        },
    }
