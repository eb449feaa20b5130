"""Curves: angles that are no linear function of the parameters, with their derivatives.

The expressions are Qiskit's, which is imported to evaluate them: a circuit that has none never needs it here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from varloop.errors import CircuitError
from varloop.quantum.circuits import from_qpy, to_qpy

if TYPE_CHECKING:
    from qiskit.circuit import Parameter, ParameterExpression, QuantumCircuit

__all__ = ["Curves", "derivative"]

Point = dict["Parameter", float]


@dataclass(frozen=True, eq=False)
class Curves:
    """Some of a circuit's angles, as expressions of its parameters."""

    angles: tuple[int, ...]
    """which angles, ascending"""
    columns: tuple[int, ...]
    """the parameters that the expressions have, ascending"""
    qpy: bytes
    """a circuit whose gates have the expressions, one by one in the order of the angles"""

    @classmethod
    def of(
        cls,
        expressions: Mapping[int, ParameterExpression],
        parameters: Sequence[Parameter],
        named: Sequence[Parameter],
    ) -> Curves:
        """These angles as curves.

        :param parameters: all of the circuit's, in their order.
        :param named: the same by the names they are to be told with.
        """
        from qiskit.circuit import QuantumCircuit

        angles = sorted(expressions)
        holder = QuantumCircuit(1)
        for angle in angles:
            holder.rz(expressions[angle], 0)
        used = set(holder.parameters)
        holder.assign_parameters(
            {each: name for each, name in zip(parameters, named, strict=True) if each in used}, inplace=True
        )
        columns = [column for column, parameter in enumerate(parameters) if parameter in used]
        return cls(tuple(angles), tuple(columns), to_qpy(holder))

    def values(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The angles at points of all parameters: (n, n_parameters) → (n, n_curves).

        :raises CircuitError: an expression has no real value at a point.
        """
        table = [
            [_value(each, each, at, "value") for each in self._expressions] for at in map(self._at, points)
        ]
        return np.array(table, dtype=np.float64).reshape(len(points), len(self.angles))

    def slopes(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Derivatives of the angles by each of the columns at a point, shape (n_curves, n_columns).

        :raises CircuitError: an expression has no derivative there.
        """
        at = self._at(point)
        table = [
            [_value(slope, each, at, "derivative") for slope in slopes]
            for each, slopes in zip(self._expressions, self._derivatives, strict=True)
        ]
        return np.array(table, dtype=np.float64).reshape(len(self.angles), len(self.columns))

    @cached_property
    def _circuit(self) -> QuantumCircuit:
        return from_qpy(self.qpy)

    @cached_property
    def _expressions(self) -> list[ParameterExpression]:
        found = [instruction.params[0] for instruction in self._circuit.data]
        if (len(found), self._circuit.num_parameters) != (len(self.angles), len(self.columns)):
            raise CircuitError(f"{len(found)} expressions for {len(self.angles)} angles")
        return found

    @cached_property
    def _derivatives(self) -> list[list[ParameterExpression | float]]:
        return [
            [each.gradient(by) if by in each.parameters else 0.0 for by in self._circuit.parameters]
            for each in self._expressions
        ]

    def _at(self, point: NDArray[np.float64]) -> Point:
        return dict(zip(self._circuit.parameters, point[list(self.columns)].tolist(), strict=True))


def derivative(expression: ParameterExpression, parameter: Parameter) -> ParameterExpression | float | None:
    """The derivative by a parameter of the expression; None if Qiskit knows none, as of a sign."""
    try:
        slope: ParameterExpression | float = expression.gradient(parameter)
    except RuntimeError:
        return None
    return slope


def _value(
    expression: ParameterExpression | float, angle: ParameterExpression, at: Point, what: str
) -> float:
    """An expression's value.

    :param angle: the angle whose value or derivative it is.
    """
    if isinstance(expression, int | float):
        return float(expression)
    own = {parameter: at[parameter] for parameter in expression.parameters}
    try:
        return float(expression.bind(own))
    except (TypeError, ArithmeticError, RuntimeError) as error:
        where = ", ".join(f"{parameter.name} = {at[parameter]:g}" for parameter in angle.parameters)
        raise CircuitError(f"the angle {angle} has no real {what} at {where}: {error}") from error
