"""The classical side of the loop: from measured values and the budget to the next request, or to the end.

Pure data in, pure data out. ``encode`` opens a loop, ``optimize`` advances it; between them it rests in
the run's journal.

**The result of a run with shots** is measured afresh at its end. The lowest of many noisy values is lower than the
objective at its point, so none of them is a result. A run that stops measures its candidates once more in one batch:
the optimizer's last recommendation, and the points of the lowest values so far. Each is measured twice. The first
value selects one of them; the second, which had no part in that, is the result: unbiased, with its own error. What the
batch costs is kept back from the budget's shots, and so is the time for it from the deadline.

**The result of an exact run** is the lowest value of all points, the optimizer's last recommendation included.
"""

from __future__ import annotations

from typing import Any

import msgspec

from varloop.errors import PermanentError
from varloop.events import ObjectiveEvaluated, RunCompleted, Solution
from varloop.optimizers import Ask, Optimizer
from varloop.progress import Iteration
from varloop.spec import CANDIDATES, Budget

__all__ = ["Cost", "Loop", "Measured", "advance", "expired", "report", "skip", "start_faults", "stop"]

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


class Measured(msgspec.Struct, frozen=True):
    """A value and where it was measured."""

    value: float
    """without the offset"""
    error: float
    """standard error of value; 0 when exact"""
    parameters: list[float]
    share: float | None = None
    """of the best assignment among its samples, if that was asked for"""


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
    started: float = 0.0
    """when the request under way was made, seconds since the epoch; only with a deadline"""
    iterations: int = 0
    """finished ones"""
    shots: int = 0
    """used so far"""
    offset: float = 0.0
    """to be added to every value when it is told to people (see :class:`varloop.evaluation.Evaluation`)"""
    latest: Measured | None = None
    """the first point of the latest iteration, which no value had a part in choosing; only with a deadline"""
    lowest: list[Measured] = []
    """the lowest values so far, lowest first, each of another point; with shots they are biased"""
    lows: list[float] = []
    """lowest value after each of the latest iterations, at most PATIENCE + 1"""
    solution: Solution | None = None
    """best assignment sampled in any iteration, for binary problems"""
    stopping: str = ""
    """why the request under way is the last one; empty while the loop goes on"""


def start_faults(loop: Loop, budget: Budget, ask: Ask) -> list[str]:
    """Faults that keep a loop from starting within its budget."""
    first = loop.cost.of(len(ask.points), ask.gradient)
    return budget.short_of(first + loop.cost.fixed + loop.cost.row, first if ask.calibrates else 0)


def report(loop: Loop, measured: ObjectiveEvaluated, iteration: int) -> Iteration:
    """What people see of an iteration.

    :param loop: as it was before it.
    """
    after = _noted(loop, measured)
    points = _measured(loop, measured)
    shown = _final(points, loop) if loop.stopping else min(points, key=lambda point: point.value)
    return Iteration(
        iteration=iteration,
        value=shown.value + after.offset,
        error=shown.error,
        lowest=after.lowest[0].value + after.offset,
        shots=after.shots,
        parameters=shown.parameters,
        gradient=measured.evaluation.gradient,
        gradient_errors=measured.evaluation.gradient_errors,
        solution=after.solution,
        final=bool(loop.stopping),
    )


def advance(
    loop: Loop, measured: ObjectiveEvaluated, optimizer: Optimizer, budget: Budget, now: float
) -> tuple[Loop, Ask | RunCompleted]:
    """The loop after an iteration, and the next request or the result.

    :param now: seconds since the epoch; decides nothing without a deadline.
    """
    after = _noted(loop, measured)
    if loop.stopping:
        return after, _completed(after, _final(_measured(loop, measured), loop), loop.stopping)
    state = optimizer.tell(loop.optimizer, measured.evaluation)
    after = msgspec.structs.replace(after, optimizer=state)
    if loop.deadline is not None:
        if now >= loop.deadline:
            return after, expired(after)
        after = msgspec.structs.replace(after, started=now)
    ask = optimizer.ask(state)
    reason = "converged" if ask is None else _exhausted(after, budget, ask, now - loop.started)
    if reason or ask is None:
        return stop(after, optimizer, budget, reason)
    return msgspec.structs.replace(after, points=ask.points), ask


def stop(loop: Loop, optimizer: Optimizer, budget: Budget, reason: str) -> tuple[Loop, Ask | RunCompleted]:
    """The loop with its final measurement under way, and the request for that; or the result, if it is exact already.

    :param loop: after its latest iteration.
    """
    last = optimizer.best(loop.optimizer)
    points = [last, *(point.parameters for point in loop.lowest if point.parameters != last)]
    if loop.cost.row:
        points = points[: budget.candidates(loop.shots, loop.cost.row, len(points))]
        points = points * 2 if len(points) > 1 else points
    elif loop.solution is None:  # else its probability at the result is not known yet
        if loop.lowest and loop.lowest[0].parameters == last:
            return loop, _completed(loop, loop.lowest[0], reason)
        points = [last]
    return msgspec.structs.replace(loop, points=points, stopping=reason), Ask(points, False)


def skip(loop: Loop, optimizer: Optimizer, budget: Budget, reason: str) -> tuple[Loop, Ask | RunCompleted]:
    """The loop after its request was not carried out, and the next request or the result.

    :param reason: deadline or stopped.
    """
    if reason == "deadline":
        return loop, expired(loop)
    if loop.stopping:  # that was its final measurement
        return msgspec.structs.replace(loop, stopping=reason), Ask(loop.points, False)
    return stop(loop, optimizer, budget, reason)


def expired(loop: Loop) -> RunCompleted:
    """The result of a run whose deadline leaves no time for a final measurement.

    With shots it is the latest iteration's first point, as measured: not the best one, but its value is unbiased.

    :raises PermanentError: if nothing was measured yet.
    """
    if loop.latest is None:
        raise PermanentError(
            "the deadline passed before anything was measured", hint="a longer budget.deadline"
        )
    result = loop.latest if loop.cost.row else loop.lowest[0]
    return _completed(loop, result, "deadline", fresh=not loop.cost.row)


def _measured(loop: Loop, measured: ObjectiveEvaluated) -> list[Measured]:
    """The points of the request under way with their values."""
    evaluation = measured.evaluation
    shares: list[float] | list[None] = measured.shares or [None] * len(loop.points)
    return list(map(Measured, evaluation.values, evaluation.errors, loop.points, shares))


def _final(points: list[Measured], loop: Loop) -> Measured:
    """The result among what the final measurement gave."""
    if not loop.cost.row:
        return min([*points, *loop.lowest[:1]], key=lambda point: point.value)
    count = (len(points) + 1) // 2
    selected = min(range(count), key=lambda k: points[k].value)
    return points[selected + len(points) - count]


def _noted(loop: Loop, measured: ObjectiveEvaluated) -> Loop:
    """The loop with an iteration's values in it."""
    points = _measured(loop, measured)
    lowest: list[Measured] = []
    for point in sorted([*loop.lowest, *points], key=lambda point: point.value):
        if all(point.parameters != other.parameters for other in lowest):
            lowest.append(point)
    solution = loop.solution
    if measured.solution is not None and (solution is None or measured.solution.cost < solution.cost):
        solution = measured.solution
    return msgspec.structs.replace(
        loop,
        iterations=loop.iterations + (not loop.stopping),
        shots=loop.shots + measured.shots,
        offset=measured.evaluation.offset,
        latest=None if loop.deadline is None else points[0],
        lowest=lowest[: CANDIDATES if loop.cost.row else 1],
        solution=solution,
        lows=[*loop.lows, lowest[0].value][-PATIENCE - 1 :],
    )


def _exhausted(loop: Loop, budget: Budget, ask: Ask, took: float) -> str:
    """Why the next request must not be made, or nothing.

    :param took: seconds of the latest iteration.
    """
    if loop.iterations >= budget.iterations:
        return "iterations"
    need = loop.cost.of(len(ask.points), ask.gradient) + loop.cost.of(2 * CANDIDATES, False)
    if budget.shots is not None and loop.shots + need > budget.shots:
        return "shots"
    if loop.deadline is not None and loop.started + 2 * took > loop.deadline:
        return "deadline"
    if budget.tolerance is not None and len(loop.lows) > PATIENCE:
        improved = loop.lows[0] - loop.lows[-1]
        if improved < budget.tolerance:
            return "converged"
    return ""


def _completed(loop: Loop, result: Measured, reason: str, fresh: bool = True) -> RunCompleted:
    solution = loop.solution
    if solution is not None and result.share is not None:
        solution = msgspec.structs.replace(solution, probability=result.share)
    return RunCompleted(
        value=result.value + loop.offset,
        error=result.error,
        parameters=result.parameters,
        iterations=loop.iterations,
        shots=loop.shots,
        reason=reason,
        fresh=fresh,
        solution=solution,
    )
