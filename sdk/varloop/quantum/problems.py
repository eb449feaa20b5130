"""Problems: what a run minimises, as an observable, as costs of bit strings, and as an ansatz."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

import numpy as np
from numpy.typing import NDArray

from varloop.spec import Ising, MaxCut, Problem, Qubo, RunSpec

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp

__all__ = ["Binary", "ansatz", "costs", "is_binary", "num_qubits", "observable"]

Binary = Qubo | Ising | MaxCut


def is_binary(problem: Problem) -> TypeGuard[Binary]:
    """True if the problem's observable is diagonal and every outcome has a cost."""
    return isinstance(problem, Binary)


def num_qubits(problem: Problem) -> int:
    """Qubits the problem's observable acts on."""
    raise NotImplementedError


def observable(problem: Problem) -> SparsePauliOp:
    """The observable whose expectation value the run minimises."""
    raise NotImplementedError


def costs(problem: Binary, outcomes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Cost of each outcome, same shape; bit ``i`` of an outcome is variable ``i`` (qubit ``i``)."""
    raise NotImplementedError


def ansatz(spec: RunSpec) -> QuantumCircuit:
    """The spec's circuit, or QAOA of its binary problem."""
    raise NotImplementedError
