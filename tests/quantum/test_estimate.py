from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quantum.batches import measured, template
from varloop.errors import CircuitError, CorruptObject
from varloop.events import Measurement, Samples
from varloop.quantum.backends.sampling import draw
from varloop.quantum.estimate import best_solution, cvar, estimate
from varloop.quantum.objective import Objective
from varloop.quantum.samples import cell, columns, from_counts, pack
from varloop.spec import Energy, Ising, MaxCut, Qubo

Array = NDArray[np.float64]


def counted(num_qubits: int, groups: int, *cells: dict[int, float]) -> Samples:
    """Samples of counts per cell, row-major."""
    return pack(
        num_qubits,
        groups,
        np.array([outcome for each in cells for outcome in each], dtype=np.uint64),
        np.array([count for each in cells for count in each.values()], dtype=np.float64),
        np.array([len(each) for each in cells]),
    )


def test_exact_values_have_no_error() -> None:
    """Values of an exact batch are the estimates."""
    problem = Energy(observable=[("Z", 1.0)])
    done = Measurement(circuits=2, shots=0, values=[0.25, -1.0])
    values, variances = estimate(template(problem), done, problem)
    assert (values.tolist(), variances.tolist()) == ([0.25, -1.0], [0.0, 0.0])


def test_a_batch_with_nothing_is_an_error() -> None:
    """Neither values nor samples is nothing."""
    problem = Energy(observable=[("Z", 1.0)])
    with pytest.raises(CircuitError, match="neither values nor samples"):
        estimate(template(problem), measured(), problem)


def test_a_mean_and_its_variance_by_hand() -> None:
    """⟨Z⟩ + 3 of 7 zeros and 3 ones: 0.4 without the constant, with variance (1 − 0.4²)·10/9 / 10."""
    problem = Energy(observable=[("Z", 1.0), ("I", 3.0)])
    values, variances = estimate(template(problem), measured(counted(1, 1, {0: 7, 1: 3})), problem)
    assert values == pytest.approx([0.4])
    assert variances == pytest.approx([0.84 / 9])


def test_terms_of_one_group_share_their_shots() -> None:
    """Z₀ − Z₁ is certain when both qubits always agree, though neither term is."""
    problem = Energy(observable=[("IZ", 1.0), ("ZI", -1.0)])
    values, variances = estimate(template(problem), measured(counted(2, 1, {0b00: 50, 0b11: 50})), problem)
    assert (values.tolist(), variances.tolist()) == ([0.0], [0.0])


def test_groups_are_summed_and_so_are_their_variances() -> None:
    """X and Z are measured apart: cells are row-major in (row, group)."""
    problem = Energy(observable=[("Z", 2.0), ("X", 1.0)])
    assert [group.basis for group in Objective(problem).groups] == ["Z", "X"]
    samples = counted(1, 2, {0: 100}, {0: 50, 1: 50}, {1: 100}, {0: 100})
    values, variances = estimate(template(problem), measured(samples), problem)
    assert values.tolist() == [2.0, -1.0]
    assert variances == pytest.approx([1 / 99, 0.0])


def test_one_shot_has_the_variance_of_its_bound() -> None:
    """Of a single shot only the range is known."""
    problem = Energy(observable=[("Z", 2.0), ("X", 1.0), ("I", 9.0)])
    _, variances = estimate(template(problem), measured(counted(1, 2, {0: 1}, {1: 1})), problem)
    assert variances.tolist() == [18.0]


def test_an_empty_cell_is_an_error() -> None:
    """A row that was not measured in a basis has no value."""
    problem = Energy(observable=[("Z", 2.0), ("X", 1.0)])
    with pytest.raises(CircuitError, match="row 1 has no shots in group 0"):
        estimate(template(problem), measured(counted(1, 2, {0: 1}, {0: 1}, {}, {0: 1})), problem)


def test_samples_of_another_problem_are_an_error() -> None:
    """The samples must have the problem's groups."""
    problem = Energy(observable=[("Z", 2.0), ("X", 1.0)])
    with pytest.raises(CorruptObject, match="the samples have 1 groups, the problem 2"):
        estimate(template(problem), measured(counted(1, 1, {0: 1})), problem)


@pytest.mark.parametrize(
    "problem",
    [
        MaxCut(edges=[(0, 1, 1.0), (1, 2, 2.5)]),
        Qubo(terms=[(0, 0, 1.0), (0, 2, -2.0), (1, 1, 0.5)], offset=3.0),
        Ising(couplings=[(0, 1, 1.0), (0, 2, -1.5)], fields=[0.1, 0.0, 0.3], offset=-1.0),
    ],
)
def test_costs_and_observable_agree(problem: MaxCut | Qubo | Ising) -> None:
    """A binary problem estimated by its costs and by its observable (the way of mitigation) is the same."""
    rng = np.random.default_rng(0)
    samples = draw(rng.dirichlet(np.ones(8), 4), 300, 1, (1,))
    by_cost = estimate(template(problem), measured(samples), problem)
    perfect = [[0.0, 0.0]] * 3
    by_terms = estimate(template(problem), measured(samples, perfect), problem, "readout")
    assert by_cost[0] == pytest.approx(by_terms[0])
    assert by_cost[1] == pytest.approx(by_terms[1])


def test_estimates_are_unbiased_and_their_errors_honest() -> None:
    """Over 3000 rows of 200 shots z is standard normal: four standard deviations on its mean and its variance.

    A correct estimator fails with probability 1.3e-4. The variance's own bound is widened for the 200 shots, whose
    z has the variance 1 + O(1/200).
    """
    rng = np.random.default_rng(5)
    problem = Energy(observable=[("ZZ", 0.7), ("IZ", -0.4), ("ZI", 0.2), ("XX", 0.5)])
    zz, xx = rng.dirichlet(np.ones(4), 2)
    samples = draw(np.tile(np.stack((zz, xx)), (3000, 1)), 200, 2, (6,))
    values, variances = estimate(template(problem), measured(samples), problem)
    bits = np.arange(4)
    first, second = 1 - 2 * (bits & 1), 1 - 2 * (bits >> 1)
    exact = (zz * (0.7 * first * second - 0.4 * first + 0.2 * second)).sum() + 0.5 * (
        xx * first * second
    ).sum()
    z = (values - exact) / np.sqrt(variances)
    assert abs(z.mean()) < 4 / np.sqrt(3000)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / 3000) + 0.02


def test_the_cvar_of_everything_is_the_mean() -> None:
    """With share 1 value and variance are those of the plain mean."""
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([2.0, 5.0, 3.0])
    value, variance = cvar(values, weights, 1.0)
    mean = (values * weights).sum() / 10
    assert value == pytest.approx(mean)
    assert variance == pytest.approx(((values - mean) ** 2 * weights).sum() / 90)


def test_the_cvar_averages_the_best_share() -> None:
    """Of costs −3 (2 shots), −1 (3), 0 (5): the best half is (−6 − 3)/5, the best tenth −3."""
    values, weights = np.array([0.0, -3.0, -1.0]), np.array([5.0, 2.0, 3.0])
    assert cvar(values, weights, 0.5)[0] == pytest.approx(-1.8)
    assert cvar(values, weights, 0.1)[0] == pytest.approx(-3.0)
    assert cvar(values, weights, 0.3)[0] == pytest.approx(-7 / 3)  # splits the shots of one outcome
    assert cvar(values, weights, 1e-9)[0] == pytest.approx(-3.0)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-10, 10), st.integers(1, 50)), min_size=1, max_size=8),
    st.floats(0.01, 1.0),
)
def test_the_cvar_is_the_mean_of_sorted_shots(pairs: list[tuple[float, int]], share: float) -> None:
    """It equals the mean of the first share of all shots written out one by one, the last taken in part."""
    shots = np.sort(np.repeat([value for value, _ in pairs], [count for _, count in pairs]))
    budget = share * len(shots)
    taken = np.clip(budget - np.arange(len(shots)), 0, 1)
    value, variance = cvar(
        np.array([value for value, _ in pairs]), np.array([float(count) for _, count in pairs]), share
    )
    assert value == pytest.approx((taken * shots).sum() / budget, abs=1e-9)
    assert variance >= 0


def test_cvar_errors_are_honest() -> None:
    """Over 2000 rows of 2000 shots the CVaR's z has mean 0 and variance 1, within 4 deviations and 5 % of bias.

    The estimator's bias is of order 1/shots, its variance's of order 1/√shots; a correct one fails with 1.3e-4.
    """
    problem = MaxCut(edges=[(i, (i + 1) % 5, 1.0 + 0.3 * i) for i in range(5)], cvar=0.3)
    objective = Objective(problem)
    probabilities = np.random.default_rng(8).dirichlet(np.ones(32))
    samples = draw(np.tile(probabilities, (2000, 1)), 2000, 1, (9,))
    values, variances = estimate(template(problem), measured(samples), problem)
    exact, _ = cvar(objective.costs, probabilities, 0.3)
    z = (values - exact) / np.sqrt(variances)
    assert abs(z.mean()) < 4 / np.sqrt(2000) + 0.05
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / 2000) + 0.05


def test_the_best_solution_is_the_cheapest_outcome() -> None:
    """Of all rows, the outcome of lowest cost; bits read from qubit 0; probability over all shots."""
    problem = Qubo(terms=[(0, 0, -1.0), (2, 2, -2.0), (1, 1, 5.0)])
    samples = counted(3, 1, {0b000: 6, 0b001: 4}, {0b100: 3, 0b010: 7})
    best = best_solution(samples, problem)
    assert (best.bits, best.cost, best.probability) == ("001", -2.0, 3 / 20)


def test_of_equal_solutions_the_lowest_bits_win() -> None:
    """A ring's two best cuts are told apart by their integers."""
    problem = MaxCut(edges=[(0, 1, 1.0)])
    best = best_solution(counted(2, 1, {0b10: 9, 0b01: 1}), problem)
    assert (best.bits, best.cost, best.probability) == ("10", -1.0, 0.1)


def test_exact_probabilities_are_shares_already() -> None:
    """An exact row lists likely outcomes with their probabilities, which need not add up to one."""
    problem = MaxCut(edges=[(0, 1, 1.0)])
    best = best_solution(counted(2, 1, {0b01: 0.25, 0b00: 0.5}, {0b01: 0.75}), problem)
    assert best.probability == pytest.approx(0.5)


def test_samples_come_back_as_they_were_packed() -> None:
    """Cells, outcomes and weights survive packing; outcomes use all 64 bits."""
    samples = counted(64, 2, {2**64 - 1: 3}, {}, {0: 1, 5: 2}, {7: 4})
    assert (samples.rows, samples.groups, samples.offsets) == (2, 2, [0, 1, 1, 3, 4])
    assert [column.tolist() for column in cell(samples, 0, 0)] == [[2**64 - 1], [3.0]]
    assert [column.tolist() for column in cell(samples, 0, 1)] == [[], []]
    assert [column.tolist() for column in cell(samples, 1, 0)] == [[0, 5], [1.0, 2.0]]
    assert columns(samples)[2].tolist() == [0, 2, 2, 3]


def test_the_bytes_are_little_endian() -> None:
    """The columns are the same on every machine."""
    samples = counted(9, 1, {258: 1.5})
    assert samples.outcomes == b"\x02\x01\x00\x00\x00\x00\x00\x00"
    assert samples.weights == b"\x00\x00\x00\x00\x00\x00\xf8\x3f"


def test_counts_become_samples_in_ascending_order() -> None:
    """Hexadecimal keys of any order are sorted within their cell."""
    samples = from_counts(5, 1, [{"0x1f": 2, "0x3": 1}, {"0x0": 7}])
    assert [column.tolist() for column in columns(samples)] == [[3, 31, 0], [1.0, 2.0, 7.0], [0, 0, 1]]


@pytest.mark.parametrize(
    "change",
    [
        {"offsets": [0, 1]},
        {"offsets": [0, 3, 2]},
        {"offsets": [1, 1, 2]},
        {"offsets": [0, 1, 3]},
        {"outcomes": b"123"},
        {"outcomes": b"12345678" * 3},
        {"weights": b""},
    ],
)
def test_columns_that_do_not_fit_are_an_error(change: dict[str, object]) -> None:
    """Damaged samples are never read past their end."""
    samples = counted(1, 1, {0: 1}, {1: 1})
    with pytest.raises(CorruptObject, match="samples of 2 rows × 1 groups do not fit"):
        columns(msgspec.structs.replace(samples, **change))
