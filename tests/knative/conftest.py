"""A cluster with the default pipeline deployed, as scripts/test-knative leaves it. In CI it must be there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knative.bench import Bench

HERE = Path(__file__).parent
NEEDED = ("KUBECONFIG", "BROKER_URL", "S3_ENDPOINT", "KAFKA_BOOTSTRAP", "REGISTRY")


@pytest.fixture(scope="session")
def settings() -> dict[str, str]:
    """Where things are: the environment that the cluster's ``up`` prints."""
    found = {name: os.environ.get(name, "") for name in NEEDED}
    if missing := [name for name, value in found.items() if not value]:
        message = f"no cluster: {', '.join(missing)} not set"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="session")
def bench(settings: dict[str, str]) -> Iterator[Bench]:
    """The deployed default pipeline."""
    bench = Bench(settings)
    yield bench
    bench.store.close()


@pytest.fixture(scope="session")
def sink(bench: Bench) -> Callable[[str], list[dict[str, Any]]]:
    """A service of the application's that is sent every end of a run; called, it gives those of one run."""
    source = (HERE / "sink.py").read_text()
    manifests = json.loads((HERE / "sink.json").read_text().replace("@IMAGE@", f"{bench.registry}/core"))
    script = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "sink"},
        "data": {"sink.py": source},
    }
    bench.cluster.apply([script, *manifests[:-1]])
    bench.cluster.kubectl("rollout", "status", "deployment/sink", "--timeout", "60s")
    bench.cluster.apply(manifests[-1:])
    bench.cluster.wait_ready("trigger", "sink")

    def received(run: str) -> list[dict[str, Any]]:
        lines = bench.cluster.kubectl("logs", "deployment/sink", "--tail", "-1").splitlines()
        return [event for event in map(json.loads, lines) if event["ce-subject"] == run]

    return received
