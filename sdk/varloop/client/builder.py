"""What a Python program has at hand, as a run spec."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING

from varloop.errors import UsageError
from varloop.spec import Budget, CircuitSpec, Energy, Gradient, Mitigation, OptimizerSpec, Problem, RunSpec

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp

__all__ = ["build_spec"]


def build_spec(
    *,
    circuit: QuantumCircuit | CircuitSpec | None = None,
    observable: SparsePauliOp | Sequence[tuple[str, float]] | None = None,
    problem: Problem | None = None,
    optimizer: str | OptimizerSpec = "spsa",
    backend: str = "aer",
    shots: int | None = None,
    seed: int = 0,
    budget: Budget | int = 100,
    initial: Iterable[float] | None = None,
    gradient: Gradient = "auto",
    mitigation: Mitigation = "none",
    optimization_level: int = 1,
) -> RunSpec:
    """The run spec of these arguments, which are those of :func:`varloop.submit`.

    :raises UsageError: if not exactly one of observable and problem is given, or if a circuit, an observable or
        first parameters cannot become plain data.
    """
    if (observable is None) == (problem is None):
        raise UsageError("give either an observable or a problem")
    if circuit is not None and not isinstance(circuit, CircuitSpec):
        from varloop.quantum.circuits import spec_of

        circuit = spec_of(circuit)
    if observable is not None:
        from varloop.quantum.problems import terms

        problem = Energy(observable=terms(observable))
    assert problem is not None  # noqa: S101
    return RunSpec(
        problem=problem,
        circuit=circuit,
        initial=None if initial is None else _numbers(initial),
        optimizer=OptimizerSpec(name=optimizer) if isinstance(optimizer, str) else optimizer,
        backend=backend,
        shots=shots,
        seed=seed,
        gradient=gradient,
        mitigation=mitigation,
        optimization_level=optimization_level,
        budget=Budget(iterations=int(budget)) if isinstance(budget, int | Integral) else budget,
    )


def _numbers(initial: Iterable[float]) -> list[float]:
    try:
        return [float(x) for x in initial]
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"initial: {error}", hint="a flat list of numbers, in the order of circuit.parameters"
        ) from error
