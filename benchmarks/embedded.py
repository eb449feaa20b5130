"""The embedded loop against the tightest hand-written Aer loop and against the loop people usually write.

    python benchmarks/embedded.py [--rounds 7] [--iterations 40] [--output benchmarks/results/embedded.md]

All contestants solve the same problem with the same optimizer steps on the same simulator, in one process and
in turn (varloop, tight, usual, varloop, …). A figure is the median time of an iteration in a round; what is
reported are ratios of figures of the same round: their median and their range over the rounds. Absolute
times belong to the machine and are shown for orientation only.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import qiskit
import qiskit_aer
from numpy.typing import NDArray
from qiskit import QuantumCircuit, transpile
from qiskit.circuit.library import efficient_su2
from qiskit.primitives import BackendEstimatorV2
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import EstimatorV2
from scipy.optimize import minimize

import varloop
from varloop import objective
from varloop.client import EmbeddedClient
from varloop.events import CircuitEncoded, ParametersProposed
from varloop.quantum.grouping import group

Array = NDArray[np.float64]
SEED = 11


@dataclass(frozen=True)
class Case:
    """One problem, energies alone or with gradients, exact or sampled."""

    name: str
    circuit: QuantumCircuit
    observable: SparsePauliOp
    gradient: bool
    shots: int | None
    cobyla: bool = False
    """SciPy's COBYLA instead of SPSA"""

    @property
    def title(self) -> str:
        what = "E+grad" if self.gradient else "E by COBYLA" if self.cobyla else "E"
        return f"{self.name} {what} {self.shots or 'exact'}"

    @property
    def spec(self) -> dict[str, object]:
        """What varloop is asked: gradient descent with parameter shift, SPSA with two points, or COBYLA with one."""
        options = {"learning_rate": 0.05}
        if not self.gradient:
            options |= {"perturbation": 0.1}
        if self.cobyla:
            options = {"first_step": 0.2, "tolerance": 1e-9}
        return {
            "circuit": self.circuit,
            "observable": self.observable,
            "optimizer": varloop.OptimizerSpec(
                name="gradient-descent" if self.gradient else "cobyla" if self.cobyla else "spsa",
                options=options,
            ),
            "shots": self.shots,
            "seed": SEED,
            "initial": list(start(self.circuit)),
        }


def start(circuit: QuantumCircuit) -> Array:
    return np.random.default_rng(SEED).normal(0.0, 0.1, circuit.num_parameters)


def h2() -> SparsePauliOp:
    single = {"IIII": -0.0905789861, "IZIZ": 0.1689275387, "ZIZI": 0.1746434307}
    several = {
        0.1721839326: ("IIIZ", "IZII"),
        -0.2257534922: ("IIZI", "ZIII"),
        0.1209126326: ("IIZZ", "ZZII"),
        0.1661454326: ("ZIIZ", "IZZI"),
        0.0452327999: ("YYYY", "XXYY", "YYXX", "XXXX"),
    }
    terms = [(label, weight) for weight, labels in several.items() for label in labels]
    return SparsePauliOp.from_list([*single.items(), *terms])


def tfim(sites: int) -> SparsePauliOp:
    bonds = [("ZZ", [site, site + 1], -1.0) for site in range(sites - 1)]
    return SparsePauliOp.from_sparse_list(bonds + [("X", [site], -1.0) for site in range(sites)], sites)


# ---------------------------------------------------------------- contestants: each yields after an iteration


def by_varloop(case: Case, client: EmbeddedClient, iterations: int, inside: Inside) -> Iterator[None]:
    """The loop as a user writes it; an iteration is the time between two requests."""
    with inside.timing(client):
        run = client.submit(varloop.build_spec(**case.spec, budget=iterations))  # type: ignore[arg-type]
        for event in run.watch():
            if isinstance(event.data, ParametersProposed | CircuitEncoded):
                inside.seconds.append(0.0)
                yield


class Inside:
    """Times what any loop has to do, simulation and statistics of the samples; the rest is varloop's own."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        """one entry per iteration"""

    @contextmanager
    def timing(self, client: EmbeddedClient) -> Iterator[None]:
        backend = client.resources.backends.get("aer")
        with (
            mock.patch.object(backend, "run", self._timed(backend.run)),
            mock.patch.object(objective, "estimate", self._timed(objective.estimate)),
        ):
            yield

    def _timed(self, call: Callable[..., object]) -> Callable[..., object]:
        def timed(*args: object, **options: object) -> object:
            begin = time.perf_counter()
            try:
                return call(*args, **options)
            finally:
                self.seconds[-1] += time.perf_counter() - begin

        return timed


def tight(case: Case) -> Callable[[Array], Array]:
    """The fastest of several hand-written loops on Aer's public interface, found by trying them here."""
    point = np.tile(start(case.circuit), (2 * case.circuit.num_parameters + 1 if case.gradient else 2, 1))
    candidates = []
    for bound_inside, parallel in itertools.product((True, False), (1, 0)):
        simulator = AerSimulator(
            method="statevector",
            seed_simulator=SEED,
            runtime_parameter_bind_enable=bound_inside,
            max_parallel_threads=parallel,
        )
        makers = (from_counts, from_probabilities) if case.shots else (from_expectations,)
        candidates += [maker(case, simulator) for maker in makers]

    def cost(energies: Callable[[Array], Array]) -> float:
        energies(point)
        begin = time.perf_counter()
        for _ in range(5):
            energies(point)
        return time.perf_counter() - begin

    return min(candidates, key=cost)


def from_expectations(case: Case, simulator: AerSimulator) -> Callable[[Array], Array]:
    """One job, one circuit, all rows as bindings; the simulator takes the expectation value."""
    circuit = transpile(case.circuit, simulator, optimization_level=1)
    parameters = list(circuit.parameters)
    circuit.save_expectation_value(case.observable, range(circuit.num_qubits), label="e")

    def energies(rows: Array) -> Array:
        binds = [dict(zip(parameters, rows.T.tolist(), strict=True))]
        result = simulator.run(circuit, parameter_binds=binds, shots=1).result()
        return np.array([entry.data.e for entry in result.results])

    return energies


def from_counts(case: Case, simulator: AerSimulator) -> Callable[[Array], Array]:
    """One job, one circuit per measurement basis, all rows as bindings; counts to energies in NumPy."""

    def shares(data: object) -> tuple[Array, Array]:
        counts = data.counts  # type: ignore[attr-defined]
        outcomes = np.fromiter((int(key, 16) for key in counts), dtype=np.int64, count=len(counts))
        return outcomes, np.fromiter(counts.values(), dtype=float, count=len(counts)) / case.shots

    return by_bases(case, simulator, QuantumCircuit.measure_all, shares)


def from_probabilities(case: Case, simulator: AerSimulator) -> Callable[[Array], Array]:
    """The same, but the simulator gives probabilities and NumPy draws the shots from them."""
    rng = np.random.default_rng(SEED)
    outcomes = np.arange(2**case.circuit.num_qubits)

    def shares(data: object) -> tuple[Array, Array]:
        p = np.asarray(data.p)  # type: ignore[attr-defined]
        return outcomes, rng.multinomial(case.shots, p / p.sum()) / case.shots

    return by_bases(case, simulator, lambda circuit: circuit.save_probabilities(label="p"), shares)


def by_bases(
    case: Case,
    simulator: AerSimulator,
    finish: Callable[[QuantumCircuit], object],
    shares: Callable[[object], tuple[Array, Array]],
) -> Callable[[Array], Array]:
    terms = case.observable.to_list()
    constant = sum(weight.real for label, weight in terms if set(label) == {"I"})
    circuits, readers = [], []
    for basis in group(case.observable):
        measured = case.circuit.copy()
        for qubit, letter in enumerate(reversed(basis.basis)):
            if letter == "Y":
                measured.sdg(qubit)
            if letter in "XY":
                measured.h(qubit)
        circuit = transpile(measured, simulator, optimization_level=1)
        finish(circuit)
        circuits.append(circuit)
        masks = [int("".join("01"[letter != "I"] for letter in terms[term][0]), 2) for term in basis.terms]
        readers.append((masks, [terms[term][1].real for term in basis.terms]))
    parameters = [list(circuit.parameters) for circuit in circuits]

    def energies(rows: Array) -> Array:
        binds = [dict(zip(names, rows.T.tolist(), strict=True)) for names in parameters]
        result = simulator.run(circuits, parameter_binds=binds, shots=case.shots).result()
        values = np.full(len(rows), constant)
        for number, entry in enumerate(result.results):
            masks, weights = readers[number // len(rows)]
            outcomes, frequency = shares(entry.data)
            for mask, weight in zip(masks, weights, strict=True):
                parity = np.bitwise_count(outcomes & mask) & 1
                values[number % len(rows)] += weight * float(frequency @ (1 - 2.0 * parity))
        return values

    return energies


def usual(case: Case, sampled: bool) -> Callable[[Array], Array]:
    """One primitive call per circuit, as most tutorials and many libraries do.

    :param sampled: by the primitive that draws shots, as a device does and as all others here do. Aer's own adds
        normal noise to the exact value instead, and draws none.
    """
    estimator = BackendEstimatorV2(backend=AerSimulator()) if sampled else EstimatorV2()
    precision = 0.0 if case.shots is None else case.shots**-0.5
    circuit = transpile(case.circuit, AerSimulator(), optimization_level=1)

    def energies(rows: Array) -> Array:
        calls = (estimator.run([(circuit, case.observable, row)], precision=precision) for row in rows)
        return np.array([float(call.result()[0].data.evs) for call in calls])

    return energies


def by_hand(case: Case, energies: Callable[[Array], Array], iterations: int) -> Iterator[float | None]:
    """The optimizer's steps by hand, as tight as NumPy allows; SciPy's own call for COBYLA."""
    if case.cobyla:
        yield from by_scipy(case, energies, iterations)
        return
    x = start(case.circuit)
    rng = np.random.default_rng(SEED)
    n, shift = len(x), np.pi / 2
    for step in range(iterations):
        yield
        if case.gradient:
            rows = np.tile(x, (2 * n + 1, 1))
            rows[np.arange(1, n + 1), np.arange(n)] += shift
            rows[np.arange(n + 1, 2 * n + 1), np.arange(n)] -= shift
            values = energies(rows)
            x = x - 0.05 * (values[1 : n + 1] - values[n + 1 :]) / 2
        else:
            delta = rng.choice((-1.0, 1.0), n)
            reach = 0.1 / (step + 1) ** 0.101
            plus, minus = energies(np.stack([x + reach * delta, x - reach * delta]))
            x = x - 0.05 / (step + 1) ** 0.602 * (plus - minus) / (2 * reach) * delta
    yield


def by_scipy(case: Case, energies: Callable[[Array], Array], iterations: int) -> Iterator[float]:
    """When SciPy's COBYLA asked for each value, in one call."""
    marks: list[float] = []

    def value(x: Array) -> float:
        marks.append(time.perf_counter())
        return float(energies(x[None])[0])

    limits = {"rhobeg": 0.2, "maxiter": iterations}
    minimize(value, start(case.circuit), method="COBYLA", tol=1e-9, options=limits)
    yield from marks


# ---------------------------------------------------------------- measuring


def median_iteration(iterations: Iterator[float | None], most_seconds: float) -> float:
    """Median seconds between two yields, or the times that they tell; the first iterations, which warm up, are left out."""
    marks = []
    end = time.perf_counter() + most_seconds
    for told in iterations:
        marks.append(time.perf_counter() if told is None else told)
        if marks[-1] > end:
            break
    steps = [b - a for a, b in itertools.pairwise(marks)]
    return statistics.median(steps[min(3, len(steps) - 1) :])


@dataclass
class Row:
    """Ratios of one case, one per round."""

    case: Case
    to_tight: list[float]
    from_usual: list[float]
    from_unsampled: list[float]
    """the usual loop without samples, where others draw them"""
    own: list[float]
    framework: list[float]

    def text(self) -> str:
        cells = [
            spread(self.to_tight),
            spread(self.from_usual, digits=1),
            spread(self.from_unsampled, digits=1) if self.from_unsampled else "",
            f"{statistics.median(self.own) * 1e3:.2f}",
            spread([1e3 * seconds for seconds in self.framework]),
        ]
        return f"| {self.case.title} | {' | '.join(cells)} |"


def spread(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def measure(case: Case, rounds: int, iterations: int) -> Row:
    client = varloop.embedded("memory:")
    hand, people = tight(case), usual(case, sampled=case.shots is not None)
    unsampled = usual(case, sampled=False)
    list(by_varloop(case, client, 5, Inside()))
    list(by_hand(case, hand, 5))
    row = Row(case, [], [], [], [], [])
    for _ in range(rounds):
        inside = Inside()
        ours = median_iteration(by_varloop(case, client, iterations, inside), 60)
        best = median_iteration(by_hand(case, hand, iterations), 60)
        few = iterations if case.cobyla else min(iterations, 8)
        theirs = median_iteration(by_hand(case, people, few), 20)
        row.to_tight.append(ours / best)
        row.from_usual.append(theirs / ours)
        if case.shots:
            exact = median_iteration(by_hand(case, unsampled, min(iterations, 8)), 20)
            row.from_unsampled.append(exact / ours)
        row.own.append(ours)
        row.framework.append(ours - statistics.median(inside.seconds[3:]))
    return row


def import_seconds() -> list[float]:
    """Seconds that `import varloop` adds to a bare interpreter, per attempt; and that it loads no Qiskit."""
    code = "import sys, time; t = time.perf_counter(); import varloop; t = time.perf_counter() - t; "
    code += "assert not {'qiskit', 'numpy', 'scipy'} & set(sys.modules); print(t)"
    call = partial(subprocess.run, [sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return [float(call().stdout) for _ in range(7)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    problems = [
        ("H2 (4)", efficient_su2(4, reps=1), h2()),
        ("TFIM (12)", efficient_su2(12, reps=2), tfim(12)),
    ]
    table = [
        "| case | varloop ÷ tight loop | usual loop ÷ varloop | the same without samples | varloop, ms | of which neither simulation nor statistics, ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    print("\n".join(table))
    cases = [
        Case(name, circuit, observable, gradient, shots)
        for (name, circuit, observable), gradient, shots in itertools.product(
            problems, (False, True), (None, 1024)
        )
    ]
    for case in [*cases, Case(*problems[0], gradient=False, shots=None, cobyla=True)]:
        heavy = case.name.startswith("TFIM") and case.gradient
        iterations = 12 if heavy else 100 if case.cobyla else options.iterations
        table.append(measure(case, options.rounds, iterations).text())
        print(table[-1], flush=True)
    about = (
        f"Median (range) over {options.rounds} rounds. `import varloop`: {spread([1e3 * s for s in import_seconds()])} ms, "
        "without Qiskit or NumPy.\nThe usual loop calls Aer's EstimatorV2 for exact values and Qiskit's BackendEstimatorV2 on Aer "
        "for shots; without samples: Aer's EstimatorV2 with `precision`, which adds normal noise to exact values. The tight loop "
        "is the fastest of several on Aer's public interface; varloop hands circuits that are assembled once to Aer's controller.\n"
        f"Python {platform.python_version()}, qiskit {qiskit.__version__}, "
        f"qiskit-aer {qiskit_aer.__version__}, NumPy {np.__version__}. "
        "Again: `python benchmarks/embedded.py`."
    )
    print(about)
    if options.output:
        title = "# The embedded loop against hand-written ones"
        options.output.write_text("\n".join([title, "", *table, "", about, ""]))


if __name__ == "__main__":
    main()
