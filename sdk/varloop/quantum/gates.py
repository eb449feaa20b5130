"""Gates: what varloop runs of a circuit.

A run's circuit is gates, barriers and delays on numbered qubits. The rest of what Qiskit's circuits carry (registers,
classical bits, labels, the layout of an earlier compilation, final measurements) is left out here, once, before
anything is written, compiled or simulated, so that nothing of it can change an outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from varloop.errors import CircuitError

if TYPE_CHECKING:
    from qiskit.circuit import (
        AnnotatedOperation,
        CircuitInstruction,
        Clbit,
        Delay,
        Operation,
        QuantumCircuit,
        Qubit,
    )

__all__ = ["inlined", "plain", "timed", "unfold", "without_final_measurements"]

Placed = tuple["CircuitInstruction", list["Qubit"], list["Clbit"]]

_HINTS = {
    "initialize": "prepare_state prepares a state with gates, initialize resets qubits first",
    "reset": "every run begins in |0…0⟩; use a fresh qubit in place of one that is reset",
    "measure": "outcomes before the end cannot be used; leave them out, or use further qubits",
    "for_loop": "write its body out: a Python loop around the gates, or Qiskit's UnrollForLoops",
    "if_else": "write controlled gates in place of conditions",
    "switch_case": "write controlled gates in place of conditions",
    "while_loop": "a circuit of a fixed length is needed",
    "box": "write its body without the box",
    "store": "make the variable a qiskit.circuit.Parameter",
    "save_": "leave it out; varloop reads what the observable or the problem asks for",
    "set_": "every run begins in |0…0⟩; prepare_state prepares a state with gates",
    "kraus": "noise is the backend's: aer:fake_NAME",
    "superop": "noise is the backend's: aer:fake_NAME",
    "quantum_channel": "noise is the backend's: aer:fake_NAME",
    "roerror": "noise is the backend's: aer:fake_NAME",
}
"""What to do, by the beginning of the operation's name"""


def plain(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit's gates, barriers and delays on qubits 0 … n−1, without final measurements.

    :raises CircuitError: it contains anything else, or a delay whose duration is not a number.
    """
    from qiskit.circuit import QuantumCircuit

    circuit = inlined(circuit)
    kept = without_final_measurements(circuit)
    _check_operations(kept)
    result = QuantumCircuit(circuit.num_qubits, global_phase=circuit.global_phase)
    for instruction in kept:
        operation = timed(instruction.operation) if instruction.name == "delay" else instruction.operation
        result.append(operation, [circuit.find_bit(qubit).index for qubit in instruction.qubits], copy=False)
    return result


def timed(delay: Delay) -> Delay:
    """The delay with a number and a unit for its duration.

    :raises CircuitError: its duration is a parameter, a variable or a stretch.
    """
    from qiskit.circuit import Delay, Duration
    from qiskit.circuit.classical.expr import Value

    duration, unit = delay.duration, delay.unit
    if isinstance(duration, Value) and isinstance(duration.value, Duration):
        return Delay(duration.value.value(), duration.value.unit())
    if unit == "expr" or getattr(duration, "parameters", None):
        raise CircuitError(
            f"the circuit has a delay whose duration is {duration}, expected a number",
            hint="give it a number; what a run optimises are angles of gates",
        )
    return delay


def inlined(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit with every operation taken apart that Qiskit's QPY does not write whole, and without labels.

    Of custom gates QPY keeps but names and numbers, and a label hides a gate from a noise model.
    """
    from qiskit.circuit import CircuitInstruction

    if all(map(_stays, circuit.data)):
        return circuit.copy()
    result = circuit.copy_empty_like()
    for instruction, qubits, clbits in unfold(circuit, _portable):
        if instruction.name == "global_phase":
            result.global_phase += instruction.params[0]
            continue
        operation = instruction.operation
        if instruction.label is not None:
            operation = operation.to_mutable()
            operation.label = None
        result.append(CircuitInstruction(operation, qubits, clbits), copy=False)
    return result


def without_final_measurements(circuit: QuantumCircuit) -> list[CircuitInstruction]:
    """The instructions that something but a measurement follows, or that are none."""
    kept: list[CircuitInstruction] = []
    busy: set[Qubit] = set()
    for instruction in reversed(circuit.data):
        if instruction.name in {"measure", "barrier"} and busy.isdisjoint(instruction.qubits):
            continue
        if instruction.name != "barrier":
            busy.update(instruction.qubits)
        kept.append(instruction)
    return kept[::-1]


def unfold(
    circuit: QuantumCircuit,
    whole: Callable[[CircuitInstruction], bool],
    qubits: Sequence[Qubit] | None = None,
    clbits: Sequence[Clbit] | None = None,
) -> Iterator[Placed]:
    """The circuit's instructions, those that are not whole taken apart, and where each of them acts.

    The phase of what is taken apart becomes an instruction.

    :param whole: true for an instruction that stays as it is; one that Qiskit cannot take apart stays too.
    :param qubits: those that the circuit's own stand for.
    """
    from qiskit.circuit import CircuitInstruction
    from qiskit.circuit.library import GlobalPhaseGate

    qubits = circuit.qubits if qubits is None else qubits
    clbits = circuit.clbits if clbits is None else clbits
    for instruction in circuit.data:
        inner = None if whole(instruction) else _definition(instruction.operation)
        targets = [qubits[circuit.find_bit(bit).index] for bit in instruction.qubits]
        memory = [clbits[circuit.find_bit(bit).index] for bit in instruction.clbits]
        if inner is None:
            yield instruction, targets, memory
        else:
            if inner.global_phase:
                yield CircuitInstruction(GlobalPhaseGate(inner.global_phase)), [], []
            yield from unfold(inner, whole, targets, memory)


def _check_operations(instructions: Sequence[CircuitInstruction]) -> None:
    others = [each for each in instructions if not _runs(each)]
    if not others:
        return
    names = {each.name for each in others}
    hints = [hint for start, hint in _HINTS.items() if any(name.startswith(start) for name in names)]
    if any(_is_gate(each) for each in others):
        hints.append("give the gate a definition or a matrix")
    raise CircuitError(
        f"the circuit contains {', '.join(sorted(names))}; expected gates, then measurements",
        hint="; ".join(dict.fromkeys(hints)),
    )


def _runs(instruction: CircuitInstruction) -> bool:
    from qiskit.circuit import Barrier, Delay

    operation = instruction.operation
    return isinstance(operation, (Barrier, Delay)) or (_portable(instruction) and _is_gate(instruction))


def _is_gate(instruction: CircuitInstruction) -> bool:
    """True for whatever is unitary: a gate, or an operation that stands for one, such as a Clifford."""
    from qiskit.circuit import Gate, Instruction

    operation = instruction.operation
    return isinstance(operation, Gate) or not isinstance(operation, Instruction)


def _stays(instruction: CircuitInstruction) -> bool:
    return _portable(instruction) and instruction.label is None and instruction.name != "global_phase"


def _portable(instruction: CircuitInstruction) -> bool:
    """True for what QPY writes whole, and for what :func:`plain` refuses by its name."""
    from qiskit.circuit import Barrier, Delay, Gate
    from qiskit.circuit.library import LinearFunction, MCXGate, PermutationGate, QFTGate, UnitaryGate
    from qiskit.quantum_info import Clifford

    if instruction.is_standard_gate() or isinstance(instruction.operation, (Barrier, Delay)):
        return True
    if not isinstance(instruction.operation, Gate) and instruction.name.startswith(tuple(_HINTS)):
        return True
    kept = (Clifford, LinearFunction, MCXGate, PermutationGate, QFTGate, UnitaryGate)
    return type(instruction.operation) in kept


def _definition(operation: Operation) -> QuantumCircuit | None:
    """What the operation consists of, or None where Qiskit cannot tell."""
    from qiskit.circuit import AnnotatedOperation
    from qiskit.exceptions import QiskitError

    try:
        if isinstance(operation, AnnotatedOperation):
            return _of_modifiers(operation)
        return _of_matrix(operation) if operation.definition is None else operation.definition
    except (QiskitError, TypeError):
        return None


def _of_modifiers(operation: AnnotatedOperation) -> QuantumCircuit:
    """A controlled, inverted or repeated operation; its base under no name, as Qiskit takes names for gates."""
    from qiskit.circuit import AnnotatedOperation, CircuitInstruction, QuantumCircuit
    from qiskit.transpiler.passes import HighLevelSynthesis

    base = operation.base_op
    inner = None if CircuitInstruction(base, ()).is_standard_gate() else _definition(base)
    if inner is not None:
        operation = AnnotatedOperation(inner.copy(name="base").to_gate(), operation.modifiers)
    whole = QuantumCircuit(operation.num_qubits)
    whole.append(operation, whole.qubits)
    return HighLevelSynthesis()(whole)


def _of_matrix(operation: Operation) -> QuantumCircuit | None:
    """The matrix of an operation that has no definition, as a gate."""
    from qiskit.circuit import QuantumCircuit

    if not hasattr(operation, "__array__"):
        return None
    whole = QuantumCircuit(operation.num_qubits)
    whole.unitary(operation.to_matrix(), whole.qubits)
    return whole
