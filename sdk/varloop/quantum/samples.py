"""Samples: measured outcomes as arrays, and the event's columns made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from varloop.errors import CorruptObject
from varloop.events import Samples

__all__ = ["Columns", "cell", "columns", "from_counts", "join", "most_frequent", "pack"]

OUTCOME, WEIGHT = np.dtype("<u8"), np.dtype("<f8")
Columns = tuple[NDArray[np.uint64], NDArray[np.float64], NDArray[np.int64]]


def pack(
    num_qubits: int,
    groups: int,
    outcomes: NDArray[np.uint64],
    weights: NDArray[np.float64],
    cells: NDArray[np.int64],
) -> Samples:
    """Samples of entries that are in the order of their cells.

    :param cells: number of entries of each cell, shape (rows × groups,), row-major.
    """
    return Samples(
        num_qubits=num_qubits,
        rows=len(cells) // groups,
        groups=groups,
        offsets=[0, *np.cumsum(cells).tolist()],
        outcomes=outcomes.astype(OUTCOME, copy=False).tobytes(),
        weights=weights.astype(WEIGHT, copy=False).tobytes(),
    )


def join(parts: Sequence[Samples]) -> Samples:
    """Samples of consecutive rows, as one."""
    ends = np.cumsum([0, *(part.offsets[-1] for part in parts)]).tolist()
    return Samples(
        num_qubits=parts[0].num_qubits,
        rows=sum(part.rows for part in parts),
        groups=parts[0].groups,
        offsets=[
            0,
            *(end + offset for end, part in zip(ends, parts, strict=False) for offset in part.offsets[1:]),
        ],
        outcomes=b"".join(part.outcomes for part in parts),
        weights=b"".join(part.weights for part in parts),
    )


def from_counts(num_qubits: int, groups: int, counts: Sequence[Mapping[str, int]]) -> Samples:
    """Samples of counts per cell, row-major; keys are hexadecimal. Outcomes ascend within a cell."""
    cells = np.fromiter(map(len, counts), np.int64, len(counts))
    outcomes = np.array([int(key, 16) for each in counts for key in each], OUTCOME)
    weights = np.array([count for each in counts for count in each.values()], WEIGHT)
    order = np.lexsort((outcomes, np.repeat(np.arange(len(counts)), cells)))
    return pack(num_qubits, groups, outcomes[order], weights[order], cells)


def columns(samples: Samples) -> Columns:
    """(outcomes, weights, cells): every entry, and the cell ``row * groups + group`` it belongs to.

    :raises CorruptObject: the columns do not fit together.
    """
    offsets = np.asarray(samples.offsets, np.int64)
    entries = len(samples.outcomes) // OUTCOME.itemsize
    if (
        len(offsets) != samples.rows * samples.groups + 1
        or len(samples.outcomes) != entries * OUTCOME.itemsize
        or len(samples.weights) != entries * WEIGHT.itemsize
        or offsets[0] != 0
        or offsets[-1] != entries
        or np.any(np.diff(offsets) < 0)
    ):
        raise CorruptObject(
            f"samples of {samples.rows} rows × {samples.groups} groups do not fit their "
            f"{len(offsets)} offsets, {len(samples.outcomes)} and {len(samples.weights)} bytes"
        )
    cells = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return np.frombuffer(samples.outcomes, OUTCOME), np.frombuffer(samples.weights, WEIGHT), cells


def cell(samples: Samples, row: int, group: int = 0) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Outcomes and weights of one row in one group."""
    outcomes, weights, _ = columns(samples)
    k = row * samples.groups + group
    own = slice(samples.offsets[k], samples.offsets[k + 1])
    return outcomes[own], weights[own]


def most_frequent(samples: Samples, row: int, group: int, most: int) -> dict[str, float]:
    """Weights of one row's outcomes in one group by their bits, rightmost bit = qubit 0; the most frequent first."""
    outcomes, weights = cell(samples, row, group)
    order = np.lexsort((outcomes, -weights))[:most]
    return {f"{int(outcomes[k]):0{samples.num_qubits}b}": float(weights[k]) for k in order}
