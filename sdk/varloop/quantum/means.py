"""Means: of bounded values counted in shots, with errors that know what few shots cannot tell.

Value ± 1.96 errors is meant to hold the true value in 95 % of runs: near certainty too, where all shots agree and
their spread is 0 though the mean is not certain. `benchmarks/coverage.py` counts how often it does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["DEVIATIONS", "Bounds", "cvar", "mean", "variance"]

DEVIATIONS = 1.96
"""standard errors to either side of a value that hold the true one in 95 % of runs, as of a normal variable"""

Bounds = tuple[float, float]
"""the lowest and the highest value that a shot can have"""


def variance(spread: ArrayLike, shots: ArrayLike, reach: ArrayLike) -> NDArray[np.float64]:
    """Of the mean of N shots: Σ(x − x̄)² / (N·(N − 1)) + (z·reach / (N + 2))², with z = 1.96.

    The first term is the sample's own, and leaves out what the sample has not seen. An outcome that no shot had may
    still have the probability z² / (N + z²), Wilson's limit (J. Am. Stat. Assoc. 22, 209 (1927)); if it lies as far
    off as it can, the mean is off by the second term times z. The two shots more are those of Agresti and Coull (Am.
    Stat. 52, 119 (1998)). Of two-valued outcomes, whatever their probability, the interval holds in at least 94 %
    of runs, and from one shot on in 98 % where both are likely.

    :param spread: Σ (x − x̄)² over the shots.
    :param shots: N, at least 1.
    :param reach: how far from x̄ a value can be, to the side where that is more.
    """
    shots = np.asarray(shots, dtype=np.float64)
    own = np.asarray(spread) / (np.maximum(shots - 1.0, 1.0) * shots)
    return np.asarray(own + (DEVIATIONS * np.asarray(reach) / (shots + 2.0)) ** 2)


def mean(values: NDArray[np.float64], weights: NDArray[np.float64], bounds: Bounds) -> tuple[float, float]:
    """The mean of values that were counted, and its variance.

    :param values: shape (n,).
    :param weights: shots that had each value, shape (n,).
    """
    shots = weights.sum()
    found = (weights * values).sum() / shots
    spread = (weights * (values - found) ** 2).sum()
    return float(found), float(variance(spread, shots, max(found - bounds[0], bounds[1] - found)))


def cvar(
    values: NDArray[np.float64], weights: NDArray[np.float64], share: float, bounds: Bounds | None = None
) -> tuple[float, float]:
    """The mean of the lowest ``share`` of values that were counted (CVaR), and its variance.

    As an objective: Barkoutsos et al., Quantum 4, 256 (2020). It is the greatest of the means of

        ψ(x) = q − max(q − x, 0) / share        over all q                (Rockafellar and Uryasev, J. Risk 2, 21 (2000)),

    which the share-quantile q attains. So the true CVaR is at least the true mean of ψ for the sample's quantile, and
    at most what the mean of ψ may be for any q, the bound included: the error covers both. Fewer shots than 1/share know little of
    the tail; their lowest value is an estimate from above, and the error reaches down to the bound.

    :param values: shape (n,).
    :param weights: shots that had each value, or their exact probabilities, shape (n,).
    :param bounds: if None, the weights are exact and the variance is 0.
    """
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    total = weights.sum()
    until = np.cumsum(weights)
    rank = int(np.flatnonzero(until - weights < share * total)[-1])
    below = np.maximum(values[rank] - values, 0.0)
    found = float(values[rank] - (weights * below).sum() / (share * total))
    if bounds is None:
        return found, 0.0
    means, errors = _shortfalls(np.append(values, bounds[1]), np.append(weights, 0.0), share, bounds)
    half = max(DEVIATIONS * errors[rank], (means + DEVIATIONS * errors).max() - found)
    return found, float((min(half, max(found - bounds[0], bounds[1] - found)) / DEVIATIONS) ** 2)


def _shortfalls(
    values: NDArray[np.float64], weights: NDArray[np.float64], share: float, bounds: Bounds
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of ψ, and its error, for each value as q; the values ascend."""
    low = bounds[0]
    q = values - low
    shots, first, second = weights.sum(), np.cumsum(weights * q), np.cumsum(weights * q * q)
    until = np.cumsum(weights)
    short = (q * until - first) / share  # Σ w·max(q − x, 0) / share
    squares = (q * q * until - 2 * q * first + second) / share**2
    spread = np.maximum(squares - short**2 / shots, 0.0)
    reach = np.maximum(q / share - short / shots, short / shots)
    return values - short / shots, np.sqrt(variance(spread, shots, reach))
