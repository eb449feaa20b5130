"""Estimates: from what a batch measured to the objective of each row, with its variance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from varloop.errors import CircuitError, CorruptObject
from varloop.events import Measurement, Samples, Solution
from varloop.quantum.problems import Binary, costs, energies, is_binary
from varloop.quantum.readout import duals
from varloop.quantum.samples import cell, columns
from varloop.spec import Problem

if TYPE_CHECKING:
    from varloop.quantum.objective import Objective
    from varloop.quantum.templates import Template

__all__ = ["best_solution", "cvar", "estimate"]

Estimate = tuple[NDArray[np.float64], NDArray[np.float64]]


def estimate(
    template: Template, measured: Measurement, problem: Problem, mitigation: str = "none"
) -> Estimate:
    """The objective of every row, without the problem's constant, and the variance of that estimate.

    Every shot of a group gives one number, the sum of the group's terms, so covariances between terms that share
    shots are in the variance by construction. Groups are independent, their variances add. A mean over N shots
    has variance Σ(x − x̄)² / (N·(N − 1)); of a single shot nothing is known but its bound, (Σ|coefficient|)².
    The uncertainty of the readout calibration is not part of the variance.

    :raises CircuitError: nothing was measured, or readout mitigation has no calibration.
    :raises CorruptObject: the samples do not fit together.
    """
    if measured.values is not None:
        values = np.array(measured.values)
        return values, np.zeros_like(values)
    if measured.samples is None:
        raise CircuitError("the batch holds neither values nor samples")
    if mitigation == "readout":
        if measured.readout is None:
            raise CircuitError("readout mitigation needs a calibration, and the run has measured none")
        return _sampled(template.objective, measured.samples, duals(measured.readout.errors))
    if is_binary(problem):
        return _binary(template.objective, measured.samples, problem)
    return _sampled(template.objective, measured.samples, None)


def cvar(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> tuple[float, float]:
    """Mean of the lowest ``share`` of weighted values, and its variance if the weights count shots.

    The mean is that of ψ(x) = q − max(q − x, 0) / share with q the share-quantile (Rockafellar and Uryasev, J. Risk
    2, 21 (2000)), and so is, for many shots, the variance. As an objective: Barkoutsos et al., Quantum 4, 256 (2020).
    """
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    total = weights.sum()
    before = np.cumsum(weights) - weights
    quantile = values[np.flatnonzero(before < share * total)[-1]]
    psi = quantile - np.maximum(quantile - values, 0.0) / share
    mean = (weights * psi).sum() / total
    spread = (weights * (psi - mean) ** 2).sum()
    return float(mean), float(spread / (max(total - 1.0, 1.0) * total))


def best_solution(samples: Samples, problem: Binary) -> Solution:
    """The assignment of lowest cost among all samples; of several, the one with the lowest bits.

    Its probability is its share of all rows' samples.
    """
    outcomes, weights, cells = columns(samples)
    prices = costs(problem, outcomes)
    best = outcomes[prices == prices.min()].min()
    shots = np.maximum(np.bincount(cells, weights), 1.0).sum()  # an exact cell lists likely outcomes only
    return Solution(
        bits=f"{int(best):0{samples.num_qubits}b}"[::-1],
        cost=float(prices.min()),
        probability=float(weights[outcomes == best].sum() / shots),
    )


def _binary(objective: Objective, samples: Samples, problem: Binary) -> Estimate:
    """Of a binary problem, whose cost is known for every outcome."""
    if problem.cvar == 1.0:
        outcomes, weights, cells = columns(samples)
        return _moments(energies(problem, outcomes), weights, cells, samples, _bound(objective))
    rows = [cell(samples, row) for row in range(samples.rows)]
    pairs = [cvar(energies(problem, outcomes), weights, problem.cvar) for outcomes, weights in rows]
    values, variances = np.array(pairs).T
    return values, variances


def _sampled(objective: Objective, samples: Samples, factors: NDArray[np.float64] | None) -> Estimate:
    """Of an observable, group by group."""
    outcomes, weights, cells = columns(samples)
    if samples.groups != len(objective.groups):
        raise CorruptObject(f"the samples have {samples.groups} groups, the problem {len(objective.groups)}")
    shots = np.empty(len(outcomes))
    for number, group in enumerate(objective.groups):
        own = cells % samples.groups == number
        shots[own] = _shot_values(objective, group.terms, outcomes[own], factors)
    return _moments(shots, weights, cells, samples, _bound(objective))


def _shot_values(
    objective: Objective,
    terms: tuple[int, ...],
    outcomes: NDArray[np.uint64],
    factors: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """The sum of a group's terms for each shot. Without factors an outcome k of a qubit counts (−1)ᵏ."""
    seen, places = np.unique(outcomes, return_inverse=True)
    values = np.zeros(len(seen))
    for term in terms:
        support = objective.supports[term]
        if factors is None:
            signs = 1.0 - 2.0 * (np.bitwise_count(seen & support) & 1)
        else:
            qubits = [q for q in range(len(factors)) if int(support) >> q & 1]
            signs = np.ones(len(seen))
            for q in qubits:
                signs = signs * factors[q][(seen >> np.uint64(q) & np.uint64(1)).astype(np.intp)]
        values += objective.coefficients[term] * signs
    return values[places]


def _moments(
    shots: NDArray[np.float64],
    weights: NDArray[np.float64],
    cells: NDArray[np.int64],
    samples: Samples,
    bound: float,
) -> Estimate:
    """Mean of every cell and variance of that mean, summed over the groups of each row."""
    size = samples.rows * samples.groups
    total = np.bincount(cells, weights, size)
    if not total.all():
        row, group = divmod(int(np.argmin(total)), samples.groups)
        raise CircuitError(f"row {row} has no shots in group {group}")
    means = np.bincount(cells, weights * shots, size) / total
    spread = np.bincount(cells, weights * (shots - means[cells]) ** 2, size)
    variances = np.where(total > 1, spread / (np.maximum(total - 1, 1) * total), bound)
    shape = samples.rows, samples.groups
    return means.reshape(shape).sum(axis=1), variances.reshape(shape).sum(axis=1)


def _bound(objective: Objective) -> float:
    """Of the variance of a single shot."""
    return float(np.abs(objective.coefficients).sum() ** 2)
