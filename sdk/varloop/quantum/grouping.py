"""Groups: the terms of an observable that one measurement basis serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from qiskit.quantum_info import SparsePauliOp

__all__ = ["Group", "group"]


Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Group:
    """Terms that commute qubit by qubit, and the basis that measures them all."""

    basis: str
    """Pauli label, rightmost = qubit 0; I where no term of the group acts (that outcome does not matter)"""
    terms: tuple[int, ...]
    """indices into the observable, ascending"""


def group(observable: SparsePauliOp) -> tuple[Group, ...]:
    """Put every term that is not the identity in exactly one group; the identity is in none.

    A term joins the first group whose basis agrees with it on every qubit both act on, or opens one. The order is
    that of decreasing |coefficient| (sorted insertion: Crawford et al., Quantum 5, 385 (2021)), or, if that makes
    fewer groups, that of decreasing numbers of letters, equal ones by |coefficient|: short terms fill the gaps that
    long ones left. Ties follow the observable. The same observable always gives the same groups, in the same order.
    """
    x, z = _words(observable.paulis.x), _words(observable.paulis.z)
    weights, letters = np.abs(observable.coeffs), np.bitwise_count(x | z).sum(axis=0, dtype=np.int64)
    heavy, long = np.argsort(-weights, kind="stable"), np.lexsort((-weights, -letters))
    orders = [[term for term in order.tolist() if letters[term]] for order in (heavy, long)]
    return min((_inserted(x, z, order, observable.num_qubits) for order in orders), key=len)


def _inserted(x: Words, z: Words, order: list[int], width: int) -> tuple[Group, ...]:
    """Groups by first fit, in this order of the terms."""
    bx, bz = np.zeros_like(x), np.zeros_like(z)
    members: list[list[int]] = []
    for term in order:
        count = len(members)
        own, others = (slice(None), slice(term, term + 1)), (slice(None), slice(count))
        clash = (bx[others] ^ x[own]) | (bz[others] ^ z[own])
        clash &= (x[own] | z[own]) & (bx[others] | bz[others])
        free = np.flatnonzero(~clash.any(axis=0))
        k = int(free[0]) if len(free) else count
        if k == count:
            members.append([])
        members[k].append(term)
        bx[:, k] |= x[:, term]
        bz[:, k] |= z[:, term]
    bases = zip(_bits(bx, width), _bits(bz, width), members, strict=False)
    return tuple(Group(_label(xs, zs), tuple(sorted(terms))) for xs, zs, terms in bases)


def _words(table: NDArray[np.bool_]) -> Words:
    """Each row of booleans as words of 64 bits, column q at bit q: (n, n_qubits) → (⌈n_qubits / 64⌉, n)."""
    padded = np.zeros((len(table), -(-table.shape[1] // 64) * 64), dtype=bool)
    padded[:, : table.shape[1]] = table
    return np.ascontiguousarray(np.packbits(padded, axis=1, bitorder="little").view("<u8").T)


def _bits(words: Words, width: int) -> NDArray[np.uint8]:
    """The rows of booleans that :func:`_words` packed."""
    rows = np.ascontiguousarray(words.T).view(np.uint8)
    return np.unpackbits(rows, axis=1, bitorder="little")[:, :width]


def _label(x: NDArray[np.uint8], z: NDArray[np.uint8]) -> str:
    """The Pauli label of symplectic bits, qubit 0 rightmost."""
    return "".join("IXZY"[each] for each in (x | z << 1)[::-1].tolist())
