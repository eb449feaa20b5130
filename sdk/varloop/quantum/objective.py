"""Objectives: what rows are measured for, as numbers computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import NDArray

from varloop.quantum import problems
from varloop.quantum.grouping import Group, group
from varloop.spec import Problem, RunSpec

if TYPE_CHECKING:
    from qiskit.quantum_info import SparsePauliOp

__all__ = ["Mode", "Objective", "mode_of"]

Mode = Literal["expectation", "distribution", "counts"]
"""How rows are measured.

expectation: exact values of an energy. distribution: exact probabilities of a binary problem. counts: shots.
"""


@dataclass(frozen=True, eq=False)
class Objective:
    """A spec's problem, with what is worth computing once."""

    problem: Problem

    @cached_property
    def observable(self) -> SparsePauliOp:
        """The problem's observable without its constant; equal terms are one, and none has the coefficient 0."""
        return problems.varying(problems.observable(self.problem))

    @cached_property
    def offset(self) -> float:
        """The problem's constant, which is in no row's value: it would drown what an optimizer has to see."""
        return problems.constant(self.problem)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The observable's terms by measurement basis."""
        return group(self.observable)

    @cached_property
    def supports(self) -> NDArray[np.uint64]:
        """Of each term, the qubits it acts on: bit ``q`` is qubit ``q``. Shape (n_terms,)."""
        paulis = self.observable.paulis
        bits = np.uint64(1) << np.arange(paulis.num_qubits, dtype=np.uint64)
        return np.asarray(((paulis.x | paulis.z) * bits).sum(axis=1, dtype=np.uint64))

    @cached_property
    def coefficients(self) -> NDArray[np.float64]:
        """Of each term, shape (n_terms,)."""
        return np.ascontiguousarray(self.observable.coeffs.real)

    @cached_property
    def readings(self) -> NDArray[np.float64]:
        """What each outcome of each group says: the sum of the group's terms, shape (n_groups, 2ⁿ)."""
        outcomes = np.arange(1 << problems.num_qubits(self.problem), dtype=np.uint64)
        table = np.zeros((len(self.groups), len(outcomes)))
        for number, members in enumerate(self.groups):
            for term in members.terms:
                odd = np.bitwise_count(outcomes & self.supports[term]) & 1
                table[number] += self.coefficients[term] * (1.0 - 2.0 * odd)
        return table

    @cached_property
    def costs(self) -> NDArray[np.float64]:
        """Of each outcome of a binary problem, without the constant, shape (2ⁿ,)."""
        binary = cast(problems.Binary, self.problem)
        return problems.energies(binary, np.arange(1 << problems.num_qubits(binary), dtype=np.uint64))


def mode_of(spec: RunSpec) -> Mode:
    """How a spec wants its rows measured."""
    if spec.shots is not None:
        return "counts"
    return "distribution" if problems.is_binary(spec.problem) else "expectation"
