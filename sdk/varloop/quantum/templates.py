"""Templates: circuits compiled once for all parameters, and the bytes they are stored as.

Circuits are decoded when they are first asked for: reading the template of an exact run imports no Qiskit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import msgspec
import numpy as np

from varloop.errors import CircuitError, CorruptObject
from varloop.quantum.angles import MAX_ENTRIES, SHIFTS, Angles
from varloop.quantum.circuits import check_size, from_qpy
from varloop.quantum.curves import Curves
from varloop.quantum.grouping import Group
from varloop.quantum.objective import Mode, Objective

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

__all__ = ["Template"]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Template:
    """Compiled circuits, and all that is needed to run rows of angles through them."""

    key: str
    """SHA-256 of all that they depend on, hexadecimal"""
    mode: Mode
    """expectation: exact energies. distribution: exact probabilities of a binary problem. counts: shots."""
    qpy: tuple[bytes, ...]
    """the circuits: one per basis, measured; without bases one, not measured"""
    bases: tuple[str, ...]
    """Pauli label that each circuit measures; none if exact values come from the state itself"""
    layout: tuple[int, ...]
    """the device's qubit that holds qubit ``i`` of the problem"""
    parameters: tuple[str, ...]
    """names of the circuits' parameters in the order of the angles, shape (n_angles,)"""
    angles: Angles
    objective: Objective
    """never stored: templates depend on the circuit and the bases, not on the problem's coefficients"""
    _prepared: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def num_qubits(self) -> int:
        """Qubits of the problem."""
        return len(self.layout)

    @property
    def exact(self) -> bool:
        """True if rows have no shots."""
        return self.mode != "counts"

    @property
    def groups(self) -> tuple[Group, ...]:
        """Terms that each circuit measures; none if nothing is measured."""
        return self.objective.groups if self.bases else ()

    @cached_property
    def circuits(self) -> tuple[QuantumCircuit, ...]:
        """The circuits, decoded."""
        try:
            return tuple(map(from_qpy, self.qpy))
        except CircuitError as error:
            raise CorruptObject(f"template {self.key} holds no circuits: {error.detail}") from error

    def prepared(self, name: str, build: Callable[[], T]) -> T:
        """What the backend prepares once, under a name of its own, and keeps with the template; never stored."""
        if name not in self._prepared:
            self._prepared[name] = build()
        return cast(T, self._prepared[name])

    def to_bytes(self) -> bytes:
        """All but the objective."""
        rows, cols = np.nonzero(self.angles.matrix)
        values = self.angles.matrix[rows, cols]
        stored = _Stored(
            key=self.key,
            mode=self.mode,
            qpy=self.qpy,
            layout=self.layout,
            parameters=self.parameters,
            shape=(len(self.angles.matrix), self.angles.matrix.shape[1]),
            matrix=list(zip(rows.tolist(), cols.tolist(), values.tolist(), strict=True)),
            offset=self.angles.offset.tolist(),
            rules=self.angles.rules,
            curves=self.angles.curves,
            bases=self.bases,
        )
        return msgspec.msgpack.encode(stored)

    @classmethod
    def from_bytes(cls, data: bytes, objective: Objective) -> Template:
        """The template of :meth:`to_bytes`, for this objective.

        :raises CorruptObject: these are not the bytes of a template, or not of one for this objective.
        """
        try:
            stored = msgspec.msgpack.decode(data, type=_Stored)
            angles = stored.angles()
        except (msgspec.MsgspecError, CircuitError) as error:
            raise CorruptObject(f"these {len(data)} bytes are not a template: {error}") from error
        template = cls(
            key=stored.key,
            mode=stored.mode,
            qpy=stored.qpy,
            bases=stored.bases,
            layout=stored.layout,
            parameters=stored.parameters,
            angles=angles,
            objective=objective,
        )
        if stored.bases != tuple(each.basis for each in template.groups):
            raise CorruptObject(f"template {stored.key} measures {stored.bases}, not what this spec needs")
        return template


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    mode: Mode
    qpy: tuple[bytes, ...]
    layout: tuple[int, ...]
    parameters: tuple[str, ...]
    shape: tuple[int, int]
    matrix: list[tuple[int, int, float]]
    offset: list[float]
    rules: tuple[str, ...]
    bases: tuple[str, ...]
    curves: Curves | None = None
    format: Literal[3] = 3

    def angles(self) -> Angles:
        """The angles, if the sizes told are those of what is there.

        :raises CircuitError: they are not.
        """
        size, (rows, columns) = len(self.parameters), self.shape
        if not (size == rows == len(self.offset) == len(self.rules)) or columns < 0:
            raise CircuitError(f"shape {self.shape}, {size} names, {len(self.offset)} offsets")
        if unknown := set(self.rules) - SHIFTS.keys() - {"none"}:
            raise CircuitError(f"unknown rule {min(unknown)!r:.60}")
        check_size(rows * columns, "angles times parameters", MAX_ENTRIES)
        matrix = np.zeros(self.shape)
        for row, column, value in self.matrix:
            if not (0 <= row < rows and 0 <= column < columns):
                raise CircuitError(f"entry ({row}, {column}) of a matrix of shape {self.shape}")
            matrix[row, column] = value
        curves = self.curves
        if curves and not (
            set(curves.angles) <= set(range(rows)) and set(curves.columns) <= set(range(columns))
        ):
            raise CircuitError(f"curves of angles {curves.angles} and columns {curves.columns}")
        return Angles(matrix, np.array(self.offset), self.rules, curves)
