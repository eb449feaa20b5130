"""Pipelines onto a cluster and off it again."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import yaml

from varloop.app import DEFAULT, App
from varloop.deploy.cluster import Cluster, Manifest
from varloop.deploy.images import build
from varloop.deploy.programs import run
from varloop.deploy.project import Project, default_projects, service_name, write_project
from varloop.deploy.triggers import PIPELINE, pipeline_triggers
from varloop.errors import UsageError

__all__ = ["deploy_app", "deploy_default", "find_apps", "undeploy"]

Say = Callable[[str], None]

WORK = Path(".varloop/deploy")
"""where projects are built, in the working directory"""

PART = "app.kubernetes.io/part-of=varloop"


def deploy_default(cluster: Cluster, registry: str, checkout: Path, overlay: Path, say: Say) -> None:
    """Deploy the default pipeline: Broker, dead letters, the four functions, their Triggers.

    :param checkout: a checkout of varloop.
    :param overlay: a kustomize folder over its ``eventing/base``.
    :raises DeployError: with what the cluster or a program said.
    """
    projects = default_projects(checkout / "functions")
    manifests = list(yaml.safe_load_all(run("kubectl", "kustomize", str(overlay))))
    say(f"{overlay}: Broker, dead letters, the store's secret")
    # A namespace comes before what is in it, a subscriber before its Trigger.
    cluster.apply(each for each in manifests if each["kind"] == "Namespace")
    cluster.apply(each for each in manifests if each["kind"] not in ("Namespace", "Trigger"))
    _services(cluster, projects, registry, say)
    _triggers(cluster, [each for each in manifests if each["kind"] == "Trigger"], say)


def deploy_app(
    cluster: Cluster, registry: str, source: Path, requirements: Sequence[str], say: Say
) -> list[str]:
    """Deploy the apps of a file, each a pipeline; what it does not define is done by the default pipeline.

    :param requirements: what its functions need beside varloop, Qiskit and NumPy.
    :returns: the pipelines' names.
    :raises UsageError: if the file defines none, or the default pipeline is not on the cluster.
    """
    apps = find_apps(source)
    model = next(iter(cluster.get("trigger", "encode")), None)
    if model is None:
        raise UsageError(
            f"namespace {cluster.namespace} has no default pipeline", hint="deploy it first: varloop deploy"
        )
    projects = [
        write_project(app, function, source, variable, WORK, requirements)
        for variable, app in apps.items()
        for function in app.functions
    ]
    _services(cluster, projects, registry, say)
    defaults = {point.name: point.load() for point in entry_points(group="varloop.functions")}
    for app in apps.values():
        _triggers(cluster, pipeline_triggers(app, defaults, model), say)
    return [app.pipeline for app in apps.values()]


def undeploy(cluster: Cluster, pipeline: str, say: Say) -> None:
    """Take a pipeline off the cluster; with the default one all that was deployed.

    What people may still want stays: the runs in the store, and the dead letters. A KafkaSink with partitions of its
    own owns its topic; deleted, it would take them along.
    """
    if pipeline == DEFAULT:
        say("every Trigger, service and Broker")
        cluster.delete_triggers(PART)
        kinds = "service.serving.knative.dev,broker.eventing.knative.dev,deployment,service,configmap,secret,sinkbinding,networkpolicy"
        cluster.kubectl("delete", kinds, "--selector", PART, "--ignore-not-found")
        if cluster.get("crd", "kafkasinks.eventing.knative.dev"):
            for sink in cluster.get("kafkasink", selector=PART):
                name = sink["metadata"]["name"]
                say(f"KafkaSink {name} stays, with the dead letters in its topic {sink['spec']['topic']}")
                say(f"  to delete both: kubectl delete kafkasink {name} --namespace {cluster.namespace}")
        return
    selector = f"{PIPELINE}={service_name('p', pipeline)}"
    if not cluster.get("trigger", selector=selector):
        raise UsageError(f"namespace {cluster.namespace} has no pipeline {pipeline!r}")
    say(f"Triggers and services of pipeline {pipeline}")
    cluster.delete_triggers(selector)
    cluster.kubectl("delete", "service.serving.knative.dev", "--selector", selector, "--ignore-not-found")


def find_apps(source: Path) -> dict[str, App]:
    """The apps that a file defines, by the names of their variables.

    :raises UsageError: if there is none, or one is of the default pipeline.
    """
    if not source.is_file():
        raise UsageError(f"{source} is not a file")
    found: dict[str, Any] = runpy.run_path(str(source))
    apps = {name: value for name, value in found.items() if isinstance(value, App) and value.functions}
    if not apps:
        raise UsageError(f"{source} defines no varloop.App with functions")
    if any(app.pipeline == DEFAULT for app in apps.values()):
        raise UsageError(
            f"{source} has an app without a name of its own", hint='name its pipeline: App("mine")'
        )
    return apps


def _services(cluster: Cluster, projects: Iterable[Project], registry: str, say: Say) -> None:
    """Build one after the other, deploy side by side: func's builds share a cache, deploying is waiting."""
    with ThreadPoolExecutor() as pool:
        deployed = []
        for project in projects:
            staged = project.stage(WORK)
            image = build(staged, registry)
            say(f"{project.name}: built and pushed {image}")
            deployed.append((project.name, pool.submit(cluster.deploy, staged, image)))
        for name, future in deployed:
            future.result()
            say(f"{name}: ready")


def _triggers(cluster: Cluster, triggers: list[Manifest], say: Say) -> None:
    cluster.apply(triggers)
    for trigger in triggers:
        cluster.wait_ready("trigger", trigger["metadata"]["name"])
    say(f"Triggers ready: {', '.join(trigger['metadata']['name'] for trigger in triggers)}")
