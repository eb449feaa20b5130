"""Problems: what a run minimises, as an observable, as costs of bit strings, and as an ansatz.

Every binary problem is brought to one form: constant + Σ h_i·s_i + Σ J_ij·s_i·s_j with spins s = 1 − 2·bit,
so a spin is the eigenvalue of Z on its qubit, and variable i is qubit i is bit i.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from varloop.errors import SpecError, UsageError
from varloop.quantum.circuits import MAX_OPERATIONS, Load, check_size, load
from varloop.spec import Energy, Ising, MaxCut, Problem, Qubo, RunSpec, Weight

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp

__all__ = [
    "Binary",
    "ansatz",
    "bounds",
    "constant",
    "costs",
    "cvar_share",
    "energies",
    "is_binary",
    "num_qubits",
    "observable",
    "parameter_names",
    "terms",
    "varying",
]

Binary = Qubo | Ising | MaxCut
Edge = tuple[int, int]

IMAGINARY = 1e-12
"""largest imaginary part of a coefficient that is taken for one of rounding"""
_CHUNK = 1 << 16
ROUNDING = 1e-14
"""of the largest weight: what is smaller is left over from sums that vanish, and counts as 0"""


def is_binary(problem: Problem) -> TypeGuard[Binary]:
    """True if the observable is diagonal and every outcome has a cost."""
    return isinstance(problem, Binary)


def cvar_share(problem: Problem) -> float:
    """Share of the lowest costs that the objective averages; 1 is the plain expectation value."""
    return problem.cvar if is_binary(problem) else 1.0


def num_qubits(problem: Problem) -> int:
    """Qubits the problem acts on: the largest variable plus one, or the width of the Pauli labels."""
    match problem:
        case Energy(observable=terms):
            return len(terms[0][0])
        case Qubo(terms=weights) | MaxCut(edges=weights):
            return _size(weights)
        case Ising(couplings=weights, fields=fields):
            return max(_size(weights), len(fields))


def observable(problem: Problem) -> SparsePauliOp:
    """The Hermitian observable whose expectation value the run minimises.

    Terms of an energy are in the spec's order. Of a binary problem: the constant (identity), then Z of
    every variable with a field in ascending order, then ZZ of every coupled pair in ascending order.
    """
    from qiskit.quantum_info import SparsePauliOp

    if isinstance(problem, Energy):
        return SparsePauliOp.from_list(problem.observable)
    constant, fields, couplings = _spins(problem)
    terms: list[tuple[str, list[int], float]] = [("", [], constant)]
    terms += [("Z", [i], fields[i]) for i in range(len(fields)) if fields[i]]
    terms += [("ZZ", [i, j], weight) for (i, j), weight in couplings.items()]
    return SparsePauliOp.from_sparse_list(terms, num_qubits=len(fields))


def varying(observable: SparsePauliOp) -> SparsePauliOp:
    """The observable without identities; equal terms are added up where the first stands, those of 0 are left out."""
    from qiskit.quantum_info import SparsePauliOp

    sums: dict[str, float] = {}
    for label, coefficient in zip(
        observable.paulis.to_labels(), observable.coeffs.real.tolist(), strict=True
    ):
        sums[label] = sums.get(label, 0.0) + coefficient
    labels = [label for label in sums if label.strip("I")]
    weights = _rounded(np.array([sums[label] for label in labels]))
    kept = [(label, weight) for label, weight in zip(labels, weights.tolist(), strict=True) if weight]
    return SparsePauliOp.from_list(kept, num_qubits=observable.num_qubits)


def constant(problem: Problem) -> float:
    """What is part of every value: the coefficients of the identity, or the constant of a binary problem."""
    if isinstance(problem, Energy):
        return math.fsum(weight for label, weight in problem.observable if not label.strip("I"))
    return _spins(problem)[0]


def terms(given: SparsePauliOp | Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Pauli labels and real coefficients of an observable.

    :param given: an operator, anything that Qiskit makes a SparsePauliOp of (a Pauli, a label), or the terms.
    :raises UsageError: if it is something else, not Hermitian, or has free parameters.
    """
    if isinstance(given, list | tuple):
        return _real(given)
    from qiskit.quantum_info import Pauli, PauliList, SparsePauliOp

    if isinstance(given, str | Pauli | PauliList):
        given = SparsePauliOp(given)
    if not isinstance(given, SparsePauliOp):
        raise UsageError(
            f"the observable is a {type(given).__name__}, expected a SparsePauliOp",
            hint="SparsePauliOp.from_operator(…) makes one of a matrix",
        )
    try:
        numbers = [(label, complex(coefficient)) for label, coefficient in given.to_list()]
    except TypeError as error:
        raise UsageError("the observable has coefficients with free parameters", hint="bind them") from error
    return _real(numbers)


def _real(given: Sequence[Any]) -> list[Any]:
    """Terms with real coefficients, where some are complex: those of equal labels are one term, which must be real.

    What is no pair of a label and a number stays as it is: the spec's check says what is wrong with it.
    """
    pairs = [tuple(term) for term in given if isinstance(term, list | tuple)]
    if len(pairs) < len(given) or not all(map(_complex, pairs)):
        return list(given)
    sums: dict[str, complex] = {}
    for label, number in pairs:
        sums[label] = sums.get(label, 0) + number
    if bad := [label for label, total in sums.items() if abs(total.imag) > IMAGINARY]:
        raise UsageError(f"the observable is not Hermitian: {bad[0]} has a complex coefficient")
    return [(label, total.real) for label, total in sums.items()]


def _complex(term: tuple[Any, ...]) -> bool:
    """Whether this is a label with a number that need not be real, as Qiskit has them."""
    return len(term) == 2 and isinstance(term[0], str) and isinstance(term[1], complex)


def costs(problem: Binary, outcomes: ArrayLike) -> NDArray[np.float64]:
    """Cost of each outcome, the problem's constant included, same shape as the outcomes (see :func:`energies`)."""
    return energies(problem, outcomes) + constant(problem)


def bounds(problem: Binary) -> tuple[float, float]:
    """No cost is below the first or above the second; the best need not reach them: constant ∓ (Σ|h| + Σ|J|)."""
    middle, fields, couplings = _spins(problem)
    reach = float(np.abs(fields).sum()) + sum(map(abs, couplings.values()))
    return middle - reach, middle + reach


def energies(problem: Binary, outcomes: ArrayLike) -> NDArray[np.float64]:
    """Cost of each outcome without the problem's constant, same shape.

    :param outcomes: unsigned 64-bit integers; bit ``i`` is variable ``i``, little-endian as in Qiskit. Bits
        beyond the problem's variables are ignored.
    """
    outcomes = np.asarray(outcomes, dtype=np.uint64)
    _, fields, couplings = _spins(problem)
    matrix = np.zeros((len(fields), len(fields)))
    for pair, weight in couplings.items():
        matrix[pair] = weight
    flat, positions = outcomes.reshape(-1), np.arange(len(fields), dtype=np.uint64)
    result = np.empty(flat.shape)
    for start in range(0, len(flat), _CHUNK):
        bits = flat[start : start + _CHUNK, None] >> positions & np.uint64(1)
        spins = 1.0 - 2.0 * bits.astype(np.float64)
        result[start : start + _CHUNK] = np.einsum("si,si->s", spins @ matrix + fields, spins)
    return result.reshape(outcomes.shape)


def ansatz(spec: RunSpec, load: Load = load) -> QuantumCircuit:
    """The spec's circuit; without one, QAOA of its binary problem with p = ``layers`` layers.

    QAOA (Farhi et al., arXiv:1411.4028) prepares, from |+…+⟩,

        |γ, β⟩ = Π_{l=0}^{p−1} exp(−i·β_l·Σ X_i) · exp(−i·γ_l·C / 2w) |+…+⟩,     l = 0 acting first,

    with C the observable to *minimise*, without its constant, and w the root mean square of its h_i and J_ij that
    are not 0: RZ(γ·h_i/w), RZZ(γ·J_ij/w), then RX(2·β). So the size of γ does not depend on that of the weights, a
    problem times a constant has the same circuit (Shaydulin et al., Quantum 8, 1231 (2024), scale weighted cuts so),
    and of a cut without weights, where 2w = 1, γ is what it is in the literature. The 2p parameters are γ_0 … γ_{p−1} (named ``cost``) and then β_0 … β_{p−1} (named ``mixer``). Angles
    published for *maximising* a cut, −C, are used by negating every γ. (Negating all 2p parameters changes no
    cost, so negating every β does the same.)

    :param load: reads the spec's circuit.
    :raises SpecError: an energy problem without a circuit.
    :raises CircuitError: the circuit cannot be read, or has more than MAX_OPERATIONS.
    """
    if spec.circuit is not None:
        return load(spec.circuit, spec.seed)
    if not is_binary(spec.problem):
        raise SpecError(["circuit: missing; an energy problem needs an ansatz"])
    return _qaoa(spec.problem)


def parameter_names(spec: RunSpec, load: Load = load) -> list[str]:
    """Names of a run's parameters, in their order: those of its circuit, or γ and β of each layer of QAOA."""
    if spec.circuit is None and is_binary(spec.problem):
        return [f"{letter}[{layer}]" for letter in "γβ" for layer in range(spec.problem.layers)]
    return [parameter.name for parameter in ansatz(spec, load).parameters]


def _qaoa(problem: Binary) -> QuantumCircuit:
    from qiskit.circuit import ParameterVector, QuantumCircuit

    fields, couplings = _unit(problem)
    gammas, betas = (ParameterVector(name, problem.layers) for name in ("cost", "mixer"))
    qubits = range(len(fields))
    count = problem.layers * (len(couplings) + len(fields) + np.count_nonzero(fields)) + len(fields)
    check_size(int(count), "operations", MAX_OPERATIONS)
    circuit = QuantumCircuit(len(fields))
    circuit.h(qubits)
    pairs = _rounds(couplings)
    for gamma, beta in zip(gammas, betas, strict=True):
        for pair in pairs:
            circuit.rzz(couplings[pair] * gamma, *pair)
        for i in qubits:
            if fields[i]:
                circuit.rz(fields[i] * gamma, i)
            circuit.rx(2 * beta, i)
    return circuit


def _unit(problem: Binary) -> tuple[list[float], dict[Edge, float]]:
    """Fields and couplings over their root mean square; those that are 0 do not count."""
    _, fields, couplings = _spins(problem)
    weights = np.array([*fields, *couplings.values()])
    largest = np.abs(weights).max(initial=0.0) or 1.0
    weights /= largest
    used = max(np.count_nonzero(weights), 1)
    weights /= math.sqrt((weights**2).sum() / used) or 1.0
    return weights[: len(fields)].tolist(), dict(zip(couplings, weights[len(fields) :].tolist(), strict=True))


def _rounds(pairs: Iterable[Edge]) -> list[Edge]:
    """The pairs in an order that lets gates on different qubits run side by side: greedy edge colouring."""
    rounds: list[set[int]] = []
    colour: dict[Edge, int] = {}
    for i, j in pairs:
        free = (k for k, busy in enumerate(rounds) if i not in busy and j not in busy)
        colour[i, j] = k = next(free, len(rounds))
        if k == len(rounds):
            rounds.append(set())
        rounds[k] |= {i, j}
    return sorted(colour, key=lambda pair: (colour[pair], pair))


def _spins(problem: Binary) -> tuple[float, NDArray[np.float64], dict[Edge, float]]:
    """Constant, fields (n_variables,), and couplings by pair i < j, in ascending order and none of them 0."""
    fields = np.zeros(num_qubits(problem))
    couplings: dict[Edge, float] = {}

    def couple(i: int, j: int, weight: float) -> None:
        pair = (i, j) if i < j else (j, i)
        couplings[pair] = couplings.get(pair, 0.0) + weight

    match problem:
        case Ising():
            constant = problem.offset
            fields[: len(problem.fields)] += problem.fields
            for i, j, weight in problem.couplings:
                couple(i, j, weight)
        case MaxCut():
            constant = -sum(weight for _, _, weight in problem.edges) / 2
            for i, j, weight in problem.edges:
                couple(i, j, weight / 2)
        case Qubo():
            constant = problem.offset
            for i, j, weight in problem.terms:
                constant += weight / 2 if i == j else weight / 4
                share = weight / 4  # x_i·x_j = (1 − s_i − s_j + s_i·s_j) / 4 and x_i = (1 − s_i) / 2
                fields[i] -= share
                fields[j] -= share
                if i != j:
                    couple(i, j, share)
    pairs = sorted(couplings)
    weights = _rounded(np.array([*fields, *(couplings[pair] for pair in pairs)]))
    kept = zip(pairs, weights[len(fields) :].tolist(), strict=True)
    return constant, weights[: len(fields)], {pair: weight for pair, weight in kept if weight}


def _rounded(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights, with 0 for those that are nothing but rounding beside the largest."""
    sizes = np.abs(weights)
    return np.where(sizes > ROUNDING * sizes.max(initial=0.0), weights, 0.0)


def variables(problem: Binary) -> set[int]:
    """Variables that are in a term of the problem."""
    fields = range(len(problem.fields)) if isinstance(problem, Ising) else ()
    match problem:
        case Qubo(terms=weights) | MaxCut(edges=weights) | Ising(couplings=weights):
            return {*fields, *(k for i, j, _ in weights for k in (i, j))}


def _size(weights: list[Weight]) -> int:
    return 1 + max((max(i, j) for i, j, _ in weights), default=-1)
