"""From the measured rows of one batch to the objective at its points: what a postprocess step does.

A step of your own takes the outcomes of each row (``cell``) with the costs of its problem (``costs``, ``bounds``), makes
a value and its variance of them (``mean``, ``cvar`` or its own), and hands those of all rows to ``objective``.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from varloop.events import CircuitExecuted, ObjectiveEvaluated, Solution
from varloop.quantum.estimate import best_solution, estimate
from varloop.quantum.gradients import combine, plan
from varloop.quantum.means import cvar, mean
from varloop.quantum.problems import bounds, costs, is_binary
from varloop.quantum.samples import cell
from varloop.quantum.templates import Template
from varloop.spec import RunSpec

__all__ = ["bounds", "cell", "costs", "cvar", "evaluate", "mean", "objective"]


def evaluate(executed: CircuitExecuted, template: Template, spec: RunSpec, seed: int) -> ObjectiveEvaluated:
    """The objective of the spec's problem.

    :param seed: of the iteration, the one its batch was made with (``ctx.seed``).
    """
    measured, solution = executed.measurement, None
    found = estimate(template, measured, spec.problem, spec.mitigation)
    if is_binary(spec.problem) and measured.samples is not None:
        solution = best_solution(measured.samples, spec.problem)
    return objective(
        executed,
        template,
        seed,
        found.values,
        found.variances,
        shared=found.shared,
        offset=template.objective.offset,
        solution=solution,
    )


def objective(
    executed: CircuitExecuted,
    template: Template,
    seed: int,
    values: ArrayLike,
    variances: ArrayLike,
    *,
    shared: NDArray[np.float64] | None = None,
    offset: float = 0.0,
    solution: Solution | None = None,
) -> ObjectiveEvaluated:
    """The objective from values of your own.

    :param values: one per row of the batch, shape (n_rows,): the points first, then the gradient's shifts.
    :param variances: variance of each value, shape (n_rows,); 0 when exact. :mod:`varloop.quantum.means` has those
        of means, and of means of the lowest values, that hold for few shots too.
    :param shared: causes of error that rows have in common (see :class:`varloop.quantum.estimate.Estimate`).
    :param offset: what to add to the values when they are told to people.
    """
    request = executed.request
    rows = plan(template.angles, request.points, request.gradient, seed, exact=template.exact)
    return ObjectiveEvaluated(
        memo=request.memo,
        evaluation=msgspec.structs.replace(combine(rows, values, variances, shared), offset=offset),
        shots=executed.measurement.shots,
        solution=solution,
    )
