"""What a cluster lacks for varloop, and how to get it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files

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
    yield _try(
        "Knative's Kafka Broker",
        "https://knative.dev/docs/eventing/brokers/broker-types/kafka-broker/ "
        "(or deploy with --overlay eventing/overlays/dev)",
        lambda: _exists(cluster, "crd", "kafkasinks.eventing.knative.dev"),
    )


def _pipeline(cluster: Cluster) -> Iterator[Finding]:
    again = "varloop deploy"
    yield _try(
        "secret varloop-store",
        "fill in eventing/base/store.env",
        lambda: _exists(cluster, "secret", "varloop-store"),
    )
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


def _ready(cluster: Cluster, kind: str, name: str) -> str:
    for found in cluster.get(kind, name):
        conditions = found.get("status", {}).get("conditions", [])
        if bad := [each for each in conditions if each["type"] == "Ready" and each["status"] != "True"]:
            raise DeployError(f"not ready: {bad[0].get('reason', '')} {bad[0].get('message', '')}".strip())
        return "ready"
    raise DeployError("missing")


def _patched(cluster: Cluster, service: str) -> str:
    """Whether what func resets was patched on again."""
    patch = json.loads(files("varloop.deploy").joinpath("service-patch.json").read_text())
    found = cluster.get("ksvc", service)
    template = found[0]["spec"]["template"] if found else {}
    annotations = template.get("metadata", {}).get("annotations", {})
    wanted = [
        each["path"].rpartition("/")[2].replace("~1", "/") for each in patch if "annotations" in each["path"]
    ]
    if lost := [name for name in wanted if name not in annotations]:
        raise DeployError(
            f"lost: {', '.join(lost)}",
            hint=f"func resets them; varloop deploy, or kubectl patch ksvc {service}",
        )
    return "as patched"
