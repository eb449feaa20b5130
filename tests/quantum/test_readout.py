from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from quantum.batches import measured, template
from varloop.errors import CircuitError
from varloop.events import Samples
from varloop.quantum.backends.sampling import draw
from varloop.quantum.estimate import estimate
from varloop.quantum.readout import assignment, duals
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
        values, _ = estimate(template(problem), done, problem, "readout")
        assert values == pytest.approx([exact])
        plain, _ = estimate(template(problem), done, problem, "none")
        assert plain != pytest.approx([exact])


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
    values, variances = estimate(template(problem), measured(samples, errors.tolist()), problem, "readout")
    bits = np.arange(4)
    first, second = 1 - 2 * (bits & 1), 1 - 2 * (bits >> 1)
    exact = (true * (0.7 * first * second - 0.4 * first + 0.2 * second)).sum()
    z = (values - exact) / np.sqrt(variances)
    assert abs(z.mean()) < 4 / np.sqrt(2000)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / 2000)
