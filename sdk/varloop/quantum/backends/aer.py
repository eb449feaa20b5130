"""aer: Qiskit Aer, without noise. Exact values from the state vector, or shots sampled from it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from varloop.errors import CircuitError
from varloop.events import Measurement, Readout, Samples
from varloop.quantum.backends import Compiled
from varloop.quantum.backends.program import Program, assemble
from varloop.quantum.backends.sampling import draw, misread
from varloop.quantum.means import cvar
from varloop.quantum.problems import cvar_share
from varloop.quantum.readout import assignment
from varloop.quantum.samples import from_counts, join, pack

if TYPE_CHECKING:
    from qiskit.circuit import Operation, QuantumCircuit
    from qiskit.transpiler import Target

    from varloop.quantum.objective import Objective
    from varloop.quantum.templates import Template

__all__ = ["Aer", "runnable"]

Draws = list[np.random.Generator]
"""of the rows' shots, and of the calibration's if there is one"""
TABULATED = 16
"""qubits up to which a row's whole distribution is computed: 512 KiB"""
LIKELIEST = 16
"""outcomes of each row that an exact run of a binary problem reports, to read a solution from"""


class Aer:
    """The ideal simulator; a device's noise is added in :mod:`varloop.quantum.backends.noisy`."""

    limits: ClassVar[dict[str, int]] = {"expectation": 28, "distribution": TABULATED, "counts": 28}
    """qubits by mode; a state of 28 has 4 GiB"""

    def __init__(self, name: str = "aer") -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def calibration(self) -> str:
        return "ideal"

    def facts(self, template: Template) -> dict[str, dict[str, float]]:
        return {}

    @cached_property
    def versions(self) -> dict[str, str]:
        import qiskit
        import qiskit_aer

        return {"qiskit": qiskit.__version__, "qiskit-aer": qiskit_aer.__version__}

    @property
    def measures_exactly(self) -> bool:
        return False

    @cached_property
    def target(self) -> Target:
        from qiskit_aer import AerSimulator

        return AerSimulator(method="statevector").target

    def limit(self, mode: str) -> int:
        return self.limits[mode]

    def compile(self, circuit: QuantumCircuit, bases: Sequence[str], level: int) -> Compiled:
        from varloop.quantum.backends.isa import compile_circuit

        return compile_circuit(circuit, bases, self.target, level)

    def run(
        self,
        template: Template,
        rows: ArrayLike,
        *,
        shots: int | None,
        seed: int,
        calibrate: bool = False,
        outcomes: Sequence[int] = (),
    ) -> Measurement:
        angles = _checked(rows, template)
        if (template.mode == "counts") != (shots is not None):
            raise CircuitError(f"a template for {template.mode} cannot run with {shots} shots")
        program = template.prepared(f"calibrate={calibrate}", lambda: self._program(template, calibrate))
        draws = [np.random.default_rng((seed, stream)) for stream in range(1 + calibrate)] if shots else []

        def measured(rows: int, done: list[dict[str, Any]]) -> Measurement:
            if template.mode == "expectation":
                values = self._energies(template, done, rows)
                return Measurement(circuits=len(done), shots=0, values=values)
            if template.mode == "distribution":
                return _distribution(self._seen(template, done), template.objective, outcomes)
            return self._counted(template, done, rows, shots or 0, draws)

        return _joined([measured(*part) for part in program.run(angles, shots, seed)])

    def _program(self, template: Template, calibrate: bool) -> Program:
        circuits = runnable(template, self.target, calibrate, template.num_qubits <= TABULATED)
        return assemble(circuits, template.parameters, once=len(circuits) - len(template.qpy))

    def _energies(self, template: Template, done: list[dict[str, Any]], rows: int) -> list[float]:
        """Of the state, or of what its measurement in every basis would show on average."""
        if not template.bases:
            return [data["expectation_value"] for data in done]
        objective, table = template.objective, self._seen(template, done)
        means = (table.reshape(len(template.bases), rows, -1) * objective.readings[:, None]).sum(axis=2)
        values: list[float] = means.sum(axis=0).tolist()
        return values

    def _counted(
        self, template: Template, done: list[dict[str, Any]], rows: int, shots: int, draws: Draws
    ) -> Measurement:
        """Samples of all rows, and the calibration from what ran after them."""
        groups = len(template.groups)
        measured = [done[group * rows + row] for row in range(rows) for group in range(groups)]
        calibration = done[len(measured) :]
        readout = None
        if calibration:
            errors = assignment(self._samples(template, calibration, 1, shots, draws[1]))
            readout = Readout(errors=errors, shots=shots)
        return Measurement(
            circuits=len(done),
            shots=len(done) * shots,
            samples=self._samples(template, measured, groups, shots, draws[0]),
            readout=readout,
        )

    def _samples(
        self,
        template: Template,
        done: list[dict[str, Any]],
        groups: int,
        shots: int,
        draws: np.random.Generator,
    ) -> Samples:
        if "probabilities" not in done[0]:
            return from_counts(template.num_qubits, groups, [data["counts"] for data in done])
        return draw(self._seen(template, done), shots, groups, draws)

    def _seen(self, template: Template, done: list[dict[str, Any]]) -> NDArray[np.float64]:
        """Probability of every outcome as the device reads it, shape (executions, 2ⁿ)."""
        table = np.array([data["probabilities"] for data in done])
        errors = self._readout_errors(template)
        return table if errors is None else misread(table, errors)

    def _readout_errors(self, template: Template) -> NDArray[np.float64] | None:
        """[P(read 1 | 0), P(read 0 | 1)] of the template's qubits, if the device misreads them."""
        return None


def runnable(template: Template, target: Target, calibrate: bool, tabulate: bool) -> list[QuantumCircuit]:
    """The template's circuits with what they save at their end, then the two of the readout calibration.

    :param tabulate: save probabilities instead of measuring shots.
    """
    from qiskit_aer.library import SaveExpectationValue, SaveProbabilities

    from varloop.quantum.backends.isa import calibration

    circuits = list(template.circuits)
    if not template.bases and template.mode == "expectation":
        save = SaveExpectationValue(template.objective.observable)
        return [_saving(circuit, save, template.layout) for circuit in circuits]
    if calibrate:
        circuits += calibration(template.layout, target)
    if template.mode == "counts" and not tabulate:
        return circuits
    save = SaveProbabilities(template.num_qubits)
    return [_saving(circuit, save, template.layout) for circuit in circuits]


def _saving(circuit: QuantumCircuit, save: Operation, layout: Sequence[int]) -> QuantumCircuit:
    """The circuit with something saved in place of its measurements, which are of just these qubits."""
    from qiskit.circuit import QuantumCircuit

    result = QuantumCircuit(circuit.qubits)
    for instruction in circuit.data:
        if instruction.name != "measure":
            result.append(instruction)
    result.append(save, layout)
    return result


def _joined(parts: Sequence[Measurement]) -> Measurement:
    """What consecutive rows have measured, as one batch."""
    if len(parts) == 1:
        return parts[0]
    samples = [part.samples for part in parts if part.samples is not None]
    values = [value for part in parts for value in part.values or ()]
    return Measurement(
        circuits=sum(part.circuits for part in parts),
        shots=sum(part.shots for part in parts),
        values=None if parts[0].values is None else values,
        samples=join(samples) if samples else None,
        readout=parts[-1].readout,
    )


def _checked(rows: ArrayLike, template: Template) -> NDArray[np.float64]:
    angles = np.ascontiguousarray(rows, dtype=np.float64)
    if angles.ndim != 2 or not len(angles) or angles.shape[1] != len(template.parameters):
        raise CircuitError(f"rows of shape {angles.shape}, expected (≥ 1, {len(template.parameters)})")
    if not np.isfinite(angles).all():
        row = int(np.flatnonzero(~np.isfinite(angles).all(axis=1))[0])
        raise CircuitError(
            f"row {row} has an angle that is not finite",
            hint="the optimizer diverged: smaller steps may help",
        )
    return angles


def _distribution(
    probabilities: NDArray[np.float64], objective: Objective, asked: Sequence[int]
) -> Measurement:
    """The objective of every row, and its likeliest outcomes with those that were asked for.

    Sums in NumPy's own fixed order: a matrix product's would depend on the number of threads.
    """
    share = cvar_share(objective.problem)
    if share < 1.0:
        values = [cvar(objective.costs, row, share)[0] for row in probabilities]
    else:
        values = (probabilities * objective.costs).sum(axis=1).tolist()
    known = np.array([each for each in asked if each < probabilities.shape[1]], np.intp)
    outcomes = [np.union1d(_likeliest(row), known) for row in probabilities]
    samples = pack(
        num_qubits=probabilities.shape[1].bit_length() - 1,
        groups=1,
        outcomes=np.concatenate(outcomes).astype(np.uint64),
        weights=np.concatenate([row[own] for row, own in zip(probabilities, outcomes, strict=True)]),
        cells=np.array([len(own) for own in outcomes]),
    )
    return Measurement(circuits=len(probabilities), shots=0, values=values, samples=samples)


def _likeliest(probabilities: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices of the greatest probabilities that are not zero, ascending; of equal ones the lowest."""
    least = np.partition(probabilities, -min(LIKELIEST, len(probabilities)))[-LIKELIEST:].min()
    found = np.flatnonzero((probabilities >= least) & (probabilities > 0))
    return np.sort(found[np.argsort(-probabilities[found], kind="stable")[:LIKELIEST]])
