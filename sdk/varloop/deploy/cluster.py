"""A namespace of a Knative cluster, through ``kubectl`` and ``func``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from varloop.deploy.programs import DeployError, run
from varloop.deploy.project import Project

__all__ = ["NAMESPACE", "Cluster", "Manifest"]

NAMESPACE = "varloop"

Manifest = dict[str, Any]

TIMEOUT = 180.0
"""seconds for one call of kubectl"""

BROKEN = (
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
)


class Cluster:
    """The cluster of the current kubectl context.

    :param namespace: where the functions are.
    :param wait: seconds within which a service or a Trigger must be ready.
    """

    def __init__(self, namespace: str = NAMESPACE, wait: float = 180.0) -> None:
        self.namespace = namespace
        self.wait = wait

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl in the namespace."""
        return run("kubectl", "--namespace", self.namespace, *arguments, stdin=stdin, timeout=TIMEOUT)

    def get(self, kind: str, name: str = "", selector: str = "") -> list[Manifest]:
        """Objects of a kind: all of them, those that a label selector takes, or one by name."""
        choice = [name] if name else ["--selector", selector]
        found = json.loads(self.kubectl("get", kind, *choice, "--ignore-not-found", "-o", "json") or "{}")
        items: list[Manifest] = found.get("items", [found] if found else [])
        return items

    def apply(self, manifests: Iterable[Manifest]) -> None:
        """Create or change objects."""
        items = list(manifests)
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        self.kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", stdin=listed)

    def delete_triggers(self, selector: str) -> None:
        """Delete Triggers one after the other: Eventing's channels keep subscribers of some that go together."""
        for trigger in self.get("trigger", selector=selector):
            name, uid = trigger["metadata"]["name"], trigger["metadata"]["uid"]
            self.kubectl("delete", "trigger", name, "--ignore-not-found")
            end = time.monotonic() + self.wait
            while uid in self.kubectl("get", "subscriptions.messaging.knative.dev", "-o", "json"):
                if time.monotonic() > end:
                    raise DeployError(f"the subscription of Trigger {name} does not go")
                time.sleep(0.25)

    def deploy(self, project: Project, image: str) -> None:
        """Deploy a staged project's image with func, add what func cannot say, and wait until it is ready.

        :raises DeployError: if it does not become ready, with what its pods say.
        """
        run(
            "func",
            "deploy",
            *("--path", str(project.folder), "--namespace", self.namespace, "--image", image),
            *("--builder", "host", "--build=false", "--push=false"),
        )
        self.patch(project.name)
        self.wait_ready("ksvc", project.name)

    def patch(self, service: str) -> None:
        """What func cannot carry: func resets the annotations with each deployment, so this follows each."""
        patch = files("varloop.deploy").joinpath("service-patch.json").read_text()
        self.kubectl("patch", "ksvc", service, "--type", "json", "--patch", patch)

    def wait_ready(self, kind: str, name: str) -> None:
        """Wait for an object's latest generation to be ready.

        :raises DeployError: with the reason, as soon as it is known that it will not be.
        """
        end = time.monotonic() + self.wait
        while True:
            status = (self.get(kind, name) or [{}])[0]
            ready, why = _readiness(status)
            if ready:
                return
            if kind == "ksvc" and (broken := self._broken(name)):
                raise DeployError(f"service {name} does not start: {broken}")
            if time.monotonic() > end:
                raise DeployError(f"{kind} {name} is not ready after {self.wait:.0f} s: {why}")
            time.sleep(0.25)

    def _broken(self, service: str) -> str:
        """What the latest revision's pods say of a container that does not start; empty while nothing is known."""
        revision = self.get("ksvc", service)[0].get("status", {}).get("latestCreatedRevisionName", "")
        for pod in self.get("pod", selector=f"serving.knative.dev/revision={revision}"):
            for container in pod.get("status", {}).get("containerStatuses", []):
                waiting = container.get("state", {}).get("waiting", {})
                if waiting.get("reason") == "CrashLoopBackOff":
                    log = self.kubectl(
                        "logs", pod["metadata"]["name"], "-c", container["name"], "--previous", "--tail", "20"
                    )
                    return f"it ends at once; its last lines:\n{log.strip()}"
                if waiting.get("reason") in BROKEN:
                    return f"{waiting['reason']}: {waiting.get('message', '')}"
        return ""


def _readiness(manifest: Manifest) -> tuple[bool, str]:
    status = manifest.get("status", {})
    current = status.get("observedGeneration") == manifest.get("metadata", {}).get("generation", -1)
    for condition in status.get("conditions", []):
        if condition["type"] == "Ready":
            why = f"{condition.get('reason', '')} {condition.get('message', '')}".strip()
            return current and condition["status"] == "True", why or condition["status"]
    return False, "nothing is known of it"
