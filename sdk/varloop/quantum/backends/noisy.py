"""aer:fake_NAME: Aer with the noise of a recorded IBM device, cut down to the qubits that a circuit uses.

Gate errors and relaxation, that of delays included, come from the device's calibration, as in Aer's
``NoiseModel.from_backend``. Exact values are what infinitely many shots would give: noise of basis changes and readout
errors are in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from varloop.errors import CircuitError
from varloop.quantum.backends.aer import Aer, runnable
from varloop.quantum.backends.program import Program, assemble

if TYPE_CHECKING:
    from qiskit.circuit import Delay, QuantumCircuit
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

    @property
    def measures_exactly(self) -> bool:
        return True

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

    def facts(self, template: Template) -> dict[str, dict[str, float]]:
        used = {
            (instruction.name, tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits))
            for circuit in template.circuits
            for instruction in circuit.data
        }
        found: dict[str, dict[str, float]] = {}
        for name, qubits, properties in _properties(self.target):
            if (name, qubits) in used and properties is not None:
                numbers = {"error": properties.error, "duration": properties.duration}
                found[" ".join((name, *map(str, qubits)))] = numbers
        for qubit in sorted({qubit for _, qubits in used for qubit in qubits}):
            relaxation = (self.target.qubit_properties or {})[qubit]
            found[f"qubit {qubit}"] = {"t1": relaxation.t1, "t2": relaxation.t2}
        return {
            what: {key: float(number) for key, number in numbers.items() if number is not None}
            for what, numbers in sorted(found.items())
        }

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
        circuits = runnable(template, self.target, calibrate, density)
        cropped = [_crop(circuit, used) for circuit in circuits]
        local = _local(self.target, used, cropped)
        delays = _decay(local, cropped)
        return assemble(
            cropped,
            template.parameters,
            once=len(circuits) - len(template.qpy),
            method="density_matrix" if density else "statevector",
            noise=_noise(local, delays, readout=not density),
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
        num_qubits=len(used),
        dt=target.dt,
        qubit_properties=[(target.qubit_properties or {})[qubit] for qubit in used],
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


def _decay(local: Target, circuits: Sequence[QuantumCircuit]) -> dict[str, Any]:
    """Put the place of an error where each delay was, and give the errors by the places' labels.

    A delay's error is the qubit's relaxation, as in Aer's ``RelaxationNoisePass``.
    """
    from qiskit.circuit import Instruction

    errors: dict[str, Any] = {}
    for circuit in circuits:
        for place, instruction in enumerate(circuit.data):
            if instruction.name != "delay":
                continue
            (qubit,), delay = instruction.qubits, instruction.operation
            number = circuit.find_bit(qubit).index
            label = f"delay of {delay.duration} {delay.unit} on {number}"
            if label not in errors:
                errors[label] = _relaxation(delay, local, number)
            circuit.data[place] = instruction.replace(
                operation=Instruction("qerror_loc", 1, 0, [], label=label)
            )
    return errors


def _relaxation(delay: Delay, local: Target, qubit: int) -> Any:
    from qiskit.utils.units import apply_prefix
    from qiskit_aer.noise import thermal_relaxation_error

    known = local.qubit_properties[qubit]
    t1, t2 = (np.inf if time is None else time for time in (known.t1, known.t2))
    seconds = delay.duration * local.dt if delay.unit == "dt" else apply_prefix(delay.duration, delay.unit)
    return thermal_relaxation_error(t1, min(t2, 2 * t1), seconds)


def _noise(local: Target, delays: dict[str, Any], readout: bool) -> dict[str, Any]:
    """Aer's noise model as the plain data its native part reads."""
    from qiskit_aer.noise import NoiseModel
    from qiskit_aer.noise.device.models import basic_device_gate_errors, basic_device_readout_errors

    model = NoiseModel()
    for name, qubits, error in basic_device_gate_errors(target=local):
        model.add_quantum_error(error, name, qubits)
    for label, error in delays.items():
        model.add_all_qubit_quantum_error(error, label)
    for qubits, error in basic_device_readout_errors(target=local) if readout else ():
        model.add_readout_error(error, qubits)
    plain: dict[str, Any] = model.to_dict(serializable=True)
    return plain
