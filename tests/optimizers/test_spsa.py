from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from optimizers.landscape import drive, measured
from optimizers.optimizer_contract import X0, OptimizerContract
from varloop.evaluation import Evaluation
from varloop.optimizers import spsa
from varloop.optimizers.spsa import Spsa


class TestSpsa(OptimizerContract):
    name = "spsa"


class TestSpsaWithAFixedRate(TestSpsa):
    options = MappingProxyType({"learning_rate": 0.2, "resamplings": 3})


def made(seed: int = 1, **options: Any) -> Spsa:
    """An SPSA of these options."""
    return Spsa(spsa.Options(**options), seed)


def directions(optimizer: Spsa, parameters: int, iterations: int) -> np.ndarray[Any, Any]:
    """The ±1 of every pair of some iterations at x = 0, shape (pairs, parameters)."""
    rows = []
    for k in range(iterations):
        points = np.array(optimizer.ask({**optimizer.start([0.0] * parameters), "iteration": k}).points)
        np.testing.assert_array_equal(points[::2], -points[1::2])
        rows.append(np.sign(points[::2]))
    return np.concatenate(rows)


def test_it_is_spalls_algorithm() -> None:
    """Thirty steps agree with the formulas of the paper, written out with arrays, to rounding."""
    optimizer = made(learning_rate=0.3, perturbation=0.1, stability=5, resamplings=2)
    x = np.array(X0)
    for k, (ask, state) in enumerate(drive(optimizer, optimizer.start(X0), 30)):
        a, c = 0.3 / (5 + k + 1) ** 0.602, 0.1 / (k + 1) ** 0.101
        points, values = np.array(ask.points), np.array(measured(ask).values)
        delta = (points[::2] - x) / c
        np.testing.assert_allclose(np.abs(delta), 1, rtol=0, atol=1e-12 / c)  # x agrees to 1e-12
        np.testing.assert_allclose(points[1::2], x - c * delta, rtol=0, atol=1e-12)
        x = x - a * np.mean((values[::2] - values[1::2])[:, None] / (2 * c) / delta, axis=0)
        np.testing.assert_allclose(optimizer.best(state), x, rtol=0, atol=1e-12)


def test_the_first_step_is_as_large_as_wanted() -> None:
    """On a plane every pair measures the same slope: one pair of it steps by first_step exactly."""
    for scale in (1e-6, 1.0, 1e6):
        optimizer = made(first_step=0.3, calibration=1)
        state = optimizer.start([0.0])
        values = [scale * x for (x,) in optimizer.ask(state).points]
        told = optimizer.tell(state, Evaluation(values, [0.0, 0.0]))
        assert optimizer.best(told) == pytest.approx([-0.3], rel=1e-12)


def test_the_calibration_is_one_batch_and_the_first_step() -> None:
    """The first ask holds all pairs of the calibration, later ones a single pair with the gain it chose."""
    optimizer = made(calibration=40)
    steps = list(drive(optimizer, optimizer.start(X0), 3))

    assert [len(ask.points) for ask, _ in steps] == [80, 2, 2]
    assert [ask.calibrates for ask, _ in steps] == [True, False, False]
    assert len({state["gain"] for _, state in steps}) == 1
    assert optimizer.best(steps[0][1]) != X0


def test_a_flat_start_does_not_blow_up_the_steps() -> None:
    """Differences that are only rounding count as no slope, not as a tiny one that asks for giant steps."""
    optimizer = made(calibration=2)
    noise = Evaluation([5.0, 5.0 + 1e-15, 5.0 - 1e-15, 5.0], [0.0] * 4)
    state = optimizer.tell(optimizer.start(X0), noise)

    assert optimizer.best(state) == pytest.approx(X0, abs=1e-12)
    assert state["gain"] == pytest.approx(0.2 * 11**0.602)


def test_directions_are_fair_and_independent() -> None:
    """Of 4 000 directions, all means and pairwise correlations lie within 5 σ of zero: a fair and
    independent coin fails this for less than one seed in 10 000.
    """
    drawn = directions(made(learning_rate=1.0), 8, 4000)
    moments = drawn.T @ drawn / len(drawn) - np.eye(8)
    lagged = drawn[1:].T @ drawn[:-1] / len(drawn)

    bound = 5 / np.sqrt(len(drawn))
    assert np.abs(drawn.mean(axis=0)).max() < bound
    assert np.abs(moments).max() < bound
    assert np.abs(lagged).max() < bound


def test_seeds_and_iterations_have_directions_of_their_own() -> None:
    """Another seed or another iteration draws other directions, also for the largest seeds."""
    drawn = [
        tuple(directions(made(seed, learning_rate=1.0), 64, 3)[k])
        for seed in (0, 1, 2**32, 2**32 + 1, 2**53)
        for k in range(3)
    ]

    assert len(set(drawn)) == len(drawn)


def test_the_directions_never_change() -> None:
    """The first directions of seed 1 are these for good: another release must not change a run's numbers."""
    bits = directions(made(learning_rate=1.0), 16, 2) > 0

    assert ["".join("01"[bit] for bit in row) for row in bits.astype(int)] == [
        "1100001111110100",
        "0000000010010100",
    ]


def test_it_finds_the_minimum_of_a_noisy_parabola() -> None:
    """From distance 2 in 8 dimensions, with noise 0.1 on each value, 300 iterations end within 0.15.

    A single run misses with probability 0.0055 (22 of 4 000 seeds), so more than 3 misses in 20 happen for
    one choice of seeds in 200 000.
    """
    center = np.linspace(-1, 1, 8)
    x0 = center + 2 / np.sqrt(8)
    misses = sum(np.linalg.norm(noisy(seed, center, x0) - center) > 0.15 for seed in range(20))

    assert misses <= 3


def noisy(seed: int, center: np.ndarray[Any, Any], x0: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Where 300 iterations on |x − center|² with noise of standard deviation 0.1 end."""
    optimizer, noise = made(seed), np.random.default_rng(seed)
    state = optimizer.start(x0.tolist())
    for _ in range(300):
        points = np.array(optimizer.ask(state).points)
        values = ((points - center) ** 2).sum(axis=1) + 0.1 * noise.standard_normal(len(points))
        state = optimizer.tell(state, Evaluation(values.tolist(), [0.1] * len(points)))
    return np.array(optimizer.best(state))
