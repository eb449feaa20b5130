"""Compiling for a device: the circuit once, then each measurement basis on the same qubits."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from varloop.errors import CircuitError
from varloop.quantum.backends import Compiled
from varloop.quantum.gates import without_final_measurements
from varloop.support.forks import may_start_threads

if TYPE_CHECKING:
    from qiskit.circuit import Delay, QuantumCircuit
    from qiskit.transpiler import Target

__all__ = ["calibration", "compile_circuit"]

TRANSLATION = "qiskit.transpiler.translation"
SEED = 0  # of the transpiler's heuristics: the same circuit compiles to the same circuit everywhere


def compile_circuit(circuit: QuantumCircuit, bases: Sequence[str], target: Target, level: int) -> Compiled:
    """Compile a circuit for a target, once for all bases, so that all share one layout.

    A circuit that will be measured is compiled with its measurements, behind a barrier: where qubits are placed then
    takes their readout errors into account, and no gate is moved or dropped that only this one basis cannot tell.

    :param circuit: gates, barriers and delays; no classical bits.
    :raises CircuitError: it has more qubits than the target, or cannot be expressed in its gates.
    """
    from qiskit.circuit import QuantumCircuit

    circuit = _clocked(circuit, target)
    if not bases:
        isa = _transpile(circuit, target, level)
        final = isa.layout and isa.layout.final_index_layout(filter_ancillas=True)
        return Compiled((isa,), tuple(final or range(circuit.num_qubits)))
    measured = circuit.copy()
    measured.measure_all()
    isa = _transpile(measured, target, level)
    places = {isa.find_bit(each.clbits[0]).index: each.qubits[0] for each in isa.data if each.clbits}
    layout = tuple(isa.find_bit(places[bit]).index for bit in range(circuit.num_qubits))
    bare = QuantumCircuit(isa.num_qubits)
    for instruction in without_final_measurements(isa):
        bare.append(
            instruction.operation, [isa.find_bit(qubit).index for qubit in instruction.qubits], copy=False
        )
    return Compiled(_finish([_measured(bare, layout, basis) for basis in bases], target), layout)


def calibration(layout: Sequence[int], target: Target) -> tuple[QuantumCircuit, ...]:
    """Two circuits that prepare all qubits of a layout in 0, then in 1, and measure them."""
    from qiskit.circuit import QuantumCircuit

    zeros = QuantumCircuit(1 + max(layout))
    ones = zeros.copy()
    ones.x(layout)
    return _finish([_measured(each, layout, "") for each in (zeros, ones)], target)


def _clocked(circuit: QuantumCircuit, target: Target) -> QuantumCircuit:
    """The circuit with its delays in the target's unit of time; without them where qubits do not decay."""
    if not circuit.count_ops().get("delay"):
        return circuit
    result = circuit.copy_empty_like()
    for instruction in circuit.data:
        if instruction.name != "delay":
            result.append(instruction, copy=False)
        elif target.qubit_properties is not None:
            result.append(_counted(instruction.operation, target), instruction.qubits, copy=False)
    return result


def _counted(delay: Delay, target: Target) -> Delay:
    """The delay in the target's dt, a multiple of what the target can time; in seconds if it does not tell its dt."""
    from qiskit.circuit import Delay
    from qiskit.utils.units import apply_prefix

    seconds = None if delay.unit == "dt" else apply_prefix(delay.duration, delay.unit)
    if target.dt:
        steps = delay.duration if seconds is None else seconds / target.dt
        grid = math.lcm(target.granularity, target.pulse_alignment, target.acquire_alignment)
        return Delay(grid * round(steps / grid), "dt")
    if seconds is None:
        raise CircuitError(
            f"a delay lasts {delay.duration} dt, and this device does not tell how long its dt is",
            hint="give the duration in seconds",
        )
    return Delay(seconds, "s")


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
    if not may_start_threads():
        os.environ["QISKIT_IN_PARALLEL"] = "TRUE"  # by which Qiskit tells its own children the same
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
