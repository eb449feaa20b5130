"""How every run ends: as a table of the reasons and the kinds of runs, and as statistics of its result."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pytest

from varloop.errors import PermanentError
from varloop.evaluation import Evaluation
from varloop.events import Memo, ObjectiveEvaluated, RunCompleted, Solution
from varloop.loop import PATIENCE, Cost, Loop, Measured, advance, expired, report, start_faults, stop
from varloop.optimizers import Ask
from varloop.spec import CANDIDATES, Budget

MEMO = Memo("key", "digest")
SHOTS = 10


class Scripted:
    """Asks for the points x = 1, 2, 3, …, ``width`` at a time, and recommends −1 (never measured) in the end.

    :param converges: after this many iterations it asks for nothing more.
    :param last: what it recommends.
    """

    name = "scripted"
    needs_gradient = False

    def __init__(self, *, converges: int = 10**9, width: int = 1, last: float = -1.0) -> None:
        self.converges, self.width, self.last = converges, width, last

    def start(self, x0: list[float]) -> dict[str, Any]:
        """Nothing told yet."""
        return {"told": 0}

    def ask(self, state: dict[str, Any]) -> Ask | None:
        """The next points."""
        told = state["told"]
        if told >= self.converges:
            return None
        return Ask([[float(told * self.width + k + 1)] for k in range(self.width)], False)

    def tell(self, state: dict[str, Any], evaluation: Evaluation) -> dict[str, Any]:
        """One more."""
        return {"told": state["told"] + 1}

    def best(self, state: dict[str, Any]) -> list[float]:
        """The recommendation."""
        return [self.last]


@dataclass
class Run:
    """A whole run of the loop, without any function around it."""

    optimizer: Scripted
    budget: Budget
    values: Any
    """the value measured at x, given (x, how often x was measured before)"""
    shots: int = 0
    offset: float = 0.0
    deadline: float | None = None
    seconds: float = 1.0
    """that each iteration takes"""
    seen: dict[float, int] = field(default_factory=dict)
    requests: list[list[float]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """when each request was made"""
    reports: list[Any] = field(default_factory=list)

    def end(self, now: float = 0.0) -> RunCompleted:
        """Drive it to its end."""
        ask = self.optimizer.ask(self.optimizer.start([0.0]))
        assert ask is not None
        loop = Loop(
            optimizer={"told": 0},
            points=ask.points,
            template="t",
            gradient="none",
            cost=Cost(self.shots, 0),
            deadline=self.deadline,
            started=now,
        )
        for number in range(1000):
            self.requests.append([x for (x,) in loop.points])
            self.times.append(now)
            measured = self.measure(loop)
            now += self.seconds
            self.reports.append(report(loop, measured, number))
            loop, step = advance(loop, measured, self.optimizer, self.budget, now)
            if isinstance(step, RunCompleted):
                return step
            assert step.points == loop.points
        raise AssertionError("it did not end")

    def measure(self, loop: Loop) -> ObjectiveEvaluated:
        """The values of the request under way."""
        values = []
        for (x,) in loop.points:
            values.append(float(self.values(x, self.seen.get(x, 0))))
            self.seen[x] = self.seen.get(x, 0) + 1
        error = 0.5 if self.shots else 0.0
        evaluation = Evaluation(values, [error] * len(values), offset=self.offset)
        return ObjectiveEvaluated(memo=MEMO, evaluation=evaluation, shots=self.shots * len(values))


def falling(x: float, again: int) -> float:
    """Lower at each point; the recommended point, −1, lies lowest."""
    return -100.0 if x < 0 else -x


# How a run ends: why, by what limit, exact or with shots, and what it is allowed to measure last.
ENDINGS = {
    "iterations": ({"iterations": 4}, {}, 4),
    "converged": ({}, {"converges": 4}, 4),
    "deadline": ({}, {}, 4),
    "shots": ({"shots": 4 * SHOTS + 2 * CANDIDATES * SHOTS}, {}, 4),
}


# An exact run uses no shots: its spec is refused if it limits them.
@pytest.mark.parametrize(
    ("reason", "exact"),
    [(each, exact) for each in ENDINGS for exact in (True, False) if not exact or each != "shots"],
)
def test_every_ending_of_every_kind(reason: str, exact: bool) -> None:
    """Each limit ends a run where it says, with the final measurement made and its value the result."""
    budget, optimizer, iterations = ENDINGS[reason]
    run = Run(
        Scripted(**optimizer),
        Budget(**budget),
        falling,
        shots=0 if exact else SHOTS,
        deadline=5.5 if reason == "deadline" else None,
    )

    result = run.end()

    last = [-1.0] if exact else [-1.0, 4.0, 3.0] * 2
    assert run.requests == [[1.0], [2.0], [3.0], [4.0], last]
    assert (result.reason, result.iterations, result.fresh) == (reason, iterations, True)
    assert (result.value, result.error, result.parameters) == (-100.0, 0.0 if exact else 0.5, [-1.0])
    assert result.shots == (0 if exact else SHOTS * (4 + 6))
    assert [each.final for each in run.reports] == [False] * 4 + [True]
    assert run.reports[-1].value == result.value
    assert run.reports[-1].shots == result.shots


def test_tolerance_ends_a_run_that_stands_still() -> None:
    """No improvement over PATIENCE iterations is convergence; any improvement beyond the tolerance is not."""
    still = Run(Scripted(), Budget(tolerance=0.1, iterations=50), lambda x, again: 1.0)
    result = still.end()
    assert (result.reason, result.iterations) == ("converged", PATIENCE + 1)

    moving = Run(Scripted(), Budget(tolerance=0.1, iterations=50), lambda x, again: -0.011 * x)
    assert moving.end().reason == "iterations"


def test_an_exact_result_is_the_lowest_of_all() -> None:
    """If the recommended point is worse than one on the way, that one is the result, at no further cost."""
    run = Run(Scripted(), Budget(iterations=5), lambda x, again: abs(x - 3))
    result = run.end()

    assert (result.value, result.parameters) == (0.0, [3.0])
    assert run.reports[-1].lowest == 0.0


def test_an_exact_point_is_not_measured_twice() -> None:
    """If the recommended point is the lowest already, the run ends without another request."""
    run = Run(Scripted(last=3.0), Budget(iterations=5), lambda x, again: abs(x - 3))

    assert (run.end().value, len(run.requests)) == (0.0, 5)


def test_the_first_fresh_value_selects_and_the_second_is_the_result() -> None:
    """Neither a lucky value on the way nor the selecting one is what a sampled run returns."""

    def values(x: float, again: int) -> float:
        return {
            -1.0: [-1.0, -1.1],  # the recommendation: two fresh values
            2.0: [-9.0, -0.5, -0.6],  # a lucky value on the way, found out by the first fresh one
            4.0: [-2.0, -3.0, -2.2],
        }.get(x, [0.0, 0.0, 0.0])[again]

    run = Run(Scripted(), Budget(iterations=5), values, shots=SHOTS)
    result = run.end()

    assert run.requests[-1] == [-1.0, 2.0, 4.0, -1.0, 2.0, 4.0]
    assert (result.value, result.parameters) == (-2.2, [4.0])
    assert run.reports[-1].lowest == -9.0


def test_no_candidate_twice() -> None:
    """A recommended point that is among the lowest, or a point measured twice on the way, is one candidate."""
    run = Run(Scripted(last=4.0), Budget(iterations=5), falling, shots=SHOTS)
    run.end()

    assert run.requests[-1] == [4.0, 5.0, 3.0] * 2


@pytest.mark.parametrize(
    ("shots", "last"),
    [(2, [-1.0]), (4, [-1.0]), (5, [-1.0, 1.0] * 2), (6, [-1.0, 1.0] * 2), (7, [-1.0, 1.0] * 2)],
)
def test_fewer_candidates_where_shots_are_few(shots: int, last: list[float]) -> None:
    """What the first iteration leaves of the shots is enough for one fresh value at least, and never exceeded."""
    run = Run(Scripted(), Budget(shots=shots * SHOTS), falling, shots=SHOTS)
    result = run.end()

    assert (result.reason, run.requests) == ("shots", [[1.0], last])
    assert result.shots <= shots * SHOTS


@pytest.mark.parametrize("limit", range(20, 400, 30))
@pytest.mark.parametrize("width", [1, 2, 5])
def test_no_budget_of_shots_is_exceeded(limit: int, width: int) -> None:
    """Whatever the limit and the width of an iteration."""
    run = Run(Scripted(width=width), Budget(shots=limit), falling, shots=SHOTS)
    ask = Ask([[1.0]] * width, False)
    cost = Cost(SHOTS, 0)
    loop = Loop(optimizer={}, points=ask.points, template="", gradient="none", cost=cost)
    if start_faults(loop, run.budget, ask):
        assert limit < (width + 1) * SHOTS
    else:
        assert run.end().shots <= limit


def test_what_the_first_request_needs() -> None:
    """A loop opens if its first request, the calibration and one fresh value are within the shots."""
    loop = Loop(optimizer={}, points=[], template="", gradient="none", cost=Cost(10, 4, 20))
    ask = Ask([[0.0], [1.0]], True)

    assert start_faults(loop, Budget(shots=10 * 6 + 20 + 10), ask) == []
    (fault,) = start_faults(loop, Budget(shots=10 * 6 + 20 + 9), ask)
    assert "the first iteration and the final value need 90" in fault


def test_calibrating_takes_no_more_than_half() -> None:
    """A budget that goes into choosing a step size, and not into steps, is refused with the remedies."""
    loop = Loop(optimizer={}, points=[], template="", gradient="none", cost=Cost(10, 0))
    ask = Ask([[0.0]] * 50, False, calibrates=True)

    assert start_faults(loop, Budget(shots=1000), ask) == []
    (fault,) = start_faults(loop, Budget(shots=999), ask)
    assert fault == (
        "budget.shots: 999, but 500 of them would calibrate the optimizer, more than half; raise it, "
        "lower optimizer.options.calibration, or set optimizer.options.learning_rate"
    )
    assert start_faults(loop, Budget(shots=999), Ask(ask.points, False)) == []


# ------------------------------------------------------------------ deadlines


def test_a_deadline_keeps_time_for_the_final_measurement() -> None:
    """The last request is made before the deadline, and is the final measurement."""
    for deadline in (3.1, 4.0, 4.9, 7.5):
        run = Run(Scripted(), Budget(), falling, shots=SHOTS, deadline=deadline)
        result = run.end()
        assert (result.reason, result.fresh) == ("deadline", True)
        assert run.times[-1] < deadline


@pytest.mark.parametrize("exact", [True, False])
def test_a_deadline_that_leaves_no_time_says_so(exact: bool) -> None:
    """An iteration that outlasts the deadline ends the run: exact with its lowest value, which needs no measuring
    again; with shots with the latest first point, said not to be fresh, and not with the lowest of many.
    """
    run = Run(
        Scripted(width=3),
        Budget(),
        lambda x, again: -x,
        shots=0 if exact else SHOTS,
        deadline=0.5,
    )
    result = run.end()

    assert (result.reason, result.iterations, result.fresh) == ("deadline", 1, exact)
    assert (result.value, result.parameters) == ((-3.0, [3.0]) if exact else (-1.0, [1.0]))


def test_a_deadline_before_anything_was_measured() -> None:
    """Without any value there is no result to end with."""
    loop = Loop(optimizer={}, points=[[0.0]], template="", gradient="none", cost=Cost(0, 0), deadline=1.0)
    with pytest.raises(PermanentError, match="before anything was measured"):
        expired(loop)


def test_time_decides_nothing_without_a_deadline() -> None:
    """What a run remembers is the same, whenever it runs."""
    states = []
    for now in (0.0, 1e9):
        loop = Loop(optimizer={"told": 0}, points=[[1.0]], template="", gradient="none", cost=Cost(0, 0))
        measured = ObjectiveEvaluated(memo=MEMO, evaluation=Evaluation([1.0], [0.0]))
        states.append(msgspec.json.encode(advance(loop, measured, Scripted(), Budget(), now)[0]))

    assert states[0] == states[1]


# ------------------------------------------------------------------ stopping, solutions


def test_stopping_measures_afresh_as_a_budget_does() -> None:
    """A loop that is stopped from outside goes on to its final measurement."""
    loop = Loop(
        optimizer={"told": 2},
        points=[[2.0]],
        template="",
        gradient="none",
        cost=Cost(SHOTS, 0),
        lowest=[Measured(-2.0, 0.5, [2.0])],
    )
    stopping, ask = stop(loop, Scripted(), Budget(), "stopped")

    assert isinstance(ask, Ask)
    assert ask.points == stopping.points == [[-1.0], [2.0]] * 2
    assert stopping.stopping == "stopped"


@pytest.mark.parametrize("shots", [0, SHOTS])
def test_a_constant_is_in_all_that_is_told_and_in_nothing_that_is_decided(shots: int) -> None:
    """The problem's constant changes no request; reports and the result have it, once."""
    plain = Run(Scripted(), Budget(iterations=3), falling, shots=shots)
    moved = Run(Scripted(), Budget(iterations=3), falling, shots=shots, offset=1000.0)

    assert moved.end().value == plain.end().value + 1000.0
    assert moved.requests == plain.requests
    for one, other in zip(moved.reports, plain.reports, strict=True):
        assert (one.value, one.lowest, one.error) == (
            other.value + 1000.0,
            other.lowest + 1000.0,
            other.error,
        )


def test_the_best_solution_is_kept() -> None:
    """A solution is replaced by one that costs less."""
    loop = Loop(optimizer={"told": 0}, points=[[1.0]], template="", gradient="none", cost=Cost(0, 0))
    for cost, kept in ((2.0, 2.0), (3.0, 2.0), (1.0, 1.0)):
        solution = Solution(bits="1", cost=cost, probability=0.5)
        measured = ObjectiveEvaluated(memo=MEMO, evaluation=Evaluation([1.0], [0.0]), solution=solution)
        loop, _ = advance(loop, measured, Scripted(), Budget(), 0.0)
        assert loop.solution is not None
        assert loop.solution.cost == kept


# ------------------------------------------------------------------ statistics


@pytest.mark.parametrize("reason", ["iterations", "shots", "deadline", "late"])
def test_the_result_is_unbiased_and_its_interval_holds(reason: str) -> None:
    """Over many runs with noise as large as all differences, the mean deviation of the result from the objective at
    its own parameters is 0, and 95 % of the intervals of ±1.96 errors hold it.
    """
    rng = np.random.default_rng(7)
    runs, deviations = 4000, []

    def true(x: float) -> float:
        return 0.1 * abs(x - 5)

    for _ in range(runs):
        run = Run(
            Scripted(width=2, last=6.5),
            Budget(
                iterations=12 if reason == "iterations" else 100,
                shots=300 if reason == "shots" else None,
            ),
            lambda x, again: true(x) + 0.5 * rng.normal(),
            shots=SHOTS,
            deadline={"deadline": 12.5, "late": 3.0}.get(reason),
            seconds=3.5 if reason == "late" else 1.0,
        )
        result = run.end()
        deviations.append((result.value - true(result.parameters[0])) / result.error)
        assert result.fresh == (reason != "late")

    assert abs(np.mean(deviations)) < 4 / math.sqrt(runs)
    assert 0.94 < np.mean(np.abs(deviations) < 1.96) < 0.96


def test_the_selected_point_is_better_than_the_last() -> None:
    """Where the optimizer's last point is bad, the result is nearer to the best point on the way."""
    rng = np.random.default_rng(3)
    chosen = []
    for _ in range(300):
        run = Run(
            Scripted(last=9.0),
            Budget(iterations=8),
            lambda x, again: 0.5 * abs(x - 3) + 0.5 * rng.normal(),
            shots=SHOTS,
        )
        chosen.append(run.end().parameters[0])

    assert np.mean(np.abs(np.array(chosen) - 3)) < 1.5
