"""Groups: a partition of the terms that one basis each can measure."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.quantum_info import PauliList, SparsePauliOp

from varloop.quantum.grouping import Group, group

LABELS = st.integers(1, 9).flatmap(
    lambda width: st.lists(st.text("IXYZ", min_size=width, max_size=width), min_size=1, max_size=25)
)


@st.composite
def observables(draw: st.DrawFn) -> SparsePauliOp:
    """Random Pauli sums, repeated terms and the identity among them."""
    labels = draw(LABELS)
    weights = st.floats(-2, 2, allow_nan=False)
    return SparsePauliOp(labels, [draw(weights) for _ in labels])


@settings(deadline=None, derandomize=True, database=None)
@given(observable=observables())
def test_groups_partition_the_terms(observable: SparsePauliOp) -> None:
    """Every term but the identity is in exactly one group, and no group is empty."""
    groups = group(observable)
    labels = observable.paulis.to_labels()
    assert sorted(term for part in groups for term in part.terms) == [
        k for k, label in enumerate(labels) if set(label) != {"I"}
    ]
    assert all(part.terms == tuple(sorted(part.terms)) and part.terms for part in groups)


@settings(deadline=None, derandomize=True, database=None)
@given(observable=observables())
def test_a_basis_measures_its_terms(observable: SparsePauliOp) -> None:
    """On every qubit a term is the identity or its basis' letter, and the basis has no letter of its own."""
    labels = observable.paulis.to_labels()
    for part in group(observable):
        columns = zip(part.basis, *(labels[term] for term in part.terms), strict=True)
        assert all(set(letters) | {"I"} == {"I", basis} for basis, *letters in columns)


@settings(deadline=None, derandomize=True, database=None)
@given(observable=observables())
def test_the_same_groups_every_time(observable: SparsePauliOp) -> None:
    """Equal observables give equal groups in equal order."""
    assert group(observable) == group(observable.copy())


def test_rightmost_letter_is_qubit_0() -> None:
    """The basis is written as Qiskit writes labels, beyond 64 qubits too."""
    label = "X" + "I" * 68 + "ZY"
    assert group(SparsePauliOp([label])) == (Group(label, (0,)),)


def test_heavy_terms_come_first() -> None:
    """Terms join in order of weight: the heaviest opens the first group, ties follow the observable."""
    observable = SparsePauliOp(["ZI", "XI", "IX", "IZ", "II"], [0.1, -3.0, 0.1, 2.0, 9.0])
    assert group(observable) == (Group("XZ", (1, 3)), Group("ZX", (0, 2)))


def test_ties_follow_the_observable() -> None:
    """Among many terms of few weights, those of one weight open their groups in the observable's order."""
    labels = [f"{a}{b}{c}" for a in "XYZ" for b in "XYZ" for c in "XYZ"]
    observable = SparsePauliOp(labels, [1 + k % 2 for k in range(27)])
    assert [part.basis for part in group(observable)] == labels[1::2] + labels[::2]


def test_the_identity_needs_no_measurement() -> None:
    """An observable of the identity alone has no groups."""
    assert group(SparsePauliOp(["III"], [2.0])) == ()


def test_short_terms_fill_gaps_where_that_saves_bases() -> None:
    """By weight, ZI and IZ would each join another basis, and XX and YY could not; by length, two bases do."""
    observable = SparsePauliOp(["ZI", "IX", "ZZ", "XX"], [4.0, 3.0, 2.0, 1.0])
    assert group(observable) == (Group("ZZ", (0, 2)), Group("XX", (1, 3)))


def test_thousands_of_terms_take_seconds() -> None:
    """The work for a pair of terms is a few operations on words, not a few lines of Python."""
    rng = np.random.default_rng(3)
    table = rng.integers(0, 2, (2, 4000, 16), dtype=bool)
    observable = SparsePauliOp(PauliList.from_symplectic(*table), rng.normal(size=4000))
    started = time.process_time()
    groups = group(observable)
    assert time.process_time() - started < 1.5  # 0.2 s; 2.5 s as it was
    assert len(groups) < 3200  # 3242 by weight alone


def test_known_counts() -> None:
    """H2 in Jordan-Wigner needs 5 bases, the transverse-field Ising chain 2, a diagonal observable 1."""
    h2 = ["IIII", "IIIZ", "IIZI", "IZII", "ZIII", "IIZZ", "ZZII", "IZIZ", "ZIIZ", "IZZI", "ZIZI"]
    h2 += ["YYYY", "XXYY", "YYXX", "XXXX"]
    assert len(group(SparsePauliOp(h2))) == 5
    chain = SparsePauliOp.from_sparse_list(
        [("ZZ", [i, i + 1], -1) for i in range(11)] + [("X", [i], -1) for i in range(12)], num_qubits=12
    )
    assert [part.basis for part in group(chain)] == ["Z" * 12, "X" * 12]
    assert len(group(SparsePauliOp(["ZZI", "IZZ", "ZII"]))) == 1
