"""Layouts: circuits that were compiled for a device before they came, brought back to the qubits that matter.

What Qiskit's transpiler returns has all qubits of the device. varloop compiles it again, for the backend of the run, so
which qubits of the device were chosen does not matter; which of them the observable is about does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from varloop.errors import UsageError
from varloop.quantum.gates import plain
from varloop.quantum.problems import num_qubits
from varloop.spec import Energy, Problem

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

__all__ = ["without_idle"]

_IDLE = ("barrier", "delay")


def without_idle(circuit: QuantumCircuit, problem: Problem) -> tuple[QuantumCircuit, Problem]:
    """A circuit and a problem without the qubits on which the one does nothing and the other does not look.

    A problem as wide as the circuit is about the circuit's qubits, as in Qiskit's primitives: the observable of a
    compiled circuit had ``apply_layout``. One as wide as the circuit was before it was compiled gets that layout here.

    :raises UsageError: the circuit was compiled from another number of qubits than the problem acts on, or was routed
        over qubits for which a binary problem has no variable.
    """
    width = num_qubits(problem)
    places = _places(circuit, width)
    if places is None or not _is_regular(problem, width):
        return circuit, problem  # what is wrong with them is told where specs are checked
    bare = plain(circuit)
    looks = {places[i] for i in range(width)} if not isinstance(problem, Energy) else _looks(problem, places)
    busy = {bare.find_bit(q).index for each in bare.data if each.name not in _IDLE for q in each.qubits}
    extra = sorted(busy - set(places))
    kept = [place for place in places if place in busy | looks] + extra
    if not kept or kept == list(range(circuit.num_qubits)):
        return circuit, problem
    if isinstance(problem, Energy):
        problem = _narrowed(problem, places, kept)
    elif extra:
        raise UsageError(
            f"the circuit was routed over {len(extra)} qubits that are no variables of the problem",
            hint="give the circuit as it was before it was transpiled; varloop compiles it for its backend",
        )
    return _on(bare, kept), problem


def _places(circuit: QuantumCircuit, width: int) -> list[int] | None:
    """The circuit's qubit that each qubit of the problem is; None if nobody says."""
    if width == circuit.num_qubits:
        return list(range(width))
    if circuit.layout is None:
        return None
    layout: list[int] = circuit.layout.final_index_layout(filter_ancillas=True)
    if width != len(layout):
        raise UsageError(
            f"the problem acts on {width} qubits; the circuit was compiled from {len(layout)} qubits to "
            f"{circuit.num_qubits}",
            hint=f"give an observable of {len(layout)} qubits, or of {circuit.num_qubits} by "
            "observable.apply_layout(circuit.layout)",
        )
    return layout


def _is_regular(problem: Problem, width: int) -> bool:
    return not isinstance(problem, Energy) or all(len(label) == width for label, _ in problem.observable)


def _looks(problem: Energy, places: Sequence[int]) -> set[int]:
    """The circuit's qubits that a term acts on."""
    return {
        place
        for label, _ in problem.observable
        for place, letter in zip(places, reversed(label), strict=True)
        if letter != "I"
    }


def _narrowed(problem: Energy, places: Sequence[int], kept: Sequence[int]) -> Energy:
    """The observable on the qubits that are kept, in their order."""

    def label(given: str) -> str:
        letters = dict(zip(places, reversed(given), strict=True))
        return "".join(letters.get(place, "I") for place in reversed(kept))

    terms = [(label(given), coefficient) for given, coefficient in problem.observable]
    return msgspec.structs.replace(problem, observable=terms)


def _on(circuit: QuantumCircuit, kept: Sequence[int]) -> QuantumCircuit:
    """The circuit on these of its qubits, renumbered in their order."""
    from qiskit.circuit import Barrier, QuantumCircuit

    numbers = {place: number for number, place in enumerate(kept)}
    result = QuantumCircuit(len(kept), global_phase=circuit.global_phase)
    for instruction in circuit.data:
        places = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        targets = [numbers[place] for place in places if place in numbers]
        if len(targets) == len(places):
            result.append(instruction.operation, targets)
        elif targets:
            result.append(Barrier(len(targets)), targets)
    return result
