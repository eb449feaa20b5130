"""Groups: the terms of an observable that one measurement basis serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qiskit.quantum_info import SparsePauliOp

__all__ = ["Group", "group"]


@dataclass(frozen=True)
class Group:
    """Qubit-wise commuting terms and the basis that measures them."""

    basis: str
    """Pauli label, rightmost = qubit 0; I where no term of the group acts (measure it as Z, or not at all)"""
    terms: tuple[int, ...]
    """indices into the observable, ascending"""


def group(observable: SparsePauliOp) -> tuple[Group, ...]:
    """Every non-identity term in exactly one group; the identity in none."""
    raise NotImplementedError
