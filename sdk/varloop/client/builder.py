"""What a Python program has at hand, as a run spec; and a spec's faults before anything is submitted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from varloop.errors import UsageError
from varloop.spec import (
    Budget,
    CircuitSpec,
    Energy,
    Gradient,
    Ising,
    MaxCut,
    Mitigation,
    OptimizerSpec,
    Problem,
    RunSpec,
    parse,
)

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp

__all__ = ["build_spec", "checked", "plain", "spec_data", "with_source"]

QASM = ".qasm"
IMAGINARY = 1e-12
"""largest imaginary part that is taken for one of rounding"""


def build_spec(
    *,
    circuit: QuantumCircuit | CircuitSpec | str | PathLike[str] | None = None,
    observable: SparsePauliOp | Sequence[tuple[str, complex]] | None = None,
    problem: Problem | Any | None = None,
    optimizer: str | OptimizerSpec = "spsa",
    backend: str = "aer",
    shots: int | None = None,
    seed: int = 0,
    budget: Budget | int = 100,
    initial: Iterable[float] | dict[str, Any] | None = None,
    gradient: Gradient = "auto",
    mitigation: Mitigation = "none",
    optimization_level: int = 2,
) -> RunSpec:
    """The run spec of these arguments, which are those of :func:`varloop.submit`.

    Numbers may be NumPy's.

    :raises UsageError: if not exactly one of observable and problem is given, or if something given cannot become
        plain data.
    :raises SpecError: with every fault that can be seen without building the circuit.
    """
    return parse(
        spec_data(
            circuit=circuit,
            observable=observable,
            problem=problem,
            optimizer=optimizer,
            backend=backend,
            shots=shots,
            seed=seed,
            budget=budget,
            initial=initial,
            gradient=gradient,
            mitigation=mitigation,
            optimization_level=optimization_level,
        )
    )


def spec_data(*, circuit: Any, observable: Any, problem: Any, initial: Any, **others: Any) -> dict[str, Any]:
    """A spec as plain data, whatever its faults.

    :raises UsageError: if not exactly one of observable and problem is given, or if something given cannot become
        plain data.
    """
    if (observable is None) == (problem is None):
        raise UsageError("give either an observable or a problem")
    problem = _energy(observable) if problem is None else _problem(problem)
    circuit, problem = _circuit(circuit, problem)
    given: dict[str, Any] = {
        "problem": problem,
        "circuit": circuit,
        "initial": initial if initial is None or isinstance(initial, str | dict) else _listed(initial),
        **others,
    }
    return {name: plain(value, name) for name, value in given.items()}


def checked(spec: RunSpec | dict[str, Any]) -> RunSpec:
    """A spec for varloop's own steps, if it has no fault that can be found without running it.

    :raises SpecError: with all faults at once.
    """
    from varloop import optimizers
    from varloop.quantum import check

    return parse(plain(spec, "spec"), optimizers.faults, check.faults)


def plain(value: Any, name: str) -> Any:
    """Plain data: structs as objects, NumPy's numbers and arrays as Python's, real numbers that are typed as complex.

    :param name: of the field, for the error.
    :raises UsageError: if something in it is no data.
    """
    try:
        return msgspec.to_builtins(value, enc_hook=_number)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"{name}: {error}", hint="plain numbers, texts, lists and dicts only") from error


def _number(value: Any) -> Any:
    if isinstance(value, complex):
        if abs(value.imag) > IMAGINARY:
            raise ValueError(f"{value} is not real, as the numbers of a spec must be")
        return float(value.real)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a spec cannot hold a {type(value).__name__}")


def with_source(circuit: Any, folder: Path) -> Any:
    """A circuit of a spec, with the source in place of the name of a file of OpenQASM.

    :param circuit: plain data, ``ansatz.qasm`` or ``{qasm: ansatz.qasm}``; anything else stays what it is.
    :param folder: that the name is relative to.
    :raises UsageError: if the file cannot be read.
    """
    given = {"qasm": circuit} if isinstance(circuit, str) else circuit
    name = given.get("qasm") if isinstance(given, dict) else None
    if not (isinstance(name, str) and name.endswith(QASM) and "\n" not in name):
        return circuit
    try:
        return {**given, "qasm": (folder / name).read_text("utf-8")}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"circuit: {name} cannot be read: {getattr(error, 'strerror', '') or error}",
            hint="the name of a file of OpenQASM",
        ) from error


def _circuit(given: Any, problem: Any) -> tuple[Any, Any]:
    """The circuit as data, and the problem on that circuit's qubits."""
    if given is None or isinstance(given, CircuitSpec | dict):
        return with_source(plain(given, "circuit"), Path()), problem
    if isinstance(given, PathLike) or (isinstance(given, str) and given.endswith(QASM)):
        return with_source({"qasm": fspath(given)}, Path()), problem
    from varloop.quantum.circuits import spec_of
    from varloop.quantum.layouts import without_idle

    if isinstance(problem, Problem) and hasattr(given, "layout"):
        given, problem = without_idle(given, problem)
    return spec_of(given), problem


def _listed(initial: Any) -> Any:
    return list(initial) if isinstance(initial, Iterable) else initial


def _energy(observable: Any) -> Energy:
    from varloop.quantum.problems import terms

    return Energy(observable=plain(terms(observable), "observable"))


def _problem(given: Any) -> Any:
    """A problem of varloop's, a graph to be cut, or a program of qiskit-optimization."""
    if isinstance(given, Problem | dict):
        return given
    if hasattr(given, "to_ising"):
        return Ising.of(given)
    if hasattr(given, "is_directed"):
        return MaxCut.of(given)
    raise UsageError(
        f"problem: got a {type(given).__name__}, which is none",
        hint="Energy, MaxCut, Qubo or Ising of varloop, a networkx.Graph to be cut, or a QuadraticProgram of "
        "qiskit-optimization (from_docplex_mp(model) makes one of a docplex model)",
    )
