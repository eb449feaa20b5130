"""aer:fake_NAME: Aer with the noise of a recorded IBM device, cut down to the qubits that a circuit uses.

Gate errors and relaxation come from the device's calibration, as in Aer's ``NoiseModel.from_backend``. Exact values
hold the noise of the circuit's gates but no readout error, and no noise of a basis change, as nothing is measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from varloop.errors import CircuitError
from varloop.quantum.backends.aer import Aer, finished
from varloop.quantum.backends.program import Program, assemble

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit
    from qiskit.transpiler import Target

    from varloop.quantum.templates import Template

__all__ = ["NoisyAer", "device", "devices"]

DENSITY = 10
"""qubits in use up to which a density matrix is computed (16 MiB); beyond, every shot is a trajectory"""


class NoisyAer(Aer):
    """A recorded device. Its calibration never changes, but does with versions of qiskit-ibm-runtime."""

    limits: ClassVar[dict[str, int]] = {"expectation": DENSITY, "distribution": DENSITY, "counts": 24}

    @property
    def calibration(self) -> str:
        return self._calibration

    @cached_property
    def _calibration(self) -> str:
        facts = sorted(
            (name, qubits, getattr(properties, "error", None), getattr(properties, "duration", None))
            for name, qubits, properties in _properties(self.target)
        )
        times = [(qubit.t1, qubit.t2) for qubit in self.target.qubit_properties or ()]
        return hashlib.sha256(repr((facts, times)).encode()).hexdigest()[:16]

    @cached_property
    def target(self) -> Target:
        return device(self.name.removeprefix("aer:"))().target

    def _program(self, template: Template, calibrate: bool) -> Program:
        used = sorted(
            {circuit.find_bit(qubit).index for circuit in template.circuits for qubit in _active(circuit)}
            | set(template.layout)
        )
        density = len(used) <= DENSITY
        if not density and template.mode != "counts":
            raise CircuitError(
                f"the compiled circuit uses {len(used)} qubits of {self.name}; exact noisy values allow {DENSITY}",
                hint="set shots, or use a higher optimization_level",
            )
        circuits = finished(template, self.target, calibrate, density)
        cropped = [_crop(circuit, used) for circuit in circuits]
        return assemble(
            cropped,
            template.parameters,
            once=len(circuits) - len(template.qpy),
            method="density_matrix" if density else "statevector",
            noise=_noise(_local(self.target, used, cropped), readout=not density),
        )

    def _readout_errors(self, template: Template) -> NDArray[np.float64]:
        from qiskit_aer.noise.device.models import basic_device_readout_errors

        local = _local(self.target, template.layout, ())
        errors = np.zeros((template.num_qubits, 2))
        for (qubit,), error in basic_device_readout_errors(target=local):
            (_, up), (down, _) = error.probabilities
            errors[qubit] = up, down
        return errors


@cache
def devices() -> dict[str, Any]:
    """Classes of the recorded devices by name, e.g. ``fake_torino``."""
    from qiskit_ibm_runtime import fake_provider
    from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2

    classes: list[Any] = [each for each in vars(fake_provider).values() if isinstance(each, type)]
    devices = [each for each in classes if issubclass(each, FakeBackendV2)]
    return {each.backend_name: each for each in devices if getattr(each, "backend_name", None)}


def device(name: str) -> Any:
    """The class of a recorded device, or None."""
    return devices().get(name)


def _active(circuit: QuantumCircuit) -> set[Any]:
    return {qubit for instruction in circuit.data for qubit in instruction.qubits}


def _crop(circuit: QuantumCircuit, used: Sequence[int]) -> QuantumCircuit:
    """The circuit on the qubits in use, renumbered in their order."""
    from qiskit.circuit import QuantumCircuit

    place = {qubit: number for number, qubit in enumerate(used)}
    result = QuantumCircuit(len(used), circuit.num_clbits)
    for instruction in circuit.data:
        result.append(
            instruction.operation,
            [place[circuit.find_bit(qubit).index] for qubit in instruction.qubits],
            [circuit.find_bit(clbit).index for clbit in instruction.clbits],
        )
    return result


def _local(target: Target, used: Sequence[int], circuits: Sequence[QuantumCircuit]) -> Target:
    """The part of a target that measures these qubits and runs these circuits, on the renumbered qubits."""
    from qiskit.transpiler import Target

    place = {qubit: number for number, qubit in enumerate(used)}
    needed = {("measure", (number,)) for number in place.values()} | {
        (instruction.name, tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits))
        for circuit in circuits
        for instruction in circuit.data
    }
    local = Target(
        num_qubits=len(used), qubit_properties=[(target.qubit_properties or {})[qubit] for qubit in used]
    )
    for name in target.operation_names:
        entries = {
            tuple(place[qubit] for qubit in qubits): properties
            for other, qubits, properties in _properties(target)
            if other == name and set(qubits) <= place.keys()
        }
        kept = {qubits: properties for qubits, properties in entries.items() if (name, qubits) in needed}
        if kept:
            local.add_instruction(target.operation_from_name(name), kept, name=name)
    return local


def _properties(target: Target) -> list[tuple[str, tuple[int, ...], Any]]:
    """Every instruction on its qubits; those on any qubits left out."""
    return [
        (name, qubits, properties)
        for name, places in target.items()
        for qubits, properties in (places or {}).items()
        if qubits is not None
    ]


def _noise(local: Target, readout: bool) -> dict[str, Any]:
    """Aer's noise model as the plain data its native part reads."""
    from qiskit_aer.noise import NoiseModel
    from qiskit_aer.noise.device.models import basic_device_gate_errors, basic_device_readout_errors

    model = NoiseModel()
    for name, qubits, error in basic_device_gate_errors(target=local):
        model.add_quantum_error(error, name, qubits)
    for qubits, error in basic_device_readout_errors(target=local) if readout else ():
        model.add_readout_error(error, qubits)
    plain: dict[str, Any] = model.to_dict(serializable=True)
    return plain
