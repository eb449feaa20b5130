"""Sampling: shots drawn from tables of probabilities.

Small simulations give their whole distribution for less than what Aer needs to draw a thousand shots from it one
by one, so shots are drawn here, for all rows and bases in one call.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from varloop.events import Samples
from varloop.quantum.samples import pack

__all__ = ["draw", "misread"]

Table = NDArray[np.float64]


def misread(probabilities: Table, errors: Table) -> Table:
    """What a device that misreads its qubits, each by itself, sees of these outcomes.

    :param probabilities: shape (n_cells, 2ⁿ), bit ``q`` of the column is qubit ``q``.
    :param errors: [P(read 1 | 0), P(read 0 | 1)] per qubit, shape (n, 2).
    """
    for qubit, (up, down) in enumerate(errors):
        split = probabilities.reshape(len(probabilities), -1, 2, 1 << qubit)
        zero, one = split[:, :, 0], split[:, :, 1]
        seen = np.stack((zero * (1 - up) + one * down, zero * up + one * (1 - down)), axis=2)
        probabilities = seen.reshape(probabilities.shape)
    return probabilities


def draw(probabilities: Table, shots: int, groups: int, seed: Sequence[int] | np.random.Generator) -> Samples:
    """Shots of every cell, row-major. The same seed gives the same shots; a generator goes on with further cells.

    :param probabilities: shape (rows × groups, 2ⁿ).
    :param shots: per cell.
    """
    table = np.maximum(probabilities, 0.0)  # rounding leaves a density matrix slightly below
    table = table / table.sum(axis=1, keepdims=True)
    counts = np.random.default_rng(seed).multinomial(shots, table)
    cells, outcomes = np.nonzero(counts)
    return pack(
        num_qubits=table.shape[1].bit_length() - 1,
        groups=groups,
        outcomes=outcomes.astype(np.uint64),
        weights=counts[cells, outcomes].astype(np.float64),
        cells=np.bincount(cells, minlength=len(table)),
    )
