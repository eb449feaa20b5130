"""The deployed pipeline as an application and its operator see it, and what is run on it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

from varloop.client import Run
from varloop.client.remote import connect
from varloop.context import Resources
from varloop.deploy import Cluster
from varloop.store import open_store

STEPS = ("encode", "execute", "postprocess", "optimize")
H2 = {
    "problem": {
        "kind": "energy",
        "observable": [
            ["II", -1.0523732458],
            ["IZ", 0.3979374248],
            ["ZI", -0.3979374248],
            ["ZZ", -0.0112801043],
            ["XX", 0.1809311998],
        ],
    },
    "circuit": {"library": "efficient_su2", "options": {"num_qubits": 2, "reps": 1}},
    "optimizer": {"name": "adam"},
    "seed": 7,
    "budget": {"iterations": 40},
}
MAXCUT = {
    "problem": {
        "kind": "maxcut",
        "edges": [[0, 1, 1.0], [1, 2, 1.0], [2, 3, 1.0], [3, 4, 1.0], [4, 0, 1.0]],
        "layers": 2,
    },
    "optimizer": {"name": "spsa"},
    "shots": 512,
    "seed": 11,
    "budget": {"iterations": 30},
}


class Bench:
    """The deployed pipeline as an application and its operator see it."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.broker = f"{settings['BROKER_URL']}/varloop/varloop"
        self.kafka = settings["KAFKA_BOOTSTRAP"]
        self.registry = f"{settings['REGISTRY']}/varloop"
        self.cluster = Cluster()
        self.store = open_store(f"s3://varloop?endpoint={settings['S3_ENDPOINT']}")
        self.client = connect(self.broker, self.store)

    @property
    def resources(self) -> Resources:
        """The functions' store."""
        return self.client.resources

    def post(self, type: str, data: Any, **attributes: str) -> str:
        """Post a plain CloudEvent, as curl would; returns its subject."""
        subject = attributes.setdefault("subject", f"test-{uuid.uuid4().hex[:12]}")
        named = {"specversion": "1.0", "id": subject, "source": "/test", "type": type} | attributes
        headers = {f"ce-{name}": value for name, value in named.items()} | {
            "content-type": "application/json"
        }
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        with urlopen(Request(self.broker, body, headers), timeout=30) as answer:
            assert answer.status == 202
        return subject

    def run(self, subject: str) -> Run:
        """The run that a posted event submitted, as soon as the first step has it."""
        self.until(lambda: self.store.find(f"runs/{subject}/submitted"))
        return self.client.run(subject)

    def pods(self) -> dict[str, set[str]]:
        """Names of the pods that serve, by service."""
        serving: dict[str, set[str]] = {}
        for pod in self.cluster.get("pod", selector="serving.knative.dev/service"):
            if "deletionTimestamp" not in pod["metadata"]:
                service = pod["metadata"]["labels"]["serving.knative.dev/service"]
                serving.setdefault(service, set()).add(pod["metadata"]["name"])
        return serving

    def until(self, what: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Wait for something to be true, and return it."""
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, f"not within {seconds} s"
            time.sleep(0.2)
        return found

    def rest(self) -> None:
        """Wait until no function runs."""
        self.until(lambda: not self.pods(), 150)
