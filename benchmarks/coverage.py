"""How often the errors that varloop states hold: the share of runs whose value ± 1.96 errors holds the true value.

    python benchmarks/coverage.py [--runs 2000] [--output benchmarks/results/coverage.md]

Each case is measured by many runs of the same circuits with other shots, drawn from their exact probabilities and
evaluated as `postprocess` does. The true values come from state vectors. A share has a standard deviation of its
own, 0.5 % in 2,000 runs. Beside it: the mean of the stated errors over the true one, the root of the mean squared
deviation. Seeded: the same numbers again.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import qiskit
from numpy.typing import NDArray
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp, Statevector
from scipy.optimize import minimize

from varloop.events import Measurement, Readout
from varloop.quantum.backends import Backends
from varloop.quantum.backends.sampling import draw, misread
from varloop.quantum.circuits import spec_of
from varloop.quantum.estimate import Estimate, estimate
from varloop.quantum.gradients import Plan, combine, plan
from varloop.quantum.means import DEVIATIONS, cvar
from varloop.quantum.pool import TemplatePool
from varloop.quantum.problems import ansatz, energies, observable
from varloop.quantum.readout import assignment
from varloop.quantum.templates import Template
from varloop.spec import Energy, MaxCut, Problem, RunSpec
from varloop.store.memory import MemoryStore

Array = NDArray[np.float64]

SHOTS = (1, 16, 100, 1024, 8192)
ERRORS = ((0.01, 0.03), (0.02, 0.06), (0.005, 0.02), (0.03, 0.05))
"""[P(read 1 | 0), P(read 0 | 1)] of qubits 0, 1, …"""
H2 = Energy(
    observable=[
        ("II", -1.0523732458),
        ("IZ", 0.3979374248),
        ("ZI", -0.3979374248),
        ("ZZ", -0.0112801043),
        ("XX", 0.1809311998),
    ]
)
ISING = Energy(
    observable=[("ZZII", -1.0), ("IZZI", -1.0), ("IIZZ", -1.0)]
    + [("I" * q + "X" + "I" * (3 - q), -1.0) for q in range(4)]
)
RING = [(node, (node + 1) % 8, 1.0) for node in range(8)]


@dataclass(frozen=True)
class Case:
    """Something that runs measure."""

    name: str
    problem: Problem
    circuit: QuantumCircuit | None
    point: list[float]
    gradient: str = "none"
    calibration: float = 0.0
    """shots of the readout calibration for each shot of a circuit; 0 is a device that never misreads"""


def cases() -> Iterator[Case]:
    """From the hardest, outcomes that are nearly certain, to the most common."""
    angle = Parameter("angle")
    turn = QuantumCircuit(1)
    turn.ry(angle, 0)
    for chance in (0.001, 0.01, 0.1, 0.5):
        where = [2 * float(np.arcsin(np.sqrt(chance)))]
        yield Case(f"Z, P(1) = {chance}", Energy(observable=[("Z", 1.0)]), turn, where)
    rare, plain = [2 * float(np.arcsin(0.1))], [1.2]
    for gradient in ("parameter-shift", "finite-difference"):
        yield Case(f"its {gradient} at P(1) = 0.01", Energy(observable=[("Z", 1.0)]), turn, rare, gradient)
    yield Case(
        "its finite-difference, P(1) = 0.32",
        Energy(observable=[("Z", 1.0)]),
        turn,
        plain,
        "finite-difference",
    )
    molecule = efficient_su2(2, reps=1)
    best = optimum(H2, molecule)
    yield Case("H2 at its optimum", H2, molecule, best)
    yield Case("H2, gradient there", H2, molecule, best, "parameter-shift")
    chain = efficient_su2(4, reps=1)
    away = np.random.default_rng(3).uniform(-1, 1, chain.num_parameters).tolist()
    yield Case("Ising chain, 5 bases", ISING, chain, away)
    yield Case("Ising chain, gradient", ISING, chain, away, "parameter-shift")
    for share in (1.0, 0.5, 0.2, 0.02):
        name = "MaxCut by QAOA" if share == 1 else f"MaxCut, CVaR {share}"
        yield Case(name, MaxCut(edges=RING, cvar=share), None, [0.9, -0.35])
    yield Case("misread: H2 at its optimum", H2, molecule, best, calibration=1.0)
    yield Case("misread: H2, gradient there", H2, molecule, best, "parameter-shift", calibration=1.0)
    yield Case("misread: Ising chain", ISING, chain, away, calibration=1.0)
    yield Case(
        "misread: Z, P(1) = 0.01, calibrated by a tenth",
        Energy(observable=[("Z", 1.0)]),
        turn,
        rare,
        calibration=0.1,
    )


def optimum(problem: Energy, circuit: QuantumCircuit) -> list[float]:
    """Parameters of the lowest energy."""
    start = np.random.default_rng(1).normal(0, 0.3, circuit.num_parameters)
    found = minimize(lambda x: energy(problem, circuit, x), start, method="BFGS", options={"gtol": 1e-7})
    return [float(each) for each in found.x]


def energy(problem: Problem, circuit: QuantumCircuit, point: Array) -> float:
    """⟨problem⟩ from the state vector."""
    return float(Statevector(circuit.assign_parameters(point)).expectation_value(observable(problem)).real)


def truth(case: Case, circuit: QuantumCircuit) -> Array:
    """What the case measures, exactly, without varloop's circuits and rows; a CVaR from the state's probabilities."""
    point = np.array(case.point)
    if isinstance(case.problem, MaxCut) and case.problem.cvar < 1:
        chances = Statevector(circuit.assign_parameters(point)).probabilities()
        costs = energies(case.problem, np.arange(len(chances), dtype=np.uint64))
        return np.array([cvar(costs, chances, case.problem.cvar)[0]])
    constant = SparsePauliOp(observable(case.problem)).simplify().to_list()
    shift = sum(weight.real for label, weight in constant if not label.strip("I"))
    if case.gradient == "none":
        return np.array([energy(case.problem, circuit, point) - shift])
    unit, slopes = 1e-3 * np.eye(len(point)), []
    for step in unit:
        near, far = (
            energy(case.problem, circuit, point + k * step) - energy(case.problem, circuit, point - k * step)
            for k in (1, 2)
        )
        slopes.append((8 * near - far) / 12e-3)
    return np.array(slopes)


def chances(template: Template, rows: Array) -> Array:
    """Exact probabilities of every row in every basis, row-major: (n_rows × n_groups, 2ⁿ)."""
    table = []
    for row in rows:
        values = dict(zip(template.parameters, row, strict=True))
        for circuit in template.circuits:
            used = {each: values[each.name] for each in circuit.parameters}
            state = Statevector(circuit.assign_parameters(used).remove_final_measurements(inplace=False))
            table.append(state.probabilities(list(template.layout)))
    return np.array(table)


def measured(
    case: Case, template: Template, table: Array, shots: int, runs: int
) -> Iterator[tuple[Estimate, slice]]:
    """Estimates of all runs, and where in each the rows of a run are."""
    rows, groups = len(table) // len(template.circuits), len(template.circuits)
    if not case.calibration:
        samples = draw(np.tile(table, (runs, 1)), shots, groups, (shots, 0))
        done = Measurement(circuits=1, shots=1, samples=samples)
        found = estimate(template, done, case.problem)
        for run in range(runs):
            yield found, slice(run * rows, (run + 1) * rows)
        return
    errors = np.array(ERRORS[: template.num_qubits])
    seen, flips = misread(table, errors), misread(np.eye(2**template.num_qubits)[[0, -1]], errors)
    counted = max(1, round(case.calibration * shots))
    for run in range(runs):
        calibrated = Readout(errors=assignment(draw(flips, counted, 1, (shots, 1, run))), shots=counted)
        samples = draw(seen, shots, groups, (shots, 2, run))
        done = Measurement(circuits=1, shots=1, samples=samples, readout=calibrated)
        yield estimate(template, done, case.problem, "readout"), slice(0, rows)


def scored(
    case: Case, template: Template, batch: Plan, table: Array, shots: int, runs: int
) -> tuple[Array, Array]:
    """What each run states: numbers and their errors, shape (n_runs, n_numbers)."""
    values, errors = [], []
    for found, own in measured(case, template, table, shots, runs):
        evaluation = combine(batch, found.values[own], found.variances[own], found.shared[own])
        if case.gradient == "none":
            values.append(evaluation.values), errors.append(evaluation.errors)
        else:
            values.append(evaluation.gradient), errors.append(evaluation.gradient_errors)
    return np.array(values), np.array(errors)


def line(case: Case, runs: int) -> str:
    """The case's row of the table."""
    spec = RunSpec(problem=case.problem, circuit=case.circuit and spec_of(case.circuit), shots=1)
    circuit = case.circuit or ansatz(spec)
    template = TemplatePool(MemoryStore()).of(spec, Backends().get("aer"))
    batch = plan(template.angles, [case.point], case.gradient)
    table, exact = chances(template, batch.rows), truth(case, circuit)
    cells = []
    for shots in SHOTS:
        if case.calibration and round(case.calibration * shots) < 10:
            cells.append("")
            continue
        values, errors = scored(case, template, batch, table, shots, runs)
        off = np.abs(values - exact)
        held = np.mean(off <= DEVIATIONS * errors + 1e-12)
        typical = np.sqrt(np.mean(off**2))
        cells.append(
            f"{100 * held:.1f} ({errors.mean() / typical:.2f})" if typical > 1e-12 else f"{100 * held:.1f}"
        )
    return f"| {case.name} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000, help="runs of each case (2000)")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    table = [
        "| case | " + " | ".join(f"{shots:,} shots" for shots in SHOTS) + " |",
        "| --- |" + " --- |" * len(SHOTS),
    ]
    print("\n".join(table))
    for case in cases():
        table.append(line(case, options.runs))
        print(table[-1], flush=True)
    about = (
        f"Percent of {options.runs:,} runs in which value ± 1.96 errors holds the true value (mean stated error over the true "
        "one). In gradients every component counts.\nMisread: errors of 0.5 to 6 % a qubit, undone by a calibration with as "
        "many shots as a circuit unless said otherwise.\n"
        f"Python {platform.python_version()}, qiskit {qiskit.__version__}, NumPy {np.__version__}. "
        "Again: `python benchmarks/coverage.py`."
    )
    print(about)
    if options.output:
        options.output.write_text("\n".join(["# How often stated errors hold", "", *table, "", about, ""]))


if __name__ == "__main__":
    main()
