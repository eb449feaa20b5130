"""Checks: what is wrong with a spec's circuit and problem, and what a sound spec would run and cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from varloop.errors import MissingExtra, PermanentError, SpecError
from varloop.quantum import problems
from varloop.quantum.backends import Backend, Backends
from varloop.quantum.circuits import Load, load, qasm_version
from varloop.quantum.objective import Mode, Objective, mode_of
from varloop.quantum.pool import TemplatePool
from varloop.quantum.templates import Template
from varloop.spec import CANDIDATES, SMALLEST, CircuitSpec, Problem, RunSpec

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

__all__ = ["JOB_SECONDS", "PRICE", "REST_SECONDS", "SHOT_SECONDS", "Report", "faults", "report"]

JOB_SECONDS = 2.0
"""QPU seconds a job costs before its first shot; this and the next as in IBM's guide "Workload usage" (2026)"""
SHOT_SECONDS = 0.00035
"""QPU seconds of a shot where the device does not tell how long its gates take"""
REST_SECONDS = 0.00025
"""QPU seconds between two shots: IBM's default repetition delay"""
PRICE = 1.60
"""US dollars per QPU second: IBM's pay-as-you-go plan (2026)"""

BROKEN = 0.25
"""error from which an operation of a device is called broken: at ½ a readout says nothing"""

MAX_PARAMETERS = 4096
"""of a run's circuit: memory for its angles grows with their square"""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a spec would run. Counts are per iteration unless they say otherwise."""

    backend: str
    mode: Mode
    qubits: int
    """of the problem"""
    device_qubits: int
    """that the compiled circuits use"""
    parameters: int
    angles: int
    """parametrised gates' arguments, each differentiated by itself"""
    bases: int
    """measurement bases, one circuit each; 1 when exact"""
    depth: int
    """of the deepest circuit, measurement included"""
    two_qubit_gates: int
    """of the circuit that has most"""
    broken: list[str]
    """operations in use, as ``measure on 3``, that the device's calibration gives an error of BROKEN or more"""
    points: int
    gradient: str
    """how gradients are measured; none if the optimizer needs none"""
    rows: int
    """points and gradient shifts"""
    circuits: int
    """executions: rows × bases"""
    jobs: int
    """of the whole run at most: one per iteration, and one for the final measurement"""
    shots: int
    """0 when exact"""
    total_shots: int
    """of the whole run: all iterations, calibration and final measurement, within budget.shots"""
    qpu_seconds: float | None
    """of the whole run on a device, about; None when exact, which no device is"""
    cost: float | None
    """US dollars of those seconds, about"""
    value: float
    """objective at the first point, simulated once"""
    error: float
    """its standard error"""


def faults(parts: dict[str, Any], load: Load = load) -> list[str]:
    """Every fault of the circuit, the problem and what they ask of the backend (see :class:`varloop.spec.Check`).

    :param parts: fields of a spec that could be read.
    :param load: reads the circuit.
    """
    problem = parts.get("problem")
    found, backend = _backend_faults(parts)
    if problem is not None:
        found += _cvar_faults(parts, problem)
        sizes = list(_size_faults(parts, problem, backend))
        found += sizes or _constant_faults(problem)
        problem = None if sizes else problem
    try:
        circuit = _circuit(parts, problem, load)
    except (PermanentError, MissingExtra) as error:
        return [*found, f"circuit: {error}"]
    return found if circuit is None else [*found, *_circuit_faults(parts, problem, circuit)]


def _circuit(parts: dict[str, Any], problem: Problem | None, load: Load) -> QuantumCircuit | None:
    """The circuit of the run, if it can be told, whatever else is wrong.

    :param problem: if it is known and fit for the backend.
    """
    given = parts.get("circuit")
    if given is not None:
        return load(given, parts.get("seed", 0))
    if "circuit" not in parts or problem is None or not problems.is_binary(problem):
        return None  # missing or faulty, as was said already
    return problems.ansatz(RunSpec(problem=problem))


def _backend_faults(parts: dict[str, Any]) -> tuple[list[str], Backend | None]:
    if "backend" not in parts:
        return [], None
    try:
        return [], Backends().get(parts["backend"])
    except SpecError as error:
        return list(error.faults), None
    except MissingExtra as error:
        return [f"backend: {error}"], None


def _cvar_faults(parts: dict[str, Any], problem: Problem) -> list[str]:
    if problems.cvar_share(problem) == 1.0:
        return []
    found = []
    if parts.get("mitigation") == "readout":
        found.append("mitigation: readout mitigation corrects expectation values; this objective is a CVaR")
    if parts.get("gradient") == "parameter-shift":
        found.append(
            "gradient: parameter-shift differentiates expectation values and this objective is a CVaR; "
            "expected finite-difference or spsa"
        )
    if _rotosolves(parts):
        found.append(
            "optimizer.name: rotosolve minimises sinusoids, as expectation values are; this objective is a CVaR"
        )
    return found


def _size_faults(parts: dict[str, Any], problem: Problem, backend: Backend | None) -> Iterator[str]:
    """Faults that must be known before anything of that size is built."""
    mode = mode_of(RunSpec(problem=problem, shots=parts.get("shots", 1)))
    size, limit = problems.num_qubits(problem), backend.limit(mode) if backend else 64
    if size > limit:
        more = (
            "; set shots for more" if backend and mode != "counts" and backend.limit("counts") >= size else ""
        )
        what = {"expectation": "exact values", "distribution": "exact probabilities", "counts": "shots"}[mode]
        where = backend.name if backend else "any backend"
        yield f"problem: acts on {size} qubits, {what} on {where} allow {limit}{more}{_gaps(problem, size)}"


def _gaps(problem: Problem, size: int) -> str:
    """A hint if variables are numbered with gaps: each number up to the largest has a qubit."""
    if not problems.is_binary(problem):
        return ""
    used = len(problems.variables(problem))
    if used == size:
        return ""
    return f"; numbers start at 0, and only {used} up to {size - 1} are in use: number them 0 to {used - 1}"


def _constant_faults(problem: Problem) -> list[str]:
    objective = Objective(problem)
    if np.abs(objective.coefficients).max(initial=0.0) >= SMALLEST:
        return []
    return ["problem: is a constant, there is nothing to minimise"]


def _circuit_faults(parts: dict[str, Any], problem: Problem | None, circuit: QuantumCircuit) -> Iterator[str]:
    initial, count = parts.get("initial"), circuit.num_parameters
    if problem is not None and circuit.num_qubits != problems.num_qubits(problem):
        yield f"circuit: has {circuit.num_qubits} qubits, the problem acts on {problems.num_qubits(problem)}"
    if not count:
        yield f"circuit: has no parameters, there is nothing to optimise{_without(parts.get('circuit'))}"
    if count > MAX_PARAMETERS:
        yield f"circuit: has {count} parameters, expected at most {MAX_PARAMETERS}"
        return
    if isinstance(initial, list) and len(initial) != count:
        yield f"initial: has {len(initial)} numbers, the circuit has {count} parameters"
    if count:
        yield from _angle_faults(parts, circuit)


def _without(circuit: CircuitSpec | None) -> str:
    """Why a circuit may have no parameters."""
    if circuit is None or circuit.qasm is None or qasm_version(circuit.qasm) != "2":
        return ""
    return (
        "; OpenQASM 2 can have none: expected OpenQASM 3 with input float, a function of the library, or QPY"
    )


def _angle_faults(parts: dict[str, Any], circuit: QuantumCircuit) -> Iterator[str]:
    """What gradient and optimizer assume about where the parameters are, and does not hold."""
    shift, rotosolve = parts.get("gradient") == "parameter-shift", _rotosolves(parts)
    if not (shift or rotosolve):
        return
    from varloop.quantum.angles import separate

    angles = separate(circuit)[1]
    if shift and not angles.shiftable:
        yield f"gradient: parameter-shift has no rule for {angles.rules.count('none')} of the angles; use auto"
    others = [
        name.name for name, plain in zip(circuit.parameters, angles.sinusoidal, strict=True) if not plain
    ]
    if rotosolve and others:
        names = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if others[3:] else "")
        yield (
            f"optimizer.name: rotosolve needs each parameter to be the angle of one rotation, unscaled; {names}: "
            "not so; expected another optimizer"
        )


def _rotosolves(parts: dict[str, Any]) -> bool:
    return "optimizer" in parts and parts["optimizer"].name == "rotosolve"


def report(
    spec: RunSpec,
    backends: Backends,
    n_points: int,
    gradient: bool,
    *,
    first: int = 0,
    start: Sequence[float] | None = None,
) -> Report:
    """What a sound spec would run, with its first point simulated once.

    :param n_points: points the optimizer asks for in an iteration.
    :param gradient: whether it asks for the gradient too.
    :param first: points it asks for in the first iteration, if those are more.
    :param start: the first point; if None, the spec's ``initial``, or all zeros.
    :raises SpecError: not one iteration fits into the budget of shots.
    """
    from varloop.quantum.gradients import choose, plan
    from varloop.store.memory import MemoryStore

    backend = backends.get(spec.backend)
    template = TemplatePool(MemoryStore()).of(spec, backend)
    point = list(start or spec.point or [0.0] * template.angles.matrix.shape[1])
    method = choose(spec, gradient, template.angles)
    rows = len(plan(template.angles, [point] * n_points, method).rows)
    bases = len(template.circuits)
    circuits = rows * bases
    shots, iterations = spec.shots or 0, spec.budget.iterations
    extra = max(0, first - n_points) * bases + 2 * (spec.mitigation == "readout")
    calibration = shots * first * bases if first > n_points else 0
    if short := spec.budget.short_of(shots * (circuits + extra + bases), calibration):
        raise SpecError(short)
    if spec.budget.shots is not None:
        room = spec.budget.shots // shots - extra - 2 * CANDIDATES * bases
        iterations = max(1, min(iterations, room // circuits))
    jobs = iterations + 1
    total = shots * (circuits * iterations + extra)
    if shots:
        points = max(first, n_points) + n_points * (iterations - 1)
        compared = spec.budget.candidates(total, shots * bases, 1 + points)
        total += shots * bases * (2 * compared if compared > 1 else 1)
    seconds = jobs * JOB_SECONDS + total * _shot_seconds(template, backend) if shots else None
    value, error = _simulate(spec, template, backend, point)
    return Report(
        backend=backend.name,
        mode=template.mode,
        qubits=template.num_qubits,
        device_qubits=max(_used(circuit) for circuit in template.circuits),
        parameters=len(point),
        angles=len(template.parameters),
        bases=len(template.circuits),
        depth=max(circuit.depth() for circuit in template.circuits),
        two_qubit_gates=max(circuit.num_nonlocal_gates() for circuit in template.circuits),
        broken=_broken(template, backend),
        points=n_points,
        gradient=method,
        rows=rows,
        circuits=circuits,
        jobs=jobs,
        shots=shots * circuits,
        total_shots=total,
        qpu_seconds=seconds,
        cost=None if seconds is None else seconds * PRICE,
        value=value,
        error=error,
    )


def _used(circuit: QuantumCircuit) -> int:
    return len({qubit for instruction in circuit.data for qubit in instruction.qubits})


def _broken(template: Template, backend: Backend) -> list[str]:
    """Of all circuits, by decreasing error."""
    errors: dict[tuple[str, tuple[int, ...]], float] = {}
    for circuit in template.circuits:
        for instruction in circuit.data:
            place = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
            known = backend.target.get(instruction.name, {}) or {}
            errors[instruction.name, place] = getattr(known.get(place), "error", None) or 0.0
    worst = sorted((-error, name, place) for (name, place), error in errors.items() if error >= BROKEN)
    return [f"{name} on {', '.join(map(str, place))} ({-error:.0%} errors)" for error, name, place in worst]


def _shot_seconds(template: Template, backend: Backend) -> float:
    """Of the longest circuit."""
    from qiskit.exceptions import QiskitError

    if not backend.target.durations().duration_by_name_qubits:
        return SHOT_SECONDS
    try:
        lengths = [circuit.estimate_duration(backend.target, "s") for circuit in template.circuits]
    except QiskitError:  # a gate whose duration is not known
        return SHOT_SECONDS
    return REST_SECONDS + float(max(lengths))


def _simulate(spec: RunSpec, template: Template, backend: Backend, point: list[float]) -> tuple[float, float]:
    from varloop.quantum.estimate import estimate

    row = template.angles.bind([point])
    calibrate = spec.mitigation == "readout"
    measured = backend.run(template, row, shots=spec.shots, seed=spec.seed, calibrate=calibrate)
    found = estimate(template, measured, spec.problem, spec.mitigation)
    return float(found.values[0]) + template.objective.offset, float(found.errors[0])
