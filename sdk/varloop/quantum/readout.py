"""Readout: how often a device misreads each qubit, and how to undo that in expectation values.

The model is one 2 × 2 assignment matrix per qubit (tensored): qubits are misread independently of each other.
Its inverse is applied to the measured observable, never to the counts, so there is no vector of size 2ⁿ and no
negative probability: Bravyi et al., PRA 103, 042605 (2021), section II.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from varloop.errors import CircuitError
from varloop.events import Samples
from varloop.quantum.samples import cell

__all__ = ["assignment", "duals"]


def assignment(calibration: Samples) -> list[list[float]]:
    """[P(read 1 | 0), P(read 0 | 1)] of every qubit.

    :param calibration: row 0 measured with all qubits prepared in 0, row 1 with all in 1.
    """
    zeros, ones = (_excited(calibration, row) for row in (0, 1))
    return [[up, 1.0 - down] for up, down in zip(zeros.tolist(), ones.tolist(), strict=True)]


def duals(readout: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """What to count for an outcome of a qubit so that its mean is ⟨Z⟩ of the true state.

    With a = P(1|0) and b = P(0|1), the assignment matrix is A = [[1 − a, b], [a, 1 − b]], columns by true bit,
    and the duals f solve Aᵀ·f = (1, −1): f₀ = (1 + a − b) / (1 − a − b), f₁ = (−1 + a − b) / (1 − a − b).

    :return: shape (n_qubits, 2): column k for outcome k; (1, −1) for a perfect qubit.
    :raises CircuitError: a qubit's reading says nothing about it.
    """
    errors = np.asarray(readout, dtype=np.float64).reshape(-1, 2)
    a, b = errors[:, 0], errors[:, 1]
    visible = 1.0 - a - b
    if (visible <= 0).any():
        worst = int(np.argmin(visible))
        raise CircuitError(
            f"qubit {worst} reads 1 for 0 in {a[worst]:.1%} and 0 for 1 in {b[worst]:.1%} of the calibration shots: "
            "these errors cannot be undone",
            hint="choose another device or more shots, or mitigation none",
        )
    return np.stack(((1.0 + a - b) / visible, (-1.0 + a - b) / visible), axis=1)


def _excited(calibration: Samples, row: int) -> NDArray[np.float64]:
    """Share of the shots that read 1, per qubit."""
    outcomes, weights = cell(calibration, row)
    bits = outcomes[:, None] >> np.arange(calibration.num_qubits, dtype=np.uint64) & np.uint64(1)
    return np.asarray((bits * weights[:, None]).sum(axis=0) / weights.sum())
