from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from knative.bench import Bench
from varloop import embedded
from varloop.events import RunCompleted

pytestmark = [pytest.mark.knative, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/knative"
KINDS = ["deployment/js-app", "service/js-app", "trigger/js-app", "sinkbinding/js-app"]


def call(*command: str, cwd: Path = ROOT) -> str:
    """Run a program."""
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def image(bench: Bench, tmp_path: Path) -> str:
    """What the Dockerfile makes, without Docker: this machine's node and the application on Python's image."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no node")
        pytest.skip("no node")
    app = tmp_path / "app"
    app.mkdir()
    for name in ("app.js", "package.json", "package-lock.json"):
        shutil.copy(EXAMPLE / name, app)
    call("npm", "ci", "--omit=dev", "--no-audit", "--no-fund", cwd=app)
    layer = tmp_path / "layer.tar.gz"
    with tarfile.open(layer, "w:gz", compresslevel=1) as tar:
        tar.add(app, "app")
        tar.add(os.path.realpath(node), "usr/local/bin/node")
    target = f"{bench.registry}/js-app"
    base = f"{bench.registry}/core"
    crane = call("scripts/base-image", "--crane").strip()
    return call(crane, "append", "--base", base, "--new_tag", target, "--new_layer", str(layer)).split()[-1]


@pytest.fixture
def application(bench: Bench, image: str) -> Iterator[None]:
    """The example on the cluster."""
    manifests = (EXAMPLE / "app.yaml").read_text().replace("IMAGE", image)
    bench.cluster.kubectl("apply", "--filename", "-", stdin=manifests)
    bench.cluster.kubectl("rollout", "status", "deployment/js-app", "--timeout", "120s")
    yield
    bench.cluster.kubectl("delete", *KINDS, "--ignore-not-found")


@pytest.mark.usefixtures("application")
def test_an_application_in_javascript_publishes_a_run_and_is_sent_its_result(bench: Bench) -> None:
    """The CloudEvents SDK of another language submits by the Broker, and the result comes to its sink as an event."""

    def lines() -> list[dict[str, object]]:
        found = bench.cluster.kubectl("logs", "deployment/js-app", "--tail", "-1").splitlines()
        return [json.loads(line) for line in found if line.startswith("{")]

    (told,) = bench.until(lambda: [each for each in lines() if "type" in each], 120)

    assert told["type"] == RunCompleted.type
    result = bench.client.run(str(told["run"])).result()
    assert isinstance(told["data"], dict)
    assert told["data"]["value"] == result.value == pytest.approx(-1.0)
    spec = bench.client.resources.submitted(str(told["run"])).data.spec
    assert result == embedded("memory:").submit(spec).result()
