"""Programs: a template assembled for Aer, once, so that a run only fills in numbers.

``AerSimulator.run`` assembles its circuits anew on every call, which costs more than simulating them when they are
small. A program keeps what Aer's assembler made and calls the same native controller with the same tables.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from varloop.errors import CircuitError
from varloop.quantum.curves import derivative
from varloop.support.forks import may_start_threads

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

__all__ = ["Program", "Slots", "assemble", "cores"]

Part = tuple[int, list[dict[str, Any]]]
"""a number of rows, and the data of their executions, circuit by circuit and within it row by row; in the last part
the circuits that run once follow"""
Table = list[tuple[tuple[int, int], list[float]]]
PARALLEL = 0.01
"""seconds of work from which threads pay: on busy cores, waiting for each other costs them milliseconds"""
NUMBERS = 1 << 21
"""that go into a native call and come out of it: some 100 MiB, Python's and Aer's together"""
NO_SLOT = (
    -1,
    -1,
)  # Aer's name for the global phase, which makes a circuit without parameters run once per row


@dataclass(frozen=True, eq=False)
class Slots:
    """Where the angles of a circuit go: slot ``s`` gets ``Σ_t scale[s, t]·angle[index[s, t]] + shift[s]``."""

    positions: list[tuple[int, int]]
    """(operation, parameter of the operation) in the assembled circuit"""
    index: NDArray[np.int64]
    """shape (n_slots, n_terms)"""
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]
    """shape (n_slots,), radians"""

    @classmethod
    def of(cls, circuit: QuantumCircuit, operations: Sequence[int], order: dict[str, int]) -> Slots:
        """The slots of a circuit.

        :param operations: of each instruction, its operation in the assembled circuit.
        :param order: column of each parameter in the rows.
        :raises CircuitError: an expression of the angles is not linear: compiling made another of it.
        """
        positions: list[tuple[int, int]] = []
        terms, shift = [], []
        for place, instruction in zip(operations, circuit.data, strict=True):
            if not instruction.is_parameterized():
                continue
            for number, value in enumerate(instruction.params):
                if not getattr(value, "parameters", None):
                    continue
                positions.append((place, number))
                terms.append(_slopes(value, order))
                shift.append(float(value.bind(dict.fromkeys(value.parameters, 0.0))))
        width = max(map(len, terms), default=0)
        padded = [each + [(0, 0.0)] * (width - len(each)) for each in terms]
        table = np.array(padded, dtype=np.float64).reshape(len(terms), width, 2)
        return cls(positions, table[:, :, 0].astype(np.int64), table[:, :, 1], np.array(shift))

    def fill(self, rows: NDArray[np.float64]) -> Table:
        """Aer's table of parameter values: of each slot, its position and its value in every row."""
        if not self.positions:
            return [(NO_SLOT, [0.0] * len(rows))]
        values = (rows[:, self.index] * self.scale).sum(axis=2) + self.shift
        return list(zip(self.positions, values.T.tolist(), strict=True))


def _slopes(value: Any, order: dict[str, int]) -> list[tuple[int, float]]:
    """(column, factor) of each parameter of a linear expression."""
    slopes = []
    for parameter in sorted(value.parameters, key=lambda each: order[each.name]):
        slope = derivative(value, parameter)
        if not isinstance(slope, (int, float)):
            raise CircuitError(f"{value} is not linear in the angles: this circuit cannot be run")
        slopes.append((order[parameter.name], float(slope)))
    return slopes


@dataclass(frozen=True, eq=False)
class Program:
    """Assembled circuits, ready to run."""

    circuits: list[Any]
    """Aer's own circuits; running them does not change them"""
    slots: list[Slots]
    """of the circuits that run once per row; the circuits after them run once"""
    num_qubits: int
    num_clbits: int
    saves: bool
    """the circuits save what they compute and need no shots"""
    saved: int
    """numbers that an execution saves, about"""
    method: str
    """of simulation: statevector or density_matrix"""
    noise: dict[str, Any] | None
    seconds: float
    """rough time of one execution on one core"""

    def run(self, rows: NDArray[np.float64], shots: int | None, seed: int) -> Iterator[Part]:
        """The data of every execution: of some rows at a time, as many as keep what goes in and comes out small.

        :param shots: per execution, unless the circuits save what they compute.
        :raises CircuitError: the simulator refused.
        """
        if self.saves:
            shots = None
        if self.noise is not None and self.method == "statevector":
            yield len(rows), self._trajectories(rows, shots, seed)
            return
        bound = len(self.slots)
        step = max(1, NUMBERS // (sum(len(each.positions) for each in self.slots) + bound * self.saved))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            circuits = self.circuits if start + step >= len(rows) else self.circuits[:bound]
            tables = [each.fill(part) for each in self.slots] + [[]] * (len(circuits) - bound)
            yield len(part), self._execute(circuits, tables, shots, seed, start)

    def _trajectories(self, rows: NDArray[np.float64], shots: int | None, seed: int) -> list[dict[str, Any]]:
        """Each execution by itself: Aer seeds shot ``k`` with ``seed + k``, which must not meet the next row's."""
        calls = [
            (circuit, slots.fill(rows[row : row + 1]))
            for circuit, slots in zip(self.circuits, self.slots, strict=False)
            for row in range(len(rows))
        ]
        calls += [(circuit, []) for circuit in self.circuits[len(self.slots) :]]
        return [
            data
            for number, (circuit, table) in enumerate(calls)
            for data in self._execute([circuit], [table], shots, seed, number)
        ]

    def _execute(
        self, circuits: list[Any], tables: list[Table], shots: int | None, seed: int, number: int = 0
    ) -> list[dict[str, Any]]:
        from qiskit_aer.backends.backend_utils import LIBRARY_DIR
        from qiskit_aer.backends.controller_wrappers import AerConfig, aer_controller_execute

        executions = sum(len(table[0][1]) if table else 1 for table in tables)
        repeats = shots if shots and self.noise else 1
        heavy = executions * repeats * self.seconds > PARALLEL
        threads = cores() if heavy and may_start_threads() else 1
        config = AerConfig()
        config.library_dir = LIBRARY_DIR
        config.method = self.method
        config.n_qubits, config.memory_slots = self.num_qubits, self.num_clbits
        config.parameterizations = tables
        # Aer spreads the rows of one circuit over threads only as far as there are shots to spread.
        config.shots = threads if shots is None else shots
        config.seed_simulator = _mix(seed, number)
        config.enable_truncation = False  # what a program holds is what it needs
        # Rows run in parallel, a state never: its sums would depend on the number of threads.
        config.max_parallel_threads = threads
        config.statevector_parallel_threshold = 64
        if self.noise is None and all(slots.positions for slots in self.slots):
            config.runtime_parameter_bind_enable = True
        else:
            config.max_parallel_experiments = threads
        output = aer_controller_execute().execute(circuits, self.noise, config)
        if not output["success"]:
            raise CircuitError(f"the simulation failed: {output['status']}")
        return [result["data"] for result in output["results"]]


def assemble(
    circuits: Sequence[QuantumCircuit],
    parameters: Sequence[str],
    *,
    once: int = 0,
    method: str = "statevector",
    noise: dict[str, Any] | None = None,
) -> Program:
    """Assemble circuits whose parameters have these names, in the order of the columns of the rows.

    :param once: so many of the last circuits have no parameters and run once, not once per row.
    """
    from qiskit_aer.backends.aer_compiler import assemble_circuits

    order = {name: column for column, name in enumerate(parameters)}
    plain = [circuit.copy() for circuit in circuits]
    for circuit in plain:
        circuit.global_phase = 0  # it changes no outcome, and binding it would only cost
    assembled, operations = assemble_circuits(plain)
    for number, each in enumerate(assembled):
        each.circ_id = number
    bound = len(plain) - once
    size = max(circuit.num_qubits for circuit in plain)
    names = plain[0].count_ops()
    amplitudes = 4**size if method == "density_matrix" else 2**size
    return Program(
        circuits=assembled,
        slots=[Slots.of(*each, order) for each in zip(plain[:bound], operations, strict=False)],
        num_qubits=size,
        num_clbits=max(circuit.num_clbits for circuit in plain),
        saves=any(name.startswith("save_") for name in names),
        saved=1 << size if "save_probabilities" in names else 1,
        method=method,
        noise=noise,
        seconds=2.5e-5 + max(len(circuit.data) for circuit in plain) * (5e-7 + 2.5e-9 * amplitudes),
    )


def _mix(seed: int, number: int) -> int:
    """Aer's seed for a call: far from those of neighbouring seeds, as Aer seeds execution ``k`` with ``+ 2113·k``."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:6], "big")


@cache
def cores() -> int:
    """CPU cores this process may use: by affinity, and by the quota of its control group."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(available, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no control group, or no quota ("max")
        return available
