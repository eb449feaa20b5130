"""Cold starts, warm iterations and redeployments on a cluster, beside bare Python functions on the same Broker.

    scripts/test-knative --collect-only      # or any way to deploy; the same variables in the environment
    python benchmarks/knative.py --output benchmarks/results/knative.md

Bare: three functions made by `func create -l python -t cloudevents` with benchmarks/bare/func.py, with the settings
that `varloop deploy` gives to varloop's, and a Trigger each; they hand an event in a circle. Nothing else differs.
Times are those of the functions' clocks and of this one, which must be the same machine's (or be kept in step).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, pairwise
from pathlib import Path
from queue import SimpleQueue
from subprocess import PIPE, Popen
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import yaml

import varloop
from varloop.app import STEPS
from varloop.deploy import Cluster, Project
from varloop.deploy.images import build
from varloop.deploy.pipeline import WORK
from varloop.events import (
    CircuitEncoded,
    CircuitExecuted,
    Event,
    ObjectiveEvaluated,
    ParametersProposed,
    RunCompleted,
    RunSubmitted,
)
from varloop.journal import read_record
from varloop.store.layout import step_key
from varloop.wire.codec import from_json

HERE = Path(__file__).parent
Samples = list[list[float]]
Times = dict[str, list[float]]
BARE = ("bare0", "bare1", "bare2")
SHORT = 22
"""iterations in a round; short rounds in turn, so that what else the machine does meets both alike"""
SETTLING = 2
"""first iterations of a round that do not count; of the others every tenth posts its events, as in any run"""

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
    "optimizer": {"name": "spsa"},
    "seed": 7,
}


class Place:
    """The cluster, and what is measured on it."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.broker = f"{os.environ['BROKER_URL']}/varloop/varloop"
        self.registry = f"{os.environ['REGISTRY']}/varloop"
        self.client = varloop.connect(self.broker, f"s3://varloop?endpoint={os.environ['S3_ENDPOINT']}")
        self._heard: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._told: dict[tuple[str, str], dict[str, Any]] = {}

    def pods(self) -> list[str]:
        found = self.cluster.get("pod", selector="serving.knative.dev/service")
        return [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def rest(self) -> None:
        until(lambda: not self.pods(), 180)

    def post(self, data: dict[str, Any]) -> float:
        headers = {
            "ce-specversion": "1.0",
            "ce-id": data["name"],
            "ce-source": "bench",
            "ce-type": "bench.bare0",
        }
        body = json.dumps(data).encode()
        request = Request(self.broker, body, headers | {"content-type": "application/json"})
        posted = time.time()
        with urlopen(request, timeout=60):
            return posted

    def circle(self, hops: int) -> list[float]:
        """When an event was posted, and when each bare function in turn had it."""
        name = uuid.uuid4().hex
        posted = self.post({"name": name, "hops": hops, "stamps": []})
        return [posted, *self.told(name, "bench.done")["data"]["stamps"]]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Follow what the sink is sent. Nobody polls while something is measured."""
        with Popen(
            ["kubectl", "-n", self.cluster.namespace, "logs", "--follow", "deployment/bench-sink"],
            stdout=PIPE,
        ) as follower:
            reader = Thread(target=self._read, args=(follower.stdout,))
            reader.start()
            try:
                yield
            finally:
                follower.terminate()
                reader.join()

    def _read(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self._heard.put(json.loads(line))

    def told(self, subject: str, type: str) -> dict[str, Any]:
        """What the sink was sent about a subject first."""
        while (subject, type) not in self._told:
            event = self._heard.get(timeout=120)
            self._told.setdefault((event["ce-subject"], event["ce-type"]), event)
        return self._told.pop((subject, type))

    def run(self, iterations: int) -> tuple[list[Event[Any]], dict[str, float]]:
        """A run's recorded events in the order of time, its submission first, and when each function was first called.

        A pure step leaves no record, so postprocess is not among the calls.
        """
        run = self.client.submit(H2 | {"budget": {"iterations": iterations}})
        self.told(run.id, RunCompleted.type)
        journal = self.client.resources.journal(run.id)
        events, calls = [from_json(journal.find("end") or b"")], []
        for iteration in range(iterations):
            for step in ("encode", "execute", "optimize"):
                if data := journal.find(step_key(iteration, step)):
                    record = read_record(data)
                    events += [from_json(bytes(raw)) for raw in record.events]
                    calls += record.calls
        ordered = sorted({event.id: event for event in events}.values(), key=lambda event: event.time)
        first = {call.function: call.started for call in sorted(calls, key=lambda call: -call.started)}
        return [self.client.resources.submitted(run.id), *ordered], first


def until(what: Callable[[], Any], seconds: float) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s"
        time.sleep(0.3)
    return found


# ---------------------------------------------------------------- the bare functions


def deploy_bare(place: Place, work: Path) -> Project:
    """Three services of one image, a Trigger each, and a sink that prints."""
    folder = work / "bare"
    subprocess.run(["func", "create", "-l", "python", "-t", "cloudevents", str(folder)], check=True)
    shutil.copy(HERE / "bare/func.py", folder / "function/func.py")
    func = yaml.safe_load((folder / "func.yaml").read_text()) | settings()
    func["created"] = func["created"].isoformat()
    image = ""
    for number, name in enumerate(BARE):
        func["name"], func["run"]["envs"] = name, [{"name": "STEP", "value": str(number)}]
        (folder / "func.yaml").write_text(yaml.safe_dump(func))
        image = image or build(bare(folder), os.environ["REGISTRY"])
        place.cluster.deploy(Project(name, folder, "", False), image)
    place.cluster.apply(sink_manifests(f"{place.registry}/core"))
    place.cluster.kubectl("rollout", "status", "deployment/bench-sink", "--timeout", "60s")
    triggers = [trigger(name, f"bench.{name}", "serving.knative.dev/v1", name) for name in BARE]
    for name, type in (("bench-sink", "bench.done"), ("bench-completed", RunCompleted.type)):
        triggers.append(trigger(name, type, "v1", "bench-sink"))
    place.cluster.apply(triggers)
    for each in triggers:
        place.cluster.wait_ready("trigger", each["metadata"]["name"])
    return bare(folder)


def bare(folder: Path) -> Project:
    return Project("bare", folder, os.environ.get("BASE_IMAGE", "python:3.11"), False)


def settings() -> dict[str, Any]:
    """The settings of varloop's lightest function, but for its store and its place in the pipeline."""
    func = yaml.safe_load((HERE.parent / "functions/optimize/func.yaml").read_text())
    func["deploy"]["labels"] = [{"key": "bench", "value": "bare"}]
    return {key: func[key] for key in ("build", "run", "deploy")}


def trigger(name: str, type: str, version: str, service: str) -> dict[str, Any]:
    ref = {"apiVersion": version, "kind": "Service", "name": service}
    return {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {"name": name, "labels": {"bench": "bare"}},
        "spec": {"broker": "varloop", "filters": [{"exact": {"type": type}}], "subscriber": {"ref": ref}},
    }


def sink_manifests(image: str) -> list[dict[str, Any]]:
    """The sink of the suite, under a name of its own."""
    text = (HERE.parent / "tests/knative/sink.json").read_text().replace("@IMAGE@", image)
    manifests: list[dict[str, Any]] = json.loads(text.replace('"sink"', '"bench-sink"'))[:-1]
    source = (HERE.parent / "tests/knative/sink.py").read_text()
    pod = manifests[0]["spec"]["template"]["spec"]
    pod["containers"][0]["command"] = ["python", "-c", source]
    del pod["volumes"], pod["containers"][0]["volumeMounts"]
    for manifest in manifests:
        manifest["metadata"]["labels"] = {"bench": "bare"}
    return manifests


def remove_bare(place: Place) -> None:
    place.cluster.delete_triggers("bench=bare")
    kinds = "service.serving.knative.dev,deployment,service"
    place.cluster.kubectl("delete", kinds, "--selector", "bench=bare", "--ignore-not-found")


# ---------------------------------------------------------------- measuring


def cold(place: Place, rounds: int) -> tuple[Times, Times]:
    """Seconds from an event to the handler, and to its outcome with late imports and the work; the function at zero."""
    handler: Times = {name: [] for name in ("bare", *STEPS)}
    outcome: Times = {name: [] for name in ("bare", *STEPS)}
    place.cluster.apply([trigger("bench-evaluated", ObjectiveEvaluated.type, "v1", "bench-sink")])
    place.cluster.wait_ready("trigger", "bench-evaluated")
    for _ in range(rounds):
        place.rest()
        bare = [b - a for a, b in pairwise(place.circle(3))]
        handler["bare"] += bare
        outcome["bare"] += bare
        events, calls = place.run(1)
        evaluated = place.told(events[0].run, ObjectiveEvaluated.type)["ce-time"]
        at = {type(event.data): event.time for event in reversed(events)}  # of each the first
        caused = [at[kind] for kind in (RunSubmitted, CircuitEncoded, CircuitExecuted)]
        caused += [datetime.fromisoformat(evaluated).timestamp(), at[ParametersProposed]]
        for step, (event, ended) in zip(STEPS, pairwise(caused), strict=True):
            outcome[step].append(ended - event)
            if step in calls:
                handler[step].append(calls[step] - event)
        print({name: [round(each, 2) for each in values] for name, values in outcome.items()}, flush=True)
    return handler, outcome


def warm(place: Place, rounds: int) -> tuple[Samples, Samples, Samples]:
    """Milliseconds of one round of the circle, of one iteration without its job, of one iteration; by round."""
    circle: Samples = []
    overhead: Samples = []
    iterations: Samples = []

    def around() -> None:
        stamps = place.circle(3 * SHORT + 1)[1::3]
        circle.append([1e3 * (b - a) for a, b in pairwise(stamps[SETTLING:])])

    def loop() -> None:
        events, _ = place.run(SHORT)
        marks = {each.iteration: each.time for each in events if isinstance(each.data, ParametersProposed)}
        jobs = {
            each.iteration: each.data.job.seconds for each in events if isinstance(each.data, CircuitExecuted)
        }
        counted = range(SETTLING, SHORT)
        iterations.append([1e3 * (marks[k + 1] - marks[k]) for k in counted])
        overhead.append([1e3 * (marks[k + 1] - marks[k] - jobs[k]) for k in counted])

    around()
    loop()
    for samples in (circle, overhead, iterations):
        samples.clear()
    for number in range(rounds):
        for part in (around, loop) if number % 2 else (loop, around):
            part()
    return circle, overhead, iterations


def layers(image: str) -> dict[str, int]:
    """Sizes of an image's layers by digest."""
    registry, _, path = image.partition("/")
    name, _, digest = path.partition("@")

    def manifest(reference: str) -> Any:
        kinds = "application/vnd.oci.image.index.v1+json,application/vnd.oci.image.manifest.v1+json"
        headers = {"accept": f"{kinds},application/vnd.docker.distribution.manifest.v2+json"}
        with urlopen(
            Request(f"http://{registry}/v2/{name}/manifests/{reference}", headers=headers)
        ) as answer:
            return json.load(answer)

    found = manifest(digest)
    if "manifests" in found:
        found = manifest(found["manifests"][0]["digest"])
    return {each["digest"]: each["size"] for each in [found["config"], *found["layers"]]}


def redeploy(
    place: Place, project: Project, registry: str, file: str, service: str
) -> tuple[float, float, int]:
    """Seconds to build and push, seconds to deploy, bytes that were not in the registry, after a changed line."""
    before = layers(build(project, registry))
    with (project.folder / "function" / file).open("a") as source:
        source.write(f"\nCHANGED = {time.time()}\n")
    start = time.monotonic()
    image = build(project, registry)
    built = time.monotonic()
    place.cluster.deploy(Project(service, project.folder, project.base, project.complete), image)
    size = sum(size for digest, size in layers(image).items() if digest not in before)
    return built - start, time.monotonic() - built, size


# ---------------------------------------------------------------- the table


def warm_table(circle: Samples, overhead: Samples, iterations: Samples) -> list[str]:
    """Quantiles over all rounds, and the medians' ratio round by round."""
    lines = [
        "| warm, ms | p50 | p95 | p99 | p50 ÷ bare | by round, middle half |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    rows = {
        "three bare functions in a circle": circle,
        "iteration, without its job": overhead,
        "iteration": iterations,
    }
    base = statistics.median(chain(*circle))
    for title, samples in rows.items():
        ratios = [statistics.median(a) / statistics.median(b) for a, b in zip(samples, circle, strict=True)]
        low, high = np.percentile(ratios, (25, 75))
        p50, p95, p99 = np.percentile([*chain(*samples)], (50, 95, 99))
        lines.append(
            f"| {title} | {p50:.1f} | {p95:.1f} | {p99:.1f} | {p50 / base:.2f} | {low:.2f}–{high:.2f} |"
        )
    return lines


def cold_table(handler: Times, outcome: Times) -> list[str]:
    """Medians, ranges and ratios."""
    lines = [
        "| cold, medians, s | to the handler | range | ÷ bare | to the outcome | range | ÷ bare |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]

    def cells(times: Times, name: str) -> str:
        if not (values := times[name]):
            return "– | – | –"
        middle, span = statistics.median(values), f"{min(values):.2f}–{max(values):.2f}"
        return f"{middle:.2f} | {span} | {middle / statistics.median(times['bare']):.2f}"

    lines += [f"| {name} | {cells(handler, name)} | {cells(outcome, name)} |" for name in outcome]
    return lines


def report(place: Place, work: Path, options: argparse.Namespace) -> list[str]:
    project = deploy_bare(place, work)
    with place.listening():
        lines = warm_table(*warm(place, options.rounds))
        print("\n".join(lines), flush=True)
        found = cold(place, options.cold)
    lines += ["", *cold_table(*found)]
    lines += [
        "",
        "| one line changed | build and push, s | deploy, s | bytes pushed |",
        "| --- | --- | --- | --- |",
    ]
    step = Project.read(HERE.parent / "functions/postprocess").stage(WORK)
    for each, registry, file, service in (
        (step, place.registry, "step.py", "postprocess"),
        (project, os.environ["REGISTRY"], "func.py", BARE[2]),
    ):
        built, deployed, size = redeploy(place, each, registry, file, service)
        lines.append(f"| {each.name} | {built:.1f} | {deployed:.1f} | {size:,} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if missing := {"BROKER_URL", "REGISTRY", "S3_ENDPOINT"} - os.environ.keys():
        parser.error(f"no cluster: {', '.join(sorted(missing))} not set")
    place = Place()
    remove_bare(place)
    with tempfile.TemporaryDirectory() as work:
        try:
            lines = report(place, Path(work).absolute(), options)
        finally:
            remove_bare(place)
    lines += ["", about(place, options)]
    print("\n".join(lines[6:]))
    if options.output:
        options.output.write_text("\n".join(["# On Knative, beside bare Python functions", "", *lines, ""]))


def about(place: Place, options: argparse.Namespace) -> str:
    server = json.loads(place.cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    func = subprocess.run(["func", "version"], check=True, capture_output=True, text=True).stdout.strip()
    serving = place.cluster.get("namespace", "knative-serving")[0]["metadata"].get("labels", {})
    broker = place.cluster.get("broker", "varloop")[0]["metadata"]["annotations"][
        "eventing.knative.dev/broker.class"
    ]
    return (
        f"{options.rounds} rounds of {SHORT} iterations of a two-qubit VQE (SPSA, exact), the first {SETTLING} of each left out, in turn "
        f"with as many of the circle; {options.cold} cold starts of each step, three times as many bare ones.\n"
        f"Broker class {broker}, Kubernetes {server}, Knative {serving.get('app.kubernetes.io/version', '?')}, func {func}, "
        f"Python {platform.python_version()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[1]:.0f}. "
        f"Again: `python benchmarks/knative.py --rounds {options.rounds} --cold {options.cold}`.\n"
        "Targets: an iteration without its job at most 1.3 times the circle; from an event to the handler of a cold step other than "
        "execute at most 1.5 times a bare function. postprocess leaves no record of when it was called."
    )


if __name__ == "__main__":
    main()
