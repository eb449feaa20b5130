"""Readout: how often a device misreads each qubit, and how to undo that in expectation values.

The model is one 2 × 2 assignment matrix per qubit (tensored): qubits are misread independently of each other.
Its inverse is applied to the measured observable, never to the counts, so there is no vector of size 2ⁿ and no
negative probability: Bravyi et al., PRA 103, 042605 (2021), section II.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from varloop.errors import CircuitError
from varloop.events import Readout, Samples
from varloop.quantum.means import variance
from varloop.quantum.samples import cell

__all__ = ["Correction", "assignment", "correction", "duals"]


@dataclass(frozen=True, eq=False)
class Correction:
    """What to count for the outcomes of each qubit, and how well that is known."""

    factors: NDArray[np.float64]
    """for outcome k of a qubit, shape (n_qubits, 2)"""
    slopes: NDArray[np.float64]
    """what one standard deviation of a share changes in that: shape (n_qubits, 2, 2), [qubit, share, outcome] with
    the shares P(read 1 | 0) and P(read 0 | 1); each is an independent cause of error"""

    @property
    def causes(self) -> int:
        """How many shares there are: two for each qubit, in their order."""
        return 2 * len(self.slopes)

    def signs(self, outcomes: NDArray[np.uint64], support: int) -> NDArray[np.float64]:
        """What each outcome counts in a term on these qubits, shape (n_outcomes,)."""
        signs = np.ones(len(outcomes))
        for qubit in self._qubits(support):
            signs = signs * self.factors[qubit][_bits(outcomes, qubit)]
        return signs

    def bound(self, support: int) -> float:
        """The greatest absolute value of :meth:`signs`."""
        return float(np.prod([np.abs(self.factors[qubit]).max() for qubit in self._qubits(support)]))

    def effects(self, outcomes: NDArray[np.uint64], support: int) -> NDArray[np.float64]:
        """What one standard deviation of each share changes in :meth:`signs`, shape (n_outcomes, causes)."""
        effects = np.zeros((len(outcomes), self.causes))
        signs = self.signs(outcomes, support)
        for qubit in self._qubits(support):
            relative = self.slopes[qubit] / self.factors[qubit]  # no factor is 0: f₀ > 0 > f₁
            effects[:, 2 * qubit : 2 * qubit + 2] = (signs * relative[:, _bits(outcomes, qubit)]).T
        return effects

    def _qubits(self, support: int) -> Iterator[int]:
        return (qubit for qubit in range(len(self.factors)) if support >> qubit & 1)


def correction(readout: Readout) -> Correction:
    """What undoes these readout errors, to first order in the errors' own.

    The shares were counted in finitely many shots, and a share of 0 is not certain: their variances are those of
    :func:`varloop.quantum.means.variance`. With v = 1 − a − b the slopes are (see :func:`duals`)

        ∂f₀/∂a = (2 − 2b) / v²,   ∂f₁/∂a = −2b / v²,   ∂f₀/∂b = 2a / v²,   ∂f₁/∂b = −(2 − 2a) / v².

    :raises CircuitError: a qubit's reading says nothing about it.
    """
    factors = duals(readout.errors)
    shares = np.asarray(readout.errors, dtype=np.float64).reshape(-1, 2)
    a, b = shares.T
    slopes = np.array([[2 - 2 * b, -2 * b], [2 * a, 2 * a - 2]]) / (1 - a - b) ** 2
    spread, reach = readout.shots * shares * (1 - shares), np.maximum(shares, 1 - shares)
    deviations = np.sqrt(variance(spread, readout.shots, reach))
    return Correction(factors, np.moveaxis(slopes, 2, 0) * deviations[:, :, None])


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


def _bits(outcomes: NDArray[np.uint64], qubit: int) -> NDArray[np.intp]:
    return (outcomes >> np.uint64(qubit) & np.uint64(1)).astype(np.intp)


def _excited(calibration: Samples, row: int) -> NDArray[np.float64]:
    """Share of the shots that read 1, per qubit."""
    outcomes, weights = cell(calibration, row)
    bits = outcomes[:, None] >> np.arange(calibration.num_qubits, dtype=np.uint64) & np.uint64(1)
    return np.asarray((bits * weights[:, None]).sum(axis=0) / weights.sum())
