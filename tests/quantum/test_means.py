"""Means: errors that hold what they state, whatever the probabilities, from few shots on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement
from math import comb, lgamma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from varloop.quantum.means import DEVIATIONS, cvar, mean, variance

Array = NDArray[np.float64]
CHANCES = np.concatenate((np.geomspace(1e-4, 0.1, 40), np.linspace(0.1, 0.5, 41)))
"""of an outcome: from nearly impossible to as likely as not"""


def binomial(shots: int, chance: float) -> Array:
    """The probability of k = 0 … shots."""
    counts = np.arange(shots + 1)
    logs = np.array([lgamma(shots + 1) - lgamma(k + 1) - lgamma(shots - k + 1) for k in counts])
    return np.asarray(np.exp(logs + counts * np.log(chance) + (shots - counts) * np.log1p(-chance)))


def held(shots: int, chance: float) -> float:
    """In how many runs the interval holds the mean of a two-valued outcome: no sample, all that can happen."""
    counts = np.arange(shots + 1)
    found = counts / shots
    spread = counts * (1 - found)
    errors = np.sqrt(variance(spread, shots, np.maximum(found, 1 - found)))
    return float(binomial(shots, chance)[np.abs(found - chance) <= DEVIATIONS * errors].sum())


@pytest.mark.parametrize("shots", [16, 17, 25, 50, 100, 1000])
def test_intervals_hold_whatever_the_probability(shots: int) -> None:
    """95 % intervals of a two-valued outcome hold in 93.9 % of runs or more, near certainty too; in the middle in 98."""
    coverage = [held(shots, chance) for chance in CHANCES]
    assert min(coverage) > 0.939
    assert np.mean([held(shots, chance) for chance in np.linspace(0.2, 0.5, 31)]) < 0.985


def test_nothing_is_certain() -> None:
    """A hundred shots that agree leave an outcome of 3 % open: Wilson's limit, as half of the interval."""
    value, found = mean(np.array([1.0]), np.array([100.0]), (-1.0, 1.0))
    assert value == 1.0
    assert DEVIATIONS * np.sqrt(found) == pytest.approx(2 * 3.84 / 102, rel=1e-3)


def test_a_mean_by_hand() -> None:
    """1, 1, 4 within −2 … 5: 2 with Σ(x − 2)² = 6, and 4 away from the lower bound."""
    value, found = mean(np.array([1.0, 4.0]), np.array([2.0, 1.0]), (-2.0, 5.0))
    assert (value, found) == (2.0, pytest.approx(1 + (1.96 * 4 / 5) ** 2))


def test_many_shots_have_the_plain_error() -> None:
    """What few shots cannot tell is less than 1 % of the error from a thousand shots on."""
    value, found = mean(np.array([-1.0, 1.0]), np.array([500.0, 500.0]), (-1.0, 1.0))
    assert value == 0.0
    assert np.sqrt(found) == pytest.approx(np.sqrt(1 / 999), rel=0.01)


def test_the_cvar_of_everything_is_the_mean() -> None:
    """With share 1 the value is the plain mean, and the variance not less than that of one."""
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([2.0, 5.0, 3.0])
    value, found = cvar(values, weights, 1.0, (1.0, 3.0))
    plain, least = mean(values, weights, (1.0, 3.0))
    assert value == pytest.approx(plain)
    assert least <= found < 2 * least


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
    values, counts = np.array([value for value, _ in pairs]), np.array([float(count) for _, count in pairs])
    value, found = cvar(values, counts, share, (-10.0, 10.0))
    assert value == pytest.approx((taken * shots).sum() / budget, abs=1e-9)
    assert DEVIATIONS * np.sqrt(found) <= max(value + 10, 10 - value) + 1e-9
    assert cvar(values, counts, share) == (value, 0.0)


def test_of_one_shot_the_tail_may_be_anything() -> None:
    """The lowest 2 % of one shot: nothing keeps the others from the bound."""
    value, found = cvar(np.array([-1.0]), np.array([1.0]), 0.02, (-4.0, 4.0))
    assert value == -1.0
    assert value - DEVIATIONS * np.sqrt(found) <= -4.0


def outcomes(shots: int, chances: Array) -> Iterator[tuple[Array, float]]:
    """All counts that so many shots of three outcomes can have, with their probability."""
    for first, second in combinations_with_replacement(range(shots + 1), 2):
        counts = np.array([first, second - first, shots - second])
        ways = comb(shots, counts[0]) * comb(shots - counts[0], counts[1])
        yield counts.astype(float), float(ways * np.prod(chances**counts))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("shots", [1, 2, 4, 16])
def test_intervals_of_the_cvar_hold(shots: int, share: float) -> None:
    """95 % intervals of a CVaR hold in 94 % of runs or more, with fewer shots than 1/share too: all that can happen.

    The lowest value is as likely as the share, a little less or more, half or twice: where the quantile jumps.
    """
    values, bounds = np.array([-1.0, 0.0, 1.0]), (-1.5, 1.0)
    for low in share * np.array([0.1, 0.5, 0.9, 1.0, 1.1]):
        chances = np.array([low, 0.7 * (1 - low), 0.3 * (1 - low)])
        exact, _ = cvar(values, chances, share)
        covered = 0.0
        for counts, chance in outcomes(shots, chances):
            seen = counts > 0
            value, found = cvar(values[seen], counts[seen], share, bounds)
            covered += chance * (abs(value - exact) <= DEVIATIONS * np.sqrt(found) + 1e-12)
        assert covered > 0.94
