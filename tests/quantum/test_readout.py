from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from quantum.batches import measured, template
from varloop.errors import CircuitError
from varloop.events import Readout, Samples
from varloop.quantum.backends.sampling import draw, misread
from varloop.quantum.estimate import Estimate, estimate
from varloop.quantum.gradients import Plan, combine
from varloop.quantum.readout import assignment, correction, duals
from varloop.quantum.samples import pack
from varloop.spec import Energy

Array = NDArray[np.float64]


def whole(errors: Array) -> Array:
    """The assignment matrix of all qubits, qubit 0 in the lowest bit: columns by true outcome."""
    matrix = np.eye(1)
    for up, down in errors:
        matrix = np.kron(np.array([[1 - up, down], [up, 1 - down]]), matrix)
    return matrix


def infinite(probabilities: Array, groups: int = 1) -> Samples:
    """Samples whose weights are the probabilities: what infinitely many shots would give."""
    cells, size = probabilities.shape
    return pack(
        size.bit_length() - 1,
        groups,
        np.tile(np.arange(size, dtype=np.uint64), cells),
        probabilities.ravel(),
        np.full(cells, size),
    )


def test_a_perfect_device_needs_no_correction() -> None:
    """Without errors an outcome counts +1 or −1."""
    assert duals([[0.0, 0.0]]).tolist() == [[1.0, -1.0]]


def test_duals_invert_the_assignment_matrix() -> None:
    """Aᵀ·f = (1, −1), so the mean of f over read bits is ⟨Z⟩ of the true bit."""
    for up, down in np.random.default_rng(0).uniform(0, 0.45, (20, 2)):
        matrix = np.array([[1 - up, down], [up, 1 - down]])
        assert matrix.T @ duals([[up, down]])[0] == pytest.approx([1, -1])


def test_infinite_statistics_give_the_exact_value() -> None:
    """Misread probabilities of any state give back its exact expectation value, and its variance is that of f."""
    rng = np.random.default_rng(1)
    terms = [("ZII", 0.3), ("ZZI", -0.7), ("IZZ", 0.2), ("ZZZ", 1.1)]
    problem = Energy(observable=terms)
    for _ in range(5):
        true, errors = rng.dirichlet(np.ones(8), 1), rng.uniform(0, 0.4, (3, 2))
        seen = true @ whole(errors).T
        signs = {
            label: np.prod(
                [1 - 2 * (np.arange(8) >> q & 1) for q, letter in enumerate(label[::-1]) if letter == "Z"],
                axis=0,
            )
            for label, _ in terms
        }
        exact = sum(weight * (true[0] * signs[label]).sum() for label, weight in terms)
        done = measured(infinite(seen), errors.tolist())
        found = estimate(template(problem), done, problem, "readout")
        assert found.values == pytest.approx([exact])
        plain = estimate(template(problem), done, problem, "none")
        assert plain.values != pytest.approx([exact])


def test_the_calibration_reads_each_qubit() -> None:
    """Row 0 prepared zeros, row 1 ones: the shares of wrong bits are the readout errors."""
    zeros = ([0b00, 0b01, 0b10], [90.0, 6.0, 4.0])
    ones = ([0b01, 0b10, 0b11], [20.0, 10.0, 70.0])
    samples = pack(
        2, 1, np.array(zeros[0] + ones[0], dtype=np.uint64), np.array(zeros[1] + ones[1]), np.array([3, 3])
    )
    assert np.array(assignment(samples)) == pytest.approx(np.array([[0.06, 0.10], [0.04, 0.20]]))


@pytest.mark.parametrize(("up", "down"), [(0.5, 0.5), (0.7, 0.4), (1.0, 0.0)])
def test_a_qubit_that_reads_at_random_cannot_be_corrected(up: float, down: float) -> None:
    """Errors that add up to one or more leave nothing to invert; the qubit is named."""
    with pytest.raises(CircuitError, match=r"qubit 1 reads 1 for 0 in .*: these errors cannot be undone"):
        duals([[0.1, 0.1], [up, down]])


def test_mitigation_without_a_calibration_is_an_error() -> None:
    """Readout mitigation says what it lacks."""
    problem = Energy(observable=[("Z", 1.0)])
    with pytest.raises(CircuitError, match="needs a calibration"):
        estimate(template(problem), measured(infinite(np.array([[0.5, 0.5]]))), problem, "readout")


def test_mitigated_estimates_are_unbiased_and_their_errors_honest() -> None:
    """Over 2000 rows of finite shots z is standard normal; four deviations each on mean and variance: 1.3e-4."""
    rng = np.random.default_rng(2)
    problem = Energy(observable=[("ZZ", 0.7), ("IZ", -0.4), ("ZI", 0.2)])
    errors, true = rng.uniform(0.02, 0.2, (2, 2)), rng.dirichlet(np.ones(4))
    samples = draw(np.tile(whole(errors) @ true, (2000, 1)), 400, 1, (3,))
    found = estimate(template(problem), measured(samples, errors.tolist()), problem, "readout")
    bits = np.arange(4)
    first, second = 1 - 2 * (bits & 1), 1 - 2 * (bits >> 1)
    exact = (true * (0.7 * first * second - 0.4 * first + 0.2 * second)).sum()
    z = (found.values - exact) / found.errors
    assert abs(z.mean()) < 4 / np.sqrt(2000)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / 2000)


def calibrated(problem: Energy, true: Array, shots: int, calibration: int, seed: int) -> Estimate:
    """Rows estimated as one run does: misread, by qubits that were calibrated in so many shots.

    :param true: probabilities, shape (n_rows, 2ⁿ).
    """
    qubits = true.shape[1].bit_length() - 1
    errors = np.linspace((0.02, 0.05), (0.04, 0.1), qubits)
    samples = draw(misread(true, errors), shots, 1, (seed, 0))
    flips = draw(misread(np.eye(2**qubits)[[0, -1]], errors), calibration, 1, (seed, 1))
    done = measured(samples, assignment(flips), calibration)
    return estimate(template(problem), done, problem, "readout")


@pytest.mark.parametrize("certain", [0.8, 0.99])
def test_the_calibration_is_part_of_the_error(certain: float) -> None:
    """Of 1500 runs with a tenth as many shots in the calibration the 95 % interval holds in 93 % or more.

    A correct error fails with probability 4e-4; without the calibration's share it holds in 70 % or less.
    """
    problem = Energy(observable=[("ZZ", 0.7), ("IZ", -0.4), ("ZI", 0.2)])
    true = certain * np.eye(4)[:1] + (1 - certain) * np.array([[0.5, 0.2, 0.2, 0.1]])
    exact = _energy(problem, true[0])
    found = [calibrated(problem, true, 4000, 400, seed) for seed in range(1500)]
    hits = [abs(each.values[0] - exact) <= 1.96 * each.errors[0] for each in found]
    alone = [abs(each.values[0] - exact) <= 1.96 * np.sqrt(each.variances[0]) for each in found]
    assert np.mean(hits) > 0.93
    assert np.mean(alone) < 0.7


def test_rows_share_the_calibration() -> None:
    """In a difference of two rows most of the calibration's error cancels: the gradient's z has variance 1.

    1500 runs; the bounds are four deviations, 1.3e-4, and 5 % for what few shots cannot tell.
    """
    problem = Energy(observable=[("ZZ", 0.7), ("IZ", -0.4), ("ZI", 0.2)])
    true = np.array([[0.8, 0.1, 0.05, 0.05], [0.7, 0.15, 0.1, 0.05], [0.75, 0.05, 0.1, 0.1]])
    batch = Plan(np.zeros((3, 1)), 1, np.array([[0.0, 0.5, -0.5]]))
    exact = (_energy(problem, true[1]) - _energy(problem, true[2])) / 2
    scores, apart = [], []
    for seed in range(1500):
        found = calibrated(problem, true, 40_000, 400, seed)
        seen = combine(batch, found.values, found.variances, found.shared)
        assert seen.gradient is not None
        assert seen.gradient_errors is not None
        scores.append((seen.gradient[0] - exact) / seen.gradient_errors[0])
        apart.append(
            combine(batch, found.values, found.errors**2).gradient_errors[0] / seen.gradient_errors[0]
        )  # type: ignore[index]
    assert 0.95 - 4 * np.sqrt(2 / 1500) < np.var(scores) < 1 + 4 * np.sqrt(2 / 1500)
    assert abs(np.mean(scores)) < 4 / np.sqrt(1500)
    assert np.mean(apart) > 2  # as if every row had been calibrated by itself


def test_no_misreading_in_few_shots_is_not_certain() -> None:
    """A calibration without a fault leaves the factors uncertain."""
    slopes = correction(Readout(errors=[[0.0, 0.0]], shots=100)).slopes
    assert np.abs(slopes).max() == pytest.approx(2 * 1.96 / 102)


def _energy(problem: Energy, true: Array) -> float:
    """⟨problem⟩ of two qubits with these probabilities; its terms are diagonal."""
    signs = {"Z": np.array([1.0, -1.0]), "I": np.ones(2)}
    return float(
        sum(
            weight * (true * np.kron(signs[label[0]], signs[label[1]])).sum()
            for label, weight in problem.observable
        )
    )
