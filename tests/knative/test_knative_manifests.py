"""What is in eventing/, for clusters with a Kafka Broker too, before servers that know all of it but the KafkaSink."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
import yaml

from knative.bench import Bench
from varloop.deploy import Cluster
from varloop.deploy.programs import DeployError, run

pytestmark = [pytest.mark.knative, pytest.mark.timeout(120)]

EVENTING = Path(__file__).parents[2] / "eventing"
OTHER = "varloop-manifests"
Some = Annotated[int, msgspec.Meta(ge=1)]
Servers = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9.-]+:\d+(,\s*[a-z0-9.-]+:\d+)*$")]


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """A reference by name."""

    name: str


class Secret(msgspec.Struct, forbid_unknown_fields=True):
    """Where credentials are."""

    ref: Named


class Auth(msgspec.Struct, forbid_unknown_fields=True):
    """How to log in to Kafka."""

    secret: Secret


class KafkaSink(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The spec of a KafkaSink, version v1alpha1, in Knative 1.23."""

    topic: str
    bootstrap_servers: Annotated[list[Servers], msgspec.Meta(min_length=1)]
    num_partitions: Some | None = None
    replication_factor: Some | None = None
    content_mode: Literal["binary", "structured"] = "binary"
    auth: Auth | None = None


class BrokerConfig(
    msgspec.Struct,
    forbid_unknown_fields=True,
    rename={
        "servers": "bootstrap.servers",
        "partitions": "default.topic.partitions",
        "replication": "default.topic.replication.factor",
        "secret": "auth.secret.ref.name",
    },
):
    """What a Broker of class Kafka reads from its ConfigMap; all values are text."""

    servers: Servers
    partitions: Some
    replication: Some
    secret: str = ""


def built(folder: str) -> list[dict[str, Any]]:
    """The objects of a kustomize folder."""
    return list(yaml.safe_load_all(run("kubectl", "kustomize", str(EVENTING / folder))))


def one(manifests: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The only object of a kind."""
    (found,) = [each for each in manifests if each["kind"] == kind]
    return found


@pytest.fixture(scope="module")
def other(bench: Bench) -> Iterator[Cluster]:
    """A namespace with nothing in it: a Broker that is there could not change its class."""
    cluster = Cluster(OTHER)
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OTHER}}])
    yield cluster
    cluster.kubectl("delete", "namespace", OTHER, "--wait=false")


def judge(cluster: Cluster, manifests: list[dict[str, Any]]) -> None:
    """Have a cluster's schemas and webhooks look at objects, which it does not keep.

    :raises DeployError: if one is refused, or has a field that the cluster does not know.
    """
    for each in deepcopy(manifests):
        if each["kind"] != "Namespace":
            each["metadata"]["namespace"] = cluster.namespace
        options = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
        cluster.kubectl("apply", *options, "--filename", "-", stdin=json.dumps(each))


@pytest.mark.parametrize("folder", ["base", "overlays/dev", "overlays/prod"])
def test_the_server_accepts_what_it_knows(folder: str, other: Cluster) -> None:
    """Every object passes the cluster's schemas and Knative's webhooks; a KafkaSink is the only one without."""
    known = [each for each in built(folder) if each["kind"] != "KafkaSink"]

    assert {"Broker", "Trigger", "SinkBinding", "Secret", "Namespace"} <= {each["kind"] for each in known}
    judge(other, known)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("delivery", {"retry": 3, "deadLetterSinc": {}}),
        ("delivery", {"backoffPolicy": "sometimes"}),
        ("filters", [{"cesql": "type = "}]),
    ],
    ids=["unknown field", "unknown word", "no CESQL"],
)
def test_the_server_would_say_so(field: str, value: Any, other: Cluster) -> None:
    """A misspelt Trigger is refused: the test above means something."""
    trigger = next(each for each in built("base") if each["kind"] == "Trigger")
    trigger["spec"][field] = value

    with pytest.raises(DeployError):
        judge(other, [trigger])


@pytest.mark.parametrize(("folder", "replicas"), [("base", 1), ("overlays/prod", 3)])
def test_the_kafka_broker_is_told_what_it_reads(folder: str, replicas: int) -> None:
    """The Broker's config and the KafkaSink have the fields that Knative's Kafka components know, and agree."""
    manifests = built(folder)
    config = msgspec.convert(one(manifests, "ConfigMap")["data"], BrokerConfig, strict=False)
    sink = one(manifests, "KafkaSink")
    spec = msgspec.convert(sink["spec"], KafkaSink)
    broker = one(manifests, "Broker")

    assert broker["metadata"]["annotations"]["eventing.knative.dev/broker.class"] == "Kafka"
    assert broker["spec"]["config"]["name"] == one(manifests, "ConfigMap")["metadata"]["name"]
    assert sink["apiVersion"] == "eventing.knative.dev/v1alpha1"
    assert (config.replication, spec.replication_factor) == (replicas, replicas)
    assert [config.servers] == spec.bootstrap_servers
    assert config.secret == (spec.auth.secret.ref.name if spec.auth else "")
    for trigger in (each for each in manifests if each["kind"] == "Trigger"):
        assert trigger["spec"]["delivery"]["deadLetterSink"]["ref"]["name"] == sink["metadata"]["name"]
        assert trigger["metadata"]["annotations"]["kafka.eventing.knative.dev/delivery.order"] == "unordered"


def test_the_overlay_of_this_cluster_changes_the_broker_and_the_dead_letters_alone() -> None:
    """All else is the base's: what is tried here is what runs on Kafka."""
    kinds = ("Namespace", "Secret", "SinkBinding", "Trigger")
    mine, bases = (
        {(each["kind"], each["metadata"]["name"]): each for each in built(folder) if each["kind"] in kinds}
        for folder in ("overlays/dev", "base")
    )
    for trigger in (*mine.values(), *bases.values()):
        if trigger["kind"] == "Trigger":
            del trigger["spec"]["delivery"]["deadLetterSink"]

    assert mine == bases
