"""What a cluster lacks for varloop, and how to get it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from varloop.app import STEPS
from varloop.deploy.cluster import Cluster
from varloop.deploy.programs import PROGRAMS, DeployError
from varloop.errors import VarloopError

__all__ = ["Finding", "examine"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str = ""
    hint: str = ""
    """what to do about it"""


KAFKA = {
    "Knative's Kafka Broker": (
        "deployment kafka-controller",
        "deployment kafka-broker-receiver",
        "statefulset kafka-broker-dispatcher",
    ),
    "KafkaSink": (
        "crd kafkasinks.eventing.knative.dev",
        "deployment kafka-controller",
        "deployment kafka-sink-receiver",
    ),
}
"""what the prod overlay needs of a cluster: the parts of each, as kubectl names them"""
KAFKA_HINT = (
    "https://knative.dev/docs/eventing/brokers/broker-types/kafka-broker/ "
    "(or deploy with --overlay eventing/overlays/dev)"
)
EVENTING = "knative-eventing"
BROKER_CLASS = "eventing.knative.dev/broker.class"

INSTALL = "https://knative.dev/docs/install/yaml-install/"


def examine(cluster: Cluster) -> Iterator[Finding]:
    """Look at programs, cluster, Knative and what is deployed; stops where nothing further can be known."""
    for program, where in PROGRAMS.items():
        found = shutil.which(program)
        yield Finding(f"program {program}", bool(found), found or "not in PATH", where)
    if not shutil.which("kubectl"):
        return
    reachable = _try(
        "cluster", "kubectl config use-context …", lambda: cluster.kubectl("version", "-o", "json")
    )
    yield reachable
    if not reachable.ok:
        return
    yield from _knative(cluster)
    deployed = _try("namespace", "varloop deploy", lambda: _exists(cluster, "namespace", cluster.namespace))
    yield deployed
    if deployed.ok:
        yield from _pipeline(cluster)


def _knative(cluster: Cluster) -> Iterator[Finding]:
    for what, crd, needed in (
        ("Knative Serving", "services.serving.knative.dev", INSTALL + "serving/install-serving-with-yaml/"),
        (
            "Knative Eventing",
            "triggers.eventing.knative.dev",
            INSTALL + "eventing/install-eventing-with-yaml/",
        ),
    ):
        yield _try(what, needed, lambda crd=crd: _exists(cluster, "crd", crd))  # type: ignore[misc]
    for what, parts in KAFKA.items():
        yield _try(what, KAFKA_HINT, lambda parts=parts: _kafka(cluster, parts))  # type: ignore[misc]


def _pipeline(cluster: Cluster) -> Iterator[Finding]:
    again = "varloop deploy"
    for name in ("varloop-store", *(f"varloop-store-{step}" for step in STEPS)):
        hint = "fill in eventing/base/store.env; varloop deploy"
        yield _try(f"secret {name}", hint, lambda name=name: _exists(cluster, "secret", name))  # type: ignore[misc]
    for kind, names in (
        ("broker", ("varloop",)),
        ("sinkbinding", ("functions",)),
        ("ksvc", STEPS),
        ("trigger", STEPS),
    ):
        for name in names:
            yield _try(f"{kind} {name}", again, lambda kind=kind, name=name: _ready(cluster, kind, name))  # type: ignore[misc]
    for step in STEPS:
        yield _try(f"settings of {step}", again, lambda step=step: _patched(cluster, step))  # type: ignore[misc]


def _try(what: str, hint: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except VarloopError as error:
        return Finding(what, False, error.detail, error.hint or hint)


def _exists(cluster: Cluster, kind: str, name: str) -> str:
    if not cluster.get(kind, name):
        raise DeployError(f"no {kind} {name}")
    return name


def _kafka(cluster: Cluster, parts: tuple[str, ...]) -> str:
    """Whether the parts of Knative for Kafka are there and up; not needed if the Broker here is of another class."""
    deployed = cluster.get("broker", "varloop") if cluster.get("namespace", cluster.namespace) else []
    kind = deployed[0]["metadata"].get("annotations", {}).get(BROKER_CLASS, "") if deployed else "Kafka"
    if kind != "Kafka":
        return f"not needed: the Broker is of class {kind or 'that the cluster chooses'}"
    eventing = Cluster(EVENTING)
    for part in parts:
        what, _, name = part.partition(" ")
        found = eventing.get(what, name)
        if not found:
            raise DeployError(f"no {part} in {EVENTING}")
        status = found[0].get("status", {})
        if what == "deployment" and not status.get("availableReplicas"):
            raise DeployError(f"{part} in {EVENTING} has no pod that is ready")
    return "its parts are there"


def _ready(cluster: Cluster, kind: str, name: str) -> str:
    for found in cluster.get(kind, name):
        conditions = found.get("status", {}).get("conditions", [])
        if bad := [each for each in conditions if each["type"] == "Ready" and each["status"] != "True"]:
            raise DeployError(f"not ready: {bad[0].get('reason', '')} {bad[0].get('message', '')}".strip())
        return "ready"
    raise DeployError("missing")


def _patched(cluster: Cluster, service: str) -> str:
    """Whether what func resets was patched on again, each value of it."""
    patch = json.loads(files("varloop.deploy").joinpath("service-patch.json").read_text())
    found = cluster.get("ksvc", service)
    values = [(each["path"], each["value"], _at(found[0] if found else {}, each["path"])) for each in patch]
    if lost := [
        f"{path.removeprefix('/spec/template/')} ({there})" for path, value, there in values if there != value
    ]:
        raise DeployError(
            f"not as patched: {', '.join(lost)}",
            hint=f"func resets them; varloop deploy, or kubectl patch ksvc {service}",
        )
    return "as patched"


def _at(manifest: Any, path: str) -> Any:
    """What a JSON pointer (RFC 6901) leads to, or None."""
    for key in path.split("/")[1:]:
        try:
            manifest = manifest[
                int(key) if isinstance(manifest, list) else key.replace("~1", "/").replace("~0", "~")
            ]
        except (KeyError, IndexError, ValueError):
            return None
    return manifest
