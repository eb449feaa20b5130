"""From the measured rows of one batch to the objective at its points: what a postprocess step does.

A step of your own takes the outcomes of each row (``cell``) with the costs of its problem (``costs``, ``bounds``), makes
a value and its variance of them (``mean``, ``cvar`` or its own), and hands those of all rows to ``objective``.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from varloop.events import CircuitExecuted, ObjectiveEvaluated
from varloop.quantum.estimate import best_solution, estimate, shares
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
    measured, bits = executed.measurement, executed.request.solution
    found = estimate(template, measured, spec.problem, spec.mitigation)
    evaluated = objective(
        executed,
        template,
        seed,
        found.values,
        found.variances,
        shared=found.shared,
        offset=template.objective.offset,
    )
    if not is_binary(spec.problem) or measured.samples is None:
        return evaluated
    solution = best_solution(measured.samples, spec.problem, bits)
    counted = (
        shares(measured.samples, solution.bits)[: len(executed.request.points)].tolist() if bits else None
    )
    return msgspec.structs.replace(evaluated, solution=solution, shares=counted)


def objective(
    executed: CircuitExecuted,
    template: Template,
    seed: int,
    values: ArrayLike,
    variances: ArrayLike,
    *,
    shared: NDArray[np.float64] | None = None,
    offset: float = 0.0,
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
    )
