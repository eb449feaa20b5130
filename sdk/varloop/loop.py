"""The classical side of the loop: from measured values and the budget to the next request, or to the end.

Pure data in, pure data out. ``encode`` opens a loop, ``optimize`` advances it; between them it rests in
the run's journal.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from varloop.events import ObjectiveEvaluated, RunCompleted, Solution
from varloop.optimizers import Ask, Optimizer
from varloop.progress import Iteration
from varloop.spec import Budget

__all__ = ["Best", "Cost", "Loop", "advance", "opened", "report"]

PATIENCE = 10
"""iterations over which ``budget.tolerance`` asks for an improvement"""


class Cost(msgspec.Struct, frozen=True):
    """What a request costs."""

    row: int
    """shots per row of angles: shots × measurement groups; 0 when exact"""
    gradient: int
    """rows of a gradient"""
    fixed: int = 0
    """shots of the first request beside its rows (readout calibration)"""

    def of(self, points: int, gradient: bool) -> int:
        """Shots of a request."""
        return self.row * (points + self.gradient * gradient)


class Best(msgspec.Struct, frozen=True):
    """The lowest value seen and where."""

    value: float
    """without the offset"""
    error: float
    parameters: list[float]
    solution: Solution | None = None


class Loop(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run stands, as its journal keeps it after each iteration."""

    optimizer: dict[str, Any]
    """the optimizer's own state"""
    points: list[list[float]]
    """points of the request under way"""
    template: str
    gradient: str
    """how gradients are measured; none if the optimizer needs none"""
    cost: Cost
    deadline: float | None = None
    """seconds since the epoch"""
    iterations: int = 0
    """finished ones"""
    shots: int = 0
    """used so far"""
    offset: float = 0.0
    """to be added to every value when it is told to people (see :class:`varloop.evaluation.Evaluation`)"""
    best: Best | None = None
    lows: list[float] = []
    """best value after each of the latest iterations, at most PATIENCE + 1"""
    solution: Solution | None = None
    """best assignment sampled in any iteration, for binary problems"""
    stopping: str = ""
    """why the request under way is the last one; empty while the loop goes on"""


def opened(loop: Loop, budget: Budget, ask: Ask) -> list[str]:
    """Faults that keep a loop from starting within its budget."""
    return budget.short_of(loop.cost.of(len(ask.points), ask.gradient) + loop.cost.fixed + _reserve(loop))


def report(loop: Loop, measured: ObjectiveEvaluated, iteration: int) -> Iteration:
    """What people see of an iteration.

    :param loop: as it was before it.
    """
    evaluation, low = measured.evaluation, _lowest(measured)
    after = _noted(loop, measured)
    return Iteration(
        iteration=iteration,
        value=evaluation.values[low] + evaluation.offset,
        error=evaluation.errors[low],
        lowest=min(evaluation.values[low], loop.best.value if loop.best else math.inf) + evaluation.offset,
        shots=after.shots,
        parameters=loop.points[low],
        gradient=evaluation.gradient,
        gradient_errors=evaluation.gradient_errors,
        solution=after.solution,
        final=bool(loop.stopping),
    )


def _lowest(measured: ObjectiveEvaluated) -> int:
    """Index of the point with the lowest value."""
    values = measured.evaluation.values
    return min(range(len(values)), key=values.__getitem__)


def _noted(loop: Loop, measured: ObjectiveEvaluated) -> Loop:
    """Take note of an iteration's values."""
    low = _lowest(measured)
    value, error = measured.evaluation.values[low], measured.evaluation.errors[low]
    best = loop.best
    if best is None or value < best.value or (loop.stopping and loop.cost.row):
        best = Best(value, error, loop.points[low], measured.solution)
    solution = loop.solution
    if measured.solution is not None and (solution is None or measured.solution.cost < solution.cost):
        solution = measured.solution
    return msgspec.structs.replace(
        loop,
        iterations=loop.iterations + (not loop.stopping),
        shots=loop.shots + measured.shots,
        offset=measured.evaluation.offset,
        best=best,
        solution=solution,
        lows=[*loop.lows, best.value][-PATIENCE - 1 :],
    )


def advance(
    loop: Loop, measured: ObjectiveEvaluated, optimizer: Optimizer, budget: Budget, now: float
) -> tuple[Loop, Ask | RunCompleted]:
    """The loop after an iteration, and the next request or the result.

    A run that stops measures its final point once more, unless that very point has an exact value
    already: the lowest of many noisy values is biased, a fresh value is not.
    """
    loop = _noted(loop, measured)
    if loop.stopping:
        return loop, _completed(loop, loop.stopping)
    state = optimizer.tell(loop.optimizer, measured.evaluation)
    loop = msgspec.structs.replace(loop, optimizer=state)
    if loop.deadline is not None and now >= loop.deadline:
        return loop, _completed(loop, "deadline")
    ask = optimizer.ask(state)
    reason = "converged" if ask is None else _exhausted(loop, budget, ask)
    if not reason and ask is not None:
        return msgspec.structs.replace(loop, points=ask.points), ask
    final = optimizer.best(state)
    if loop.best is not None and loop.best.parameters == final and not loop.cost.row:
        return loop, _completed(loop, reason)
    return msgspec.structs.replace(loop, points=[final], stopping=reason), Ask([final], False)


def _exhausted(loop: Loop, budget: Budget, ask: Ask) -> str:
    """Why the next request must not be made, or nothing."""
    if loop.iterations >= budget.iterations:
        return "iterations"
    need = loop.cost.of(len(ask.points), ask.gradient) + _reserve(loop)
    if budget.shots is not None and loop.shots + need > budget.shots:
        return "shots"
    if budget.tolerance is not None and len(loop.lows) > PATIENCE:
        improved = loop.lows[0] - loop.lows[-1]
        if improved < budget.tolerance:
            return "converged"
    return ""


def _reserve(loop: Loop) -> int:
    """Shots of the final value."""
    return loop.cost.of(1, False)


def _completed(loop: Loop, reason: str) -> RunCompleted:
    best = loop.best
    assert best is not None and math.isfinite(best.value)  # noqa: S101  _noted() came first
    return RunCompleted(
        value=best.value + loop.offset,
        error=best.error,
        parameters=best.parameters,
        iterations=loop.iterations,
        shots=loop.shots,
        reason=reason,
        solution=loop.solution,
    )
