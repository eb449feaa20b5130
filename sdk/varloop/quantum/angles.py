"""Angles: the linear map from a circuit's parameters to the angles of its gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

__all__ = ["Angles", "separate"]


@dataclass(frozen=True, eq=False)
class Angles:
    """``angles = matrix @ parameters + offset``."""

    matrix: NDArray[np.float64]
    """shape (n_angles, n_parameters)"""
    offset: NDArray[np.float64]
    """shape (n_angles,), radians"""
    rules: tuple[str, ...]
    """how to differentiate by each angle: "two-term", "four-term" or "none" """

    def bind(self, points: ArrayLike) -> NDArray[np.float64]:
        """Angles of every point: (n, n_parameters) → (n, n_angles)."""
        return np.asarray(points, dtype=np.float64) @ self.matrix.T + self.offset


def separate(circuit: QuantumCircuit) -> tuple[QuantumCircuit, Angles]:
    """Give every parametrised gate occurrence its own Parameter a0, a1, …, in a fixed order.

    The returned circuit's ``parameters`` are in the order of the angles.
    """
    raise NotImplementedError
