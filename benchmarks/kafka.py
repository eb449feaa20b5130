"""The loop on Kafka and S3 beside the bare client, Ray, Prefect and FastStream, all on this machine.

    make bench-kafka SERVICES=DIR       or, with services of your own, KAFKA_BOOTSTRAP=... S3_ENDPOINT=... make bench-kafka

An iteration is what SPSA does on H2 (4 qubits, exact values, two points in one job): three steps, three hops.
Its overhead is its wall time minus the seconds that its simulation took. All contestants run in turn, several
rounds of them; quantiles are over all iterations, ratios compare medians of the same round.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

PEERS = Path(__file__).resolve().parent / "peers"
sys.path[0] = str(PEERS)  # not this folder: `import kafka` means the client, not this file

import problem

from varloop import OptimizerSpec, build_spec
from varloop.app import STEPS
from varloop.bus.kafka import KafkaBus, apply_topics
from varloop.client.remote import RemoteClient
from varloop.context import Resources
from varloop.events import CircuitExecuted, RunCompleted
from varloop.journal import read_record
from varloop.runs import StoredRun
from varloop.spec import CircuitSpec, RunSpec
from varloop.store import Store, open_store
from varloop.store.layout import step_key
from varloop.wire.codec import from_json

PATIENCE = 300.0
"""seconds for runs to end; those that have not are counted as lost"""
ATTEMPTS, HANGS = 3, 100.0
"""of each contestant's turn, and the seconds after which an attempt is given up"""
USER = "minioadmin"
BARE = {f"bare {client}": client for client in ("kafka-python", "aiokafka", "confluent-kafka")}
PLAIN, FUSED = "varloop, a worker per step", "varloop, one worker for all steps (fusion)"
RECORDS = "two records in S3 and nothing else"


# ---------------------------------------------------------------- services


@dataclass(frozen=True)
class Place:
    """Where Kafka and S3 are."""

    bootstrap: str
    endpoint: str
    bucket: str = field(default_factory=lambda: f"bench-{uuid.uuid4().hex[:8]}")

    @property
    def store(self) -> str:
        return f"s3://{self.bucket}?endpoint={self.endpoint}"

    def topic(self) -> str:
        """URL of a bus on a new topic."""
        url = f"kafka://{self.bootstrap}/bench-{uuid.uuid4().hex[:8]}"
        apply_topics(url)
        return url


@contextmanager
def services(scripts: str) -> Iterator[Place]:
    """Kafka and S3: started by ``scripts/up`` and stopped by ``scripts/down``, or those the environment names."""
    if not scripts:
        names = "KAFKA_BOOTSTRAP", "S3_ENDPOINT"
        if missing := [name for name in names if not os.environ.get(name)]:
            raise SystemExit(f"no services: give --services DIR or set {' and '.join(missing)}")
        yield prepared(Place(*(os.environ[name] for name in names)))
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        environment = {"BASE": "26000", "VGW_KEEP_ALIVE": "true", **os.environ}
        command = [f"{scripts}/up", home, "kafka", "versitygw"]
        try:
            out = subprocess.run(
                command, env=environment, check=True, stdout=subprocess.PIPE, text=True
            ).stdout
            found = dict(line.split("=", 1) for line in out.split())
            yield prepared(Place(found["KAFKA_BOOTSTRAP"], found["S3_ENDPOINT"]))
        finally:
            subprocess.run([f"{scripts}/down", home], check=False)


def prepared(place: Place) -> Place:
    from minio import Minio

    os.environ.setdefault("VARLOOP_S3_ACCESS_KEY", USER)
    os.environ.setdefault("VARLOOP_S3_SECRET_KEY", USER)
    secrets = (os.environ[f"VARLOOP_S3_{name}_KEY"] for name in ("ACCESS", "SECRET"))
    scheme, _, host = place.endpoint.partition("://")
    Minio(host, *secrets, secure=scheme == "https").make_bucket(place.bucket)
    return place


# ---------------------------------------------------------------- varloop


class Bench:
    """Submits runs to workers and reads from the store what became of them."""

    def __init__(self, place: Place, url: str) -> None:
        self.store: Store = open_store(place.store)
        self.bus = KafkaBus(url)
        self.client = RemoteClient(self.bus, Resources(self.store))

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        self.bus.close()
        self.store.close()

    def run(self, iterations: int) -> str:
        """Run a single run to its end."""
        name = self.client.submit(spec(iterations)).id
        if not self.ended([name], HANGS):
            raise TimeoutError(f"the run {name} did not end within {HANGS:g} s")
        return name

    def ended(self, names: list[str], patience: float = PATIENCE) -> dict[str, tuple[float, int]]:
        """When each run ended, seconds since the epoch, and with how many iterations; lost ones are left out."""
        deadline = time.monotonic() + patience
        found, waiting = {}, set(names)
        while waiting and time.monotonic() < deadline:
            for name in sorted(waiting):
                end = StoredRun(Resources(self.store), name).ending()
                if end is None:
                    time.sleep(0.05)
                    break
                waiting.discard(name)
                if isinstance(end.data, RunCompleted):
                    found[name] = (end.time, end.data.iterations)
        return found

    def iterations(self, iterations: int) -> list[tuple[float, float]]:
        """(wall seconds, seconds of the job) of each iteration of a new run, as its journal tells."""
        run = self.run(iterations + problem.WARM_UP + 1)
        resources = Resources(self.store)
        begins = {
            c.iteration: c.started for c in StoredRun(resources, run).calls() if c.function == "execute"
        }
        walls = [after - before for (_, before), (_, after) in pairwise(sorted(begins.items()))]
        jobs = [self._job(resources, run, iteration) for iteration in sorted(begins)]
        return list(zip(walls, jobs, strict=False))[problem.WARM_UP :]

    def _job(self, resources: Resources, run: str, iteration: int) -> float:
        key = step_key(iteration, "execute")
        raw = read_record(resources.journal(run).find(key) or b"", key).events[0]
        body = from_json(bytes(raw), resources.types).data
        assert isinstance(body, CircuitExecuted)
        return body.job.seconds


def spec(iterations: int) -> RunSpec:
    return build_spec(
        circuit=CircuitSpec(library="efficient_su2", options={"num_qubits": 4, "reps": 1}),
        observable=list(problem.H2.items()),
        optimizer=OptimizerSpec(name="spsa", options={"learning_rate": problem.RATE}),
        initial=problem.start()["x"],
        seed=problem.SEED,
        budget=iterations,
    )


@contextmanager
def workers(url: str, place: Place, *each: list[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Worker processes with these arguments; told to stop at the end, and killed if they do not."""
    command = [str(Path(sys.executable).with_name("varloop")), "worker", "--bus", url, "--store", place.store]
    started = [subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL) for arguments in each]
    try:
        yield started
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def resident(process: subprocess.Popen[bytes]) -> float:
    """Resident memory in MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def by_workers(result: Result, place: Place, iterations: int, *each: list[str]) -> list[tuple[float, float]]:
    url = place.topic()
    with Bench(place, url) as bench, workers(url, place, *each) as started:
        bench.run(2)
        measured = bench.iterations(iterations)
        result.memory = [resident(process) for process in started]
        return measured


# ---------------------------------------------------------------- overhead of an iteration


@dataclass
class Result:
    """Overheads of a contestant in seconds, one list per round."""

    name: str
    rounds: list[list[float]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    memory: list[float] = field(default_factory=list)
    """MB of each worker after the last round"""
    hung: int = 0
    """times it had to be run again because it hung"""

    def add(self, iterations: list[tuple[float, float]]) -> None:
        self.rounds.append([wall - job for wall, job in iterations])

    @property
    def medians(self) -> list[float]:
        return [statistics.median(each) for each in self.rounds]

    def text(self, *floors: Result) -> str:
        every = sorted(1e3 * seconds for each in self.rounds for seconds in each)
        cells = [f"{quantile(every, share):.2f}" for share in (0.5, 0.95, 0.99)]
        cells += [
            spread([mine / its for mine, its in zip(self.medians, floor.medians, strict=True)])
            for floor in floors
        ]
        return f"| {self.name} | {' | '.join(cells)} |"


def quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def spread(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def by_script(result: Result, python: str, script: str, *arguments: str) -> list[tuple[float, float]]:
    command = [python, str(PEERS / script), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=HANGS)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise SystemExit(f"{result.name} failed:\n{done.stderr[-2000:]}")
    report = json.loads(lines[-1])
    result.versions |= report["versions"]
    return [(wall, job) for wall, job in report["iterations"]]


Measure = Callable[[Result], list[tuple[float, float]]]
"""seconds of each iteration, and those of its simulation"""


def contestants(place: Place, python: str, iterations: int) -> dict[str, Measure]:
    """How to measure each, in the order of a round."""
    count = str(iterations)
    turns: dict[str, Measure] = {
        name: lambda result, client=client: by_script(  # type: ignore[misc]
            result, python, "raw_clients.py", client, place.bootstrap, count
        )
        for name, client in BARE.items()
    }
    turns[RECORDS] = lambda result: by_records(place, iterations)
    apart = [["--function", step] for step in STEPS]
    turns[PLAIN] = lambda result: by_workers(result, place, iterations, *apart)
    turns[FUSED] = lambda result: by_workers(result, place, iterations, [])
    turns[f"{PLAIN}, by kafka-python"] = by_kafka_python(turns[PLAIN])
    turns[f"{FUSED}, by kafka-python"] = by_kafka_python(turns[FUSED])
    peers = {
        "Ray, three chained tasks": ("ray_tasks.py", "chained", count),
        "Ray, one task an iteration": ("ray_tasks.py", "single", count),
        "Prefect, three tasks, local server": ("prefect_tasks.py", count),
        "FastStream, confluent-kafka, one process per step": ("faststream_steps.py", place.bootstrap, count),
    }
    for name, command in peers.items():
        turns[name] = lambda result, command=command: by_script(result, python, *command)  # type: ignore[misc]
    return turns


def by_records(place: Place, iterations: int) -> list[tuple[float, float]]:
    """What an iteration writes: a record of execute, then one of optimize."""
    store, run, record = open_store(place.store), uuid.uuid4().hex[:12], bytes(1500)
    walls = []
    for number in range(iterations):
        begin = time.perf_counter()
        for step in ("execute", "optimize"):
            store.create(f"runs/{run}/journal/{step_key(number, step)}", record)
        walls.append(time.perf_counter() - begin)
    store.close()
    return [(wall, 0.0) for wall in walls]


def by_kafka_python(measure: Measure) -> Measure:
    """The same through the other client."""

    def measured(result: Result) -> list[tuple[float, float]]:
        os.environ["VARLOOP_KAFKA_CLIENT"] = "kafka-python"
        try:
            return measure(result)
        finally:
            del os.environ["VARLOOP_KAFKA_CLIENT"]

    return measured


def overheads(place: Place, python: str, rounds: int, iterations: int) -> list[Result]:
    turns = contestants(place, python, iterations)
    results = {name: Result(name) for name in turns}
    for number in range(rounds):
        for name, measure in turns.items():
            results[name].add(attempted(measure, results[name]))
            print(
                f"round {number + 1}: {name}: {1e3 * results[name].medians[-1]:.2f} ms",
                file=sys.stderr,
                flush=True,
            )
    return list(results.values())


def attempted(measure: Measure, result: Result) -> list[tuple[float, float]]:
    """A turn; one that hangs is repeated, and the report says so."""
    for _ in range(ATTEMPTS):
        try:
            return measure(result)
        except (subprocess.TimeoutExpired, TimeoutError) as error:
            print(f"{result.name} hung: {error}", file=sys.stderr)
            result.hung += 1
    raise SystemExit(f"{result.name} hung {result.hung} times")


# ---------------------------------------------------------------- many runs at once, and the start


def throughput(place: Place, runs: int, iterations: int, processes: int) -> str:
    """A row about so many runs at once: the workers are held until all are submitted, so that all compete."""
    url = place.topic()
    with Bench(place, url) as bench, workers(url, place, *[[] for _ in range(processes)]) as started:
        warm = warmed(bench, processes)
        names = [f"{warm}-{number:04d}" for number in range(runs)]
        with held(started), ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: bench.client.submit(spec(iterations), run=name), names))
        begin = time.time()
        ends = bench.ended(names)
        memory = [resident(process) for process in started]
    complete = {name: end for name, (end, done) in ends.items() if done == iterations}
    if not complete:
        return f"| {runs} | {iterations} | - | - | {runs} | {spread(memory, 0)} |"
    rate = len(complete) * iterations / (max(complete.values()) - begin)
    jain = fairness(halfway([jobs(bench, name) for name in complete]))
    return (
        f"| {runs} | {iterations} | {rate:.0f} | {jain:.3f} | {runs - len(complete)} | {spread(memory, 0)} |"
    )


def warmed(bench: Bench, processes: int) -> str:
    """Submit runs until every worker has called every step that leaves a record, and so loaded what it needs.

    :return: a name for what follows.
    """
    resources, hosts = Resources(bench.store), {step: set[str]() for step in STEPS if step != "postprocess"}
    for _ in range(30):
        names = [bench.client.submit(spec(2)).id for _ in range(24)]
        for call in (call for name in bench.ended(names) for call in StoredRun(resources, name).calls()):
            hosts.get(call.function, set()).add(call.host)
        if all(len(each) == processes for each in hosts.values()):
            time.sleep(3.0)  # more than a heartbeat: the last group may still be handing over partitions
            return names[0]
    raise SystemExit(f"not every worker takes part: {hosts}")


@contextmanager
def held(processes: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Workers do nothing meanwhile; for less than the seconds after which they are taken for dead."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def jobs(bench: Bench, run: str) -> list[float]:
    """When the job of each of a run's iterations ended."""
    return [
        call.ended for call in StoredRun(Resources(bench.store), run).calls() if call.function == "execute"
    ]


def halfway(runs: list[list[float]]) -> list[int]:
    """How many jobs each run had done when half of all were done."""
    half = statistics.median(end for run in runs for end in run)
    return [sum(end <= half for end in run) for run in runs]


def fairness(shares: list[int]) -> float:
    """Jain's index: 1 if all shares are equal, 1/n if one gets everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


def starts(place: Place, attempts: int = 5) -> tuple[list[float], list[float]]:
    """Seconds from the start of a worker to its first call of a function, and to that call's outcome."""
    called, ended = [], []
    for _ in range(attempts):
        url = place.topic()
        with Bench(place, url) as bench:
            name = bench.client.submit(spec(1)).id
            begin = time.time()
            with workers(url, place, []):
                bench.ended([name])
            first = StoredRun(Resources(bench.store), name).calls()[0]
        called.append(first.started - begin)
        ended.append(first.ended - begin)
    return called, ended


# ---------------------------------------------------------------- the report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--runs", type=int, nargs="*", default=[1, 10, 100, 1000])
    parser.add_argument("--workers", type=int, default=2, help="worker processes for many runs")
    parser.add_argument("--peers", default=sys.executable, help="an interpreter that has the peers")
    parser.add_argument("--services", default="", help="folder with up and down")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with services(options.services) as place:
        results = overheads(place, options.peers, options.rounds, options.iterations)
        floors = [result for result in results if result.name in BARE]
        lines = [
            f"| overhead of an iteration, ms | p50 | p95 | p99 | {' | '.join(f'÷ {each.name}' for each in floors)} |",
            f"| --- | --- | --- | --- | {' | '.join('---' for _ in floors)} |",
            *(result.text(*floors) for result in results),
            "",
            f"| runs at once, {options.workers} workers | iterations each | iterations/s | fairness | lost runs | MB per worker |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        print("\n".join(lines))
        for runs in options.runs:
            lines.append(throughput(place, runs, max(5, min(100, 2000 // runs)), options.workers))
            print(lines[-1], flush=True)
        called, ended = starts(place)
    lines += ["", about(options, results, called, ended), ""]
    print(lines[-2])
    if options.output:
        options.output.write_text("\n".join(["# The loop on Kafka and S3 beside others", "", *lines]))


def memory(results: list[Result]) -> str:
    found = {result.name: result.memory for result in results}
    apart = ", ".join(f"{step} {size:.0f}" for step, size in zip(STEPS, found[PLAIN], strict=True))
    return f"a worker per step {apart} MB, one for all {found[FUSED][0]:.0f} MB"


def about(options: argparse.Namespace, results: list[Result], called: list[float], ended: list[float]) -> str:
    versions = {name: version(name) for name in ("kafka-python", "minio", "qiskit", "qiskit-aer")}
    for result in results:
        versions |= result.versions
    hung = "".join(
        f"{result.name} hung {result.hung} times and was run again.\n" for result in results if result.hung
    )
    return (
        f"{hung}Quantiles over {options.rounds} rounds of {options.iterations} iterations; medians with their range. "
        "Fairness: Jain's index of the iterations that each run had done when half of all were.\n"
        f"From `varloop worker` to its first call of a function {spread(called)} s, to that call's outcome "
        f"{spread(ended)} s. Resident memory: {memory(results)}.\n"
        f"Python {platform.python_version()}, {', '.join(f'{name} {number}' for name, number in versions.items())}; "
        f"{os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}. Again: `make bench-kafka`."
    )


if __name__ == "__main__":
    main()
