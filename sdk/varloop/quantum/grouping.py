"""Groups: the terms of an observable that one measurement basis serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from qiskit.quantum_info import SparsePauliOp

__all__ = ["Group", "group"]


@dataclass(frozen=True)
class Group:
    """Terms that commute qubit by qubit, and the basis that measures them all."""

    basis: str
    """Pauli label, rightmost = qubit 0; I where no term of the group acts (that outcome does not matter)"""
    terms: tuple[int, ...]
    """indices into the observable, ascending"""


def group(observable: SparsePauliOp) -> tuple[Group, ...]:
    """Put every term that is not the identity in exactly one group; the identity is in none.

    Sorted insertion (Crawford et al., Quantum 5, 385 (2021)): in order of decreasing |coefficient|, ties in
    the observable's order, a term joins the first group whose basis agrees with it on every qubit both act
    on. Heavy terms thus share shots. The same observable always gives the same groups, in the same order.
    """
    xs, zs = _masks(observable.paulis.x), _masks(observable.paulis.z)
    order = np.argsort(-np.abs(observable.coeffs), kind="stable").tolist()
    bases: list[tuple[int, int]] = []
    members: list[list[int]] = []
    for term in order:
        x, z = xs[term], zs[term]
        if not x | z:
            continue
        for k, (bx, bz) in enumerate(bases):
            if not ((x ^ bx) | (z ^ bz)) & (x | z) & (bx | bz):
                bases[k] = (bx | x, bz | z)
                members[k].append(term)
                break
        else:
            bases.append((x, z))
            members.append([term])
    width = observable.num_qubits
    return tuple(
        Group(_label(x, z, width), tuple(sorted(terms))) for (x, z), terms in zip(bases, members, strict=True)
    )


def _masks(table: NDArray[np.bool_]) -> list[int]:
    """Each row of booleans as an integer, column q at bit q."""
    packed = np.packbits(table, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def _label(x: int, z: int, width: int) -> str:
    """The Pauli label of symplectic masks, qubit 0 rightmost."""
    return "".join("IXZY"[(x >> q & 1) | (z >> q & 1) << 1] for q in reversed(range(width)))
