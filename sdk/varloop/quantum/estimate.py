"""Estimates: from what a batch measured to the objective of each row, and what is uncertain about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from varloop.errors import CircuitError, CorruptObject
from varloop.events import Measurement, Samples, Solution
from varloop.quantum.means import cvar, variance
from varloop.quantum.problems import Binary, costs, energies, is_binary
from varloop.quantum.readout import Correction, correction
from varloop.quantum.samples import cell, columns
from varloop.spec import Problem

if TYPE_CHECKING:
    from varloop.quantum.objective import Objective
    from varloop.quantum.templates import Template

__all__ = ["Estimate", "best_solution", "estimate", "shares"]


@dataclass(frozen=True, eq=False)
class Estimate:
    """The objective of every row, without the problem's constant, and what is uncertain about it."""

    values: NDArray[np.float64]
    """shape (n_rows,)"""
    variances: NDArray[np.float64]
    """of each value, as far as the row's own shots leave it open, shape (n_rows,); 0 when exact"""
    shared: NDArray[np.float64]
    """what one standard deviation of each cause of error that all rows have in common (the readout calibration)
    does to each value, shape (n_rows, n_causes); the causes are independent of each other"""

    @property
    def errors(self) -> NDArray[np.float64]:
        """The standard error of each value, shape (n_rows,)."""
        return np.asarray(np.sqrt(self.variances + (self.shared**2).sum(axis=1)))


def estimate(
    template: Template, measured: Measurement, problem: Problem, mitigation: str = "none"
) -> Estimate:
    """The objective of every row.

    Every shot of a group gives one number, the sum of the group's terms, so covariances between terms that share
    shots are in the variance by construction. Groups are independent, their variances add. The variance of a mean
    (:func:`varloop.quantum.means.variance`) knows what few shots cannot tell, within Σ |coefficient| of the group.

    :raises CircuitError: nothing was measured, or readout mitigation has no calibration.
    :raises CorruptObject: the samples do not fit together.
    """
    if measured.values is not None:
        return _apart(np.array(measured.values), np.zeros(len(measured.values)))
    if measured.samples is None:
        raise CircuitError("the batch holds neither values nor samples")
    if mitigation == "readout":
        if measured.readout is None:
            raise CircuitError("readout mitigation needs a calibration, and the run has measured none")
        return _mitigated(template.objective, measured.samples, correction(measured.readout))
    if is_binary(problem):
        return _binary(template.objective, measured.samples, problem)
    return _apart(*_sampled(template.objective, measured.samples))


def best_solution(samples: Samples, problem: Binary, known: str = "") -> Solution:
    """The assignment of lowest cost among all samples; of several, the one with the lowest bits.

    Its probability is its share of all rows' samples.

    :param known: bits of one that is taken unless a sample is better.
    """
    outcomes, _, _ = columns(samples)
    prices = costs(problem, outcomes)
    best = outcomes[prices == prices.min()].min()
    bits, cost = f"{int(best):0{samples.num_qubits}b}"[::-1], float(prices.min())
    if known and (price := float(costs(problem, _outcome(known)))) <= cost:
        bits, cost = known, price
    return Solution(bits=bits, cost=cost, probability=float(shares(samples, bits).mean()))


def shares(samples: Samples, bits: str) -> NDArray[np.float64]:
    """Share of each row's samples that are these bits, shape (n_rows,); of samples in one group."""
    outcomes, weights, cells = columns(samples)
    total = np.maximum(
        np.bincount(cells, weights, samples.rows), 1.0
    )  # an exact row lists likely outcomes only
    return np.asarray(np.bincount(cells, weights * (outcomes == _outcome(bits)), samples.rows) / total)


def _outcome(bits: str) -> np.uint64:
    return np.uint64(int(bits[::-1], 2))


def _apart(values: NDArray[np.float64], variances: NDArray[np.float64]) -> Estimate:
    """An estimate whose rows have no cause of error in common."""
    return Estimate(values, variances, np.zeros((len(values), 0)))


def _binary(objective: Objective, samples: Samples, problem: Binary) -> Estimate:
    """Of a binary problem, whose cost is known for every outcome."""
    bound = float(np.abs(objective.coefficients).sum())
    if problem.cvar == 1.0:
        outcomes, weights, cells = columns(samples)
        return _apart(*_moments(energies(problem, outcomes), weights, cells, samples, np.array([bound])))
    rows = [cell(samples, row) for row in range(samples.rows)]
    tails = [cvar(energies(problem, found), count, problem.cvar, (-bound, bound)) for found, count in rows]
    values, variances = np.array(tails).T
    return _apart(values, variances)


def _sampled(
    objective: Objective, samples: Samples, undo: Correction | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of an observable, group by group: values and variances of the rows."""
    outcomes, weights, cells = columns(samples)
    if samples.groups != len(objective.groups):
        raise CorruptObject(f"the samples have {samples.groups} groups, the problem {len(objective.groups)}")
    shots, bounds = np.empty(len(outcomes)), np.zeros(samples.groups)
    for number, group in enumerate(objective.groups):
        own = cells % samples.groups == number
        seen, places = np.unique(outcomes[own], return_inverse=True)
        values = np.zeros(len(seen))
        for term in group.terms:
            weight, support = objective.coefficients[term], int(objective.supports[term])
            signs, bound = (
                (undo.signs(seen, support), undo.bound(support)) if undo else (_signs(seen, support), 1.0)
            )
            values += weight * signs
            bounds[number] += abs(weight) * bound
        shots[own] = values[places]
    return _moments(shots, weights, cells, samples, bounds)


def _signs(outcomes: NDArray[np.uint64], support: int) -> NDArray[np.float64]:
    """The eigenvalue of Z on these qubits, of each outcome."""
    return np.asarray(1.0 - 2.0 * (np.bitwise_count(outcomes & np.uint64(support)) & 1))


def _mitigated(objective: Objective, samples: Samples, undo: Correction) -> Estimate:
    """Of an observable whose qubits were misread, with the calibration's own uncertainty (delta method).

    An error of a qubit's calibration moves the mean of every term on that qubit, in all rows alike.
    """
    values, variances = _sampled(objective, samples, undo)
    outcomes, weights, cells = columns(samples)
    shares = weights / np.bincount(cells, weights)[cells]
    shared = np.zeros((samples.rows, undo.causes))
    for number, group in enumerate(objective.groups):
        own = cells % samples.groups == number
        seen, places = np.unique(outcomes[own], return_inverse=True)
        effects = np.zeros((len(seen), undo.causes))
        for term in group.terms:
            effects += objective.coefficients[term] * undo.effects(seen, int(objective.supports[term]))
        rows = cells[own] // samples.groups
        for cause, effect in enumerate(effects.T):
            shared[:, cause] += np.bincount(rows, shares[own] * effect[places], samples.rows)
    return Estimate(values, variances, shared)


def _moments(
    shots: NDArray[np.float64],
    weights: NDArray[np.float64],
    cells: NDArray[np.int64],
    samples: Samples,
    bounds: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of every cell and variance of that mean, summed over the groups of each row.

    :param bounds: the greatest absolute value of a shot in each group, shape (n_groups,).
    """
    size = samples.rows * samples.groups
    total = np.bincount(cells, weights, size)
    if not total.all():
        row, group = divmod(int(np.argmin(total)), samples.groups)
        raise CircuitError(f"row {row} has no shots in group {group}")
    means = np.bincount(cells, weights * shots, size) / total
    spread = np.bincount(cells, weights * (shots - means[cells]) ** 2, size)
    variances = variance(spread, total, np.abs(means) + np.tile(bounds, samples.rows))
    shape = samples.rows, samples.groups
    return means.reshape(shape).sum(axis=1), variances.reshape(shape).sum(axis=1)
