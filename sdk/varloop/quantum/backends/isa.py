"""Compiling for a device: the circuit once, then each measurement basis on the same qubits."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from varloop.errors import CircuitError
from varloop.quantum.backends import Compiled

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit
    from qiskit.transpiler import Target

__all__ = ["calibration", "compile_circuit"]

TRANSLATION = "qiskit.transpiler.translation"
SEED = 0  # of the transpiler's heuristics: the same circuit compiles to the same circuit everywhere


def compile_circuit(circuit: QuantumCircuit, bases: Sequence[str], target: Target, level: int) -> Compiled:
    """Compile a circuit for a target, once for all bases, so that all share one layout.

    :raises CircuitError: it has more qubits than the target, cannot be expressed in its gates, or does what no gate
        does, so that a single value would not be exact.
    """
    isa = _transpile(circuit, target, level)
    _check_gates(isa)
    layout = tuple(range(circuit.num_qubits))
    if isa.layout is not None:
        layout = tuple(isa.layout.final_index_layout(filter_ancillas=True))
    if not bases:
        return Compiled((isa,), layout)
    return Compiled(_finish([_measured(isa, layout, basis) for basis in bases], target), layout)


def calibration(layout: Sequence[int], target: Target) -> tuple[QuantumCircuit, ...]:
    """Two circuits that prepare all qubits of a layout in 0, then in 1, and measure them."""
    from qiskit.circuit import QuantumCircuit

    zeros = QuantumCircuit(1 + max(layout))
    ones = zeros.copy()
    ones.x(layout)
    return _finish([_measured(each, layout, "") for each in (zeros, ones)], target)


def _check_gates(circuit: QuantumCircuit) -> None:
    from qiskit.circuit import Barrier, Delay, Gate

    other = {each.name for each in circuit.data if not isinstance(each.operation, (Gate, Barrier, Delay))}
    if other:
        raise CircuitError(
            f"the circuit contains {', '.join(sorted(other))}; expected gates, then measurements",
            hint="prepare_state prepares a state with gates, initialize does not",
        )


def _measured(isa: QuantumCircuit, layout: Sequence[int], basis: str) -> QuantumCircuit:
    """The circuit, followed by a measurement of every qubit of the layout in a Pauli basis."""
    from qiskit.circuit import ClassicalRegister

    circuit = isa.copy()
    register = ClassicalRegister(len(layout), "c")
    circuit.add_register(register)
    for pauli, qubit in zip(reversed(basis), layout, strict=False):
        if pauli == "Y":
            circuit.sdg(qubit)
        if pauli in "XY":
            circuit.h(qubit)
    circuit.measure(layout, register)
    return circuit


def _finish(circuits: list[QuantumCircuit], target: Target) -> tuple[QuantumCircuit, ...]:
    """Translate what was added to compiled circuits into the target's gates, moving no qubit."""
    if all(name in target for circuit in circuits for name in circuit.count_ops()):
        return tuple(circuits)
    return tuple(_transpile(circuits, target, 1, layout_method="trivial", routing_method="none"))


def _transpile(circuits: Any, target: Target, level: int, **methods: str) -> Any:
    from qiskit import transpile
    from qiskit.exceptions import QiskitError

    _import_plugins_late()
    settings = {"optimization_level": level, "seed_transpiler": SEED, "num_processes": 1, **methods}
    try:
        return transpile(circuits, target=target, **settings)
    except QiskitError as error:
        raise CircuitError(
            f"the circuit cannot be compiled for this device: {error.message}",
            hint="choose another device, or a circuit of fewer qubits and simpler gates",
        ) from error


def _import_plugins_late() -> None:
    """Let Qiskit find the translation plugins of other packages without importing them.

    It makes an object of each before it takes its own; that of qiskit-ibm-runtime alone takes seconds.
    """
    from stevedore import ExtensionManager

    found = getattr(ExtensionManager, "ENTRY_POINT_CACHE", {})  # without it, all are imported
    if TRANSLATION not in found:
        plugins = entry_points(group=TRANSLATION)
        found[TRANSLATION] = [_Plugin(each.name, each.value, each.group) for each in plugins]


class _Plugin(EntryPoint):
    """A plugin that is imported when it is used: what loading it gives makes the plugin, which is itself."""

    def load(self) -> Any:
        return lambda: self

    def pass_manager(self, *settings: Any) -> Any:
        return super().load()().pass_manager(*settings)
