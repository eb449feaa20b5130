"""Angles: the map from a circuit's parameters to the angles of its gates, linear wherever it can be.

A parameter may appear in many gates, scaled and summed with others, or in any other expression. Derivative rules
hold for one angle of one gate, so every occurrence gets an angle of its own, and the chain rule does the rest.
Qiskit is imported only to separate a circuit, and for angles that are curves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from varloop.errors import CircuitError
from varloop.quantum.curves import Curves, derivative

if TYPE_CHECKING:
    from qiskit.circuit import (
        CircuitInstruction,
        Clbit,
        Operation,
        Parameter,
        ParameterExpression,
        QuantumCircuit,
        Qubit,
    )

__all__ = ["MAX_ENTRIES", "Angles", "separate"]

MAX_ENTRIES = 1 << 24
"""angles times parameters: 128 MiB of the matrix between them"""

Shift = tuple[float, float]

_GAP = np.sqrt(2.0)
SHIFTS: Mapping[str, tuple[Shift, ...]] = {
    "two-term": ((np.pi / 2, 0.5), (-np.pi / 2, -0.5)),
    "four-term": (
        (np.pi / 2, (_GAP + 1) / (4 * _GAP)),
        (-np.pi / 2, -(_GAP + 1) / (4 * _GAP)),
        (3 * np.pi / 2, -(_GAP - 1) / (4 * _GAP)),
        (-3 * np.pi / 2, (_GAP - 1) / (4 * _GAP)),
    ),
}
"""(shift in radians, weight) of each evaluation, by rule: df/da = Σ weight · f(a + shift).

Two-term, for a generator with two eigenvalues one apart: Mitarai et al., PRA 98, 032309 (2018) and Schuld et
al., PRA 99, 032331 (2019). Four-term, for eigenvalues −½, 0, ½: Anselmetti et al., New J. Phys. 23, 113010
(2021), generalised by Wierichs et al., Quantum 6, 677 (2022).
"""

_TWO, _FOUR = "two-term", "four-term"
RULES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("rx", "ry", "rz", "p", "rxx", "ryy", "rzz", "rzx", "cp"), (_TWO,)),
    **dict.fromkeys(("crx", "cry", "crz"), (_FOUR,)),
    "u": (_TWO, _TWO, _TWO),
    "cu": (_FOUR, _TWO, _TWO, _TWO),
}
"""Rule of each argument of the standard gates that are kept; other parametrised gates are decomposed."""


@dataclass(frozen=True, eq=False)
class Angles:
    """``angles = matrix @ parameters + offset``, but for those that are curves."""

    matrix: NDArray[np.float64]
    """shape (n_angles, n_parameters)"""
    offset: NDArray[np.float64]
    """shape (n_angles,), radians"""
    rules: tuple[str, ...]
    """how to differentiate by each angle: two-term, four-term, or none if no rule is known"""
    curves: Curves | None = None
    """the angles that are no linear function of the parameters; their rows of the matrix are 0"""

    def bind(self, points: ArrayLike) -> NDArray[np.float64]:
        """Angles of every point: (n, n_parameters) → (n, n_angles).

        :raises CircuitError: a point does not have n_parameters numbers.
        """
        points = np.asarray(points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != self.matrix.shape[1]:
            raise CircuitError(
                f"points have shape {points.shape}, the circuit has {self.matrix.shape[1]} parameters: "
                f"expected (n, {self.matrix.shape[1]})"
            )
        rows: NDArray[np.float64] = points @ self.matrix.T + self.offset
        if self.curves is not None:
            rows[:, self.curves.angles] = self.curves.values(points)
        return rows

    @property
    def shiftable(self) -> bool:
        """True if parameter-shift gives the gradient: each angle has a rule, and a derivative by its parameters."""
        return "none" not in self.rules

    @property
    def sinusoidal(self) -> NDArray[np.bool_]:
        """Along which parameters every expectation value is A·cos θ + B·sin θ + C, shape (n_parameters,).

        Certainly so if a parameter is in one angle at most, as it is or negated, and that has a two-term rule.
        """
        plain = np.array([rule == "two-term" for rule in self.rules], dtype=bool)[:, None]
        sound = (self.matrix == 0) | (plain & np.isclose(np.abs(self.matrix), 1))
        seldom = np.count_nonzero(self.matrix, axis=0) <= 1
        straight = np.ones(self.matrix.shape[1], dtype=bool)
        if self.curves is not None:
            straight[list(self.curves.columns)] = False
        return np.asarray(sound.all(axis=0) & seldom & straight)

    @property
    def n_shifts(self) -> int:
        """Rows of a parameter-shift gradient, if every angle has a rule."""
        return sum(len(SHIFTS.get(rule, ())) for rule in self.rules)

    def shifted(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        """The rows that the gradient at a row (n_angles,) of angles needs, shape (n_shifts, n_angles)."""
        angles, shifts = self._moves
        rows = np.repeat(row[None], len(angles), axis=0)
        rows[np.arange(len(angles)), angles] += shifts
        return rows

    def weights(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (n_parameters, n_shifts): gradient = weights @ f(shifted), by the chain rule through the angles.

        :param point: where the gradient is taken, shape (n_parameters,).
        :raises CircuitError: an angle has no derivative there.
        """
        if self.curves is None:
            return self._straight
        slopes = self.matrix.copy()
        slopes[np.ix_(self.curves.angles, self.curves.columns)] = self.curves.slopes(point)
        return self._weighted(slopes)

    @cached_property
    def _moves(self) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Which angle each row of the gradient shifts, and by how much; both of shape (n_shifts,)."""
        moves = [(angle, shift) for angle, shift, _ in self._shifts]
        return np.array([angle for angle, _ in moves], dtype=np.intp), np.array([shift for _, shift in moves])

    @cached_property
    def _straight(self) -> NDArray[np.float64]:
        return self._weighted(self.matrix)

    def _weighted(self, slopes: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weights if the angles have these derivatives, shape (n_angles, n_parameters)."""
        weights = np.empty((slopes.shape[1], self.n_shifts))
        for k, (angle, _, weight) in enumerate(self._shifts):
            weights[:, k] = weight * slopes[angle]
        return weights

    @property
    def _shifts(self) -> Iterator[tuple[int, float, float]]:
        """(angle, shift, weight) of each row of the gradient."""
        return ((angle, *term) for angle, rule in enumerate(self.rules) for term in SHIFTS[rule])


def separate(circuit: QuantumCircuit) -> tuple[QuantumCircuit, Angles]:
    """Give every parametrised gate occurrence its own Parameter: ``a[0]``, ``a[1]``, … in the order of the gates.

    Parametrised gates without a rule are decomposed until they have one. A parameter that appears where no
    rule helps (in an opaque gate) becomes an angle itself, after the others, with the rule "none"; so has an angle
    whose expression has no derivative (a sign). Global phases, name and metadata are dropped: no expectation value depends on them.

    :return: the circuit, whose ``parameters`` are in the order of the angles, and the angles, whose
        columns are in the order of the given circuit's ``parameters``.
    :raises CircuitError: angles times parameters are more than MAX_ENTRIES.
    """
    from qiskit.circuit import ParameterVector

    from varloop.quantum.circuits import check_size, placeholders
    from varloop.quantum.gates import unfold

    columns, named = placeholders(circuit), list(circuit.parameters)
    circuit = circuit.assign_parameters(dict(zip(circuit.parameters, columns, strict=True)))
    known = set(columns)
    separated = circuit.copy_empty_like(name="separated")
    separated.global_phase, separated.metadata = 0, {}
    gates: list[tuple[Operation, list[Qubit], list[Clbit]]] = []
    slots: list[tuple[Operation, int]] = []
    rows: list[NDArray[np.float64]] = []
    rules: list[str] = []
    curves: dict[int, ParameterExpression] = {}
    for instruction, qubits, clbits in unfold(circuit, _has_rule):
        if instruction.name == "global_phase":
            continue
        operation = instruction.operation
        found = _expressions(operation)
        check_size((len(rows) + len(found)) * len(columns), "angles times parameters", MAX_ENTRIES)
        gate = operation.to_mutable() if found else operation
        gates.append((gate, qubits, clbits))
        for k, expression in found.items():
            row, rule = _row(expression, columns), RULES[gate.name][k]
            if row is None:
                curves[len(rows)] = expression
                rule = rule if _smooth(expression) else "none"
            slots.append((gate, k))
            rows.append(np.zeros(len(columns) + 1) if row is None else row)
            rules.append(rule)
    names = ParameterVector("a", len(rows))
    for (gate, k), name in zip(slots, names, strict=True):
        gate.params[k] = name
    for gate, qubits, clbits in gates:
        separated.append(gate, qubits, clbits, copy=False)
    opaque = sorted(parameter.index for parameter in separated.parameters if parameter in known)
    names.resize(len(rows) + len(opaque))
    separated.assign_parameters(
        {columns[k]: names[len(rows) + j] for j, k in enumerate(opaque)}, inplace=True
    )
    rows += list(np.eye(len(columns), len(columns) + 1)[opaque])
    table = np.array(rows).reshape(len(rows), len(columns) + 1)
    angles = Angles(
        table[:, :-1].copy(),
        table[:, -1].copy(),
        (*rules, *("none" for _ in opaque)),
        Curves.of(curves, columns, named) if curves else None,
    )
    return separated, angles


def _has_rule(instruction: CircuitInstruction) -> bool:
    if not instruction.is_parameterized():
        return True
    return instruction.is_standard_gate() and instruction.name in RULES


def _expressions(operation: Operation) -> dict[int, ParameterExpression]:
    """Those of the operation's arguments that have a rule and parameters."""
    arguments = {k: operation.params[k] for k in range(len(RULES.get(operation.name, ())))}
    return {k: each for k, each in arguments.items() if getattr(each, "parameters", None)}


def _smooth(expression: ParameterExpression) -> bool:
    """True if the expression has a derivative by each of its parameters."""
    return all(derivative(expression, parameter) is not None for parameter in expression.parameters)


def _row(expression: ParameterExpression, columns: Sequence[Parameter]) -> NDArray[np.float64] | None:
    """(n_parameters + 1,) coefficients and constant of an expression; None if it is not affine."""
    row = np.zeros(len(columns) + 1)
    for parameter in expression.parameters:
        slope = derivative(expression, parameter)
        if not isinstance(slope, (int, float)):
            return None
        row[parameter.index] = slope
    try:
        row[-1] = expression.bind(dict.fromkeys(expression.parameters, 0.0)).numeric()
    except ArithmeticError:  # x² / x is x, but not at 0
        return None
    return row
