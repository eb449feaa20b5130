from __future__ import annotations

import base64
import itertools
import math
import os
import threading
import warnings
from typing import Any

import msgspec
import numpy as np
import pytest

from optimizers.landscape import drive, landscape, measured
from optimizers.optimizer_contract import X0, OptimizerContract
from varloop.errors import PermanentError
from varloop.evaluation import Evaluation
from varloop.optimizers import Optimizer, State, replay
from varloop.optimizers.replay import Minimize, Replay

STRAYED = "not deterministic: on replay it is at another point than recorded in its evaluation"


def pattern_search(fun: Minimize, x0: Any) -> Any:
    """A minimizer of one's own: tries a step either way along each axis, halves the step after a failure."""
    x, lowest, step = x0, fun(x0), 0.5
    while step > 1e-3:
        tries = [(fun(x + step * sign * axis), sign, axis) for axis in np.eye(len(x)) for sign in (1, -1)]
        value, sign, axis = min(tries, key=lambda tried: tried[0])
        if value < lowest:
            x, lowest = x + step * sign * axis, value
        else:
            step /= 2
    return x


def steepest(fun: Minimize, x0: Any, jac: Minimize) -> Any:
    """A minimizer with gradients, which asks for value and gradient in turn, and twice for each value."""
    x = x0
    for _ in range(30):
        assert fun(x) == fun(x)
        x = x - 0.2 * jac(x)
    return x


class TestReplay(OptimizerContract):
    name = "replay"

    def create(self, seed: int) -> Optimizer:
        """The minimizer takes no seed."""
        return Replay(pattern_search)


class TestReplayWithGradients(OptimizerContract):
    name = "steepest"

    def create(self, seed: int) -> Optimizer:
        """The minimizer takes no seed."""
        return Replay(steepest, gradient=True, name="steepest")


def after(optimizer: Replay, iterations: int) -> State:
    """The state after some iterations on the landscape."""
    *_, (_, state) = drive(optimizer, optimizer.start(X0), iterations)
    return state


def test_it_ends_with_the_minimizers_own_result() -> None:
    """The points, their order and the result are those of calling the minimizer directly."""
    called: list[list[float]] = []

    def fun(x: Any) -> float:
        called.append(x.tolist())
        return landscape(x.tolist())[0]

    direct = pattern_search(fun, np.array(X0)).tolist()
    optimizer = Replay(pattern_search)
    steps = list(drive(optimizer, optimizer.start(X0), 10_000))

    unique = [list(point) for point in dict.fromkeys(map(tuple, called))]
    assert [ask.points[0] for ask, _ in steps] == unique
    assert optimizer.best(steps[-1][1]) == direct == pytest.approx([0, 1, 2], abs=2e-3)


def test_a_point_asked_for_again_costs_nothing() -> None:
    """Of value, value again and gradient at one point, one evaluation is made."""
    optimizer = Replay(steepest, gradient=True)
    points = [ask.points[0] for ask, _ in drive(optimizer, optimizer.start(X0), 100)]

    assert len(points) == 30
    assert len(set(map(tuple, points))) == 30


def test_the_end_leaves_nothing_to_ask_or_tell() -> None:
    """Once the minimizer has returned, ask gives None and an evaluation is refused."""
    optimizer = Replay(lambda fun, x0: [fun(x0)])
    state = after_one = optimizer.tell(optimizer.start([1.0]), Evaluation([0.5], [0.0]))

    assert optimizer.ask(state) is None
    assert optimizer.best(state) == [0.5]
    with pytest.raises(PermanentError, match=r"iteration 1: .* nothing was asked"):
        optimizer.tell(after_one, Evaluation([0.5], [0.0]))


def test_the_lowest_measured_point_is_recommended_until_the_end() -> None:
    """Before the minimizer returns, the best point is the one with the lowest value, the first of equals."""
    optimizer = Replay(lambda fun, x0: [fun(x0 + k) for k in range(9)])
    state = optimizer.start([0.0])
    best = []
    for value in (3.0, 1.0, 2.0, 1.0, -1.0):
        state = optimizer.tell(state, Evaluation([value], [0.0]))
        best.append(optimizer.best(state))

    assert best == [[0.0], [1.0], [1.0], [1.0], [4.0]]


def test_a_minimizer_with_nothing_to_measure_ends_at_once() -> None:
    """A minimizer that returns without an evaluation is done after start."""
    optimizer = Replay(lambda fun, x0: x0 + 1)
    state = optimizer.start(X0)

    assert optimizer.ask(state) is None
    assert optimizer.best(state) == [x + 1 for x in X0]


def test_a_minimizer_that_draws_unseeded_numbers_is_caught() -> None:
    """A replay that asks for another point than the recorded one names the evaluation and what to do."""
    draws = itertools.count()

    def random_search(fun: Minimize, x0: Any) -> Any:
        return min((fun(x0 + next(draws)), 0) for _ in range(9))

    with pytest.raises(PermanentError, match=f"iteration 1: .*{STRAYED} 0 .*seed"):
        after(Replay(random_search), 2)


def test_a_stray_is_caught_in_the_middle_too() -> None:
    """Evaluations 0 to 2 agree and 3 does not: it is 3 that is named."""
    runs = itertools.count()

    def drifting(fun: Minimize, x0: Any) -> Any:
        run = next(runs)
        return [fun(x0 + k + (k == 3 and run > 4)) for k in range(9)]

    with pytest.raises(PermanentError, match=f"iteration 5: .*{STRAYED} 3 "):
        after(Replay(drifting), 9)


def test_a_minimizer_that_returns_early_on_replay_is_caught() -> None:
    """Returning before all recorded values were used is non-determinism as well."""
    runs = itertools.count()

    def impatient(fun: Minimize, x0: Any) -> Any:
        return [fun(x0 + k) for k in range(9 if next(runs) < 3 else 2)]

    with pytest.raises(
        PermanentError, match=r"iteration 3: .* returned after 2 of the recorded 3 evaluations"
    ):
        after(Replay(impatient), 9)


def test_the_smallest_change_of_a_point_is_another_point() -> None:
    """A replay that differs in the last bit of one parameter is caught."""
    runs = itertools.count()

    def shaky(fun: Minimize, x0: Any) -> Any:
        return [fun(x0), fun(np.nextafter(x0 + 1, math.inf) if next(runs) == 2 else x0 + 1), fun(x0 + 2)]

    with pytest.raises(PermanentError, match=f"iteration 3: .*{STRAYED} 1 "):
        after(Replay(shaky), 3)


@pytest.mark.parametrize("caught", [Exception, BaseException])
def test_a_minimizer_that_swallows_exceptions_is_stopped_all_the_same(caught: type[BaseException]) -> None:
    """What the minimizer does after the first unknown point does not count, whatever it catches."""

    def stubborn(fun: Minimize, x0: Any) -> Any:
        values = []
        for k in range(3):
            try:
                values.append(fun(x0 + k))
            except caught:
                values.append(-1e9)
        return x0 + np.argmin(values)

    optimizer = Replay(stubborn)
    steps = list(drive(optimizer, optimizer.start([0.0]), 9))

    assert [ask.points for ask, _ in steps] == [[[0.0]], [[1.0]], [[2.0]]]
    assert optimizer.best(steps[-1][1]) == [0.0]


def test_a_minimizer_that_tries_again_after_errors_is_left_at_once() -> None:
    """The stop is no Exception: a minimizer that retries its objective does not go round in circles."""
    tries = itertools.count()

    def tenacious(fun: Minimize, x0: Any) -> Any:
        while next(tries) < 5:
            try:
                return [fun(x0)]
            except Exception:
                continue
        return x0

    assert Replay(tenacious).start([1.0])["next"] == [1.0]
    assert next(tries) == 1


def test_a_minimizer_that_turns_the_stop_into_an_error_is_stopped_all_the_same() -> None:
    """An exception raised in consequence of the stop is no failure of the minimizer."""

    def wrapping(fun: Minimize, x0: Any) -> Any:
        try:
            return [fun(x0)]
        except BaseException as stop:
            raise RuntimeError from stop

    assert Replay(wrapping).ask(Replay(wrapping).start([1.0])) is not None


def test_a_minimizer_that_fails_says_how() -> None:
    """An exception of the minimizer's own is a permanent error that names the iteration and quotes it."""

    def failing(fun: Minimize, x0: Any) -> Any:
        return 1 / (fun(x0) - fun(x0))

    with pytest.raises(
        PermanentError, match=r"iteration 1: the minimizer failed: ZeroDivisionError"
    ) as caught:
        after(Replay(failing), 1)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("point", [[1.0], [math.nan, 0.0, 0.0], [[1.0, 2.0, 3.0]], None, []])
def test_points_and_results_of_a_wrong_shape_are_refused(point: Any) -> None:
    """A point asked for, or a result, that is not n finite parameters is a permanent error."""
    with pytest.raises(PermanentError, match="iteration 0: the minimizer asked for what is no point"):
        Replay(lambda fun, x0: fun(np.array(point))).start(X0)
    with pytest.raises(PermanentError, match="iteration 0: the minimizer's result is no point"):
        Replay(lambda fun, x0: point).start(X0)
    with pytest.raises(PermanentError, match="iteration 0: the minimizer's result is no point: 'x'"):
        Replay(lambda fun, x0: "x").start(X0)


def test_a_minimizer_cannot_change_what_is_recorded() -> None:
    """Writing into x0, into asked points or into gradients leaves the state and later replays alone."""

    def careless(fun: Minimize, x0: Any, jac: Minimize) -> Any:
        x = x0
        for _ in range(4):
            fun(x)
            slope = jac(x)
            x -= 0.1 * slope
            slope[:] = math.nan
        return x

    optimizer = Replay(careless, gradient=True)
    steps = list(drive(optimizer, optimizer.start(X0), 9))

    assert len(steps) == 4
    assert steps[0][0].points == [X0]
    assert replay._numbers(steps[-1][1]["gradients"])[: len(X0)].tolist() == measured(steps[0][0]).gradient


# ------------------------------------------------------------------ suspended calls


class Counted:
    """Pattern search that counts its runs."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, fun: Minimize, x0: Any) -> Any:
        """One more run."""
        self.runs += 1
        return pattern_search(fun, x0)


def waiting() -> list[threading.Thread]:
    """Threads in which minimizers wait."""
    return [thread for thread in threading.enumerate() if thread.name == "varloop-minimizer"]


def test_a_minimizer_is_run_once_in_a_process() -> None:
    """With a key its call waits for the next value; the states are those of running it anew each time."""
    kept, anew = Counted(), Counted()
    found = list(drive(Replay(kept, key="k"), Replay(kept, key="k").start(X0), 30))
    expected = list(drive(Replay(anew), Replay(anew).start(X0), 30))

    assert repr(found) == repr(expected)
    assert (kept.runs, anew.runs) == (1, 31)


def test_a_process_that_has_not_the_call_runs_it_anew() -> None:
    """After any iteration the run goes on elsewhere, from its state alone, to the same states."""
    optimizer = Replay(pattern_search, key="k")
    straight = list(drive(optimizer, optimizer.start(X0), 20))
    for at in (1, 7, 19):
        replay.release()
        state = msgspec.json.decode(msgspec.json.encode(straight[at - 1][1]))
        assert repr(list(drive(optimizer, state, 20 - at))) == repr(straight[at:])


def test_a_value_may_be_told_twice() -> None:
    """Telling leaves the old state as it was, though the call that waited for the value has gone on."""
    optimizer = Replay(pattern_search, key="k")
    state = after(optimizer, 5)
    ask = optimizer.ask(state)
    assert ask is not None

    assert optimizer.tell(state, measured(ask)) == optimizer.tell(state, measured(ask))


def test_no_more_calls_wait_than_there_is_room_for() -> None:
    """The one that has waited longest ends; a run that returns or fails leaves none."""
    replay.release()
    optimizer = Replay(pattern_search, key="k")
    states = [optimizer.start([float(k), 0.0, 0.0]) for k in range(replay._Suspended.CAPACITY + 5)]
    assert len(waiting()) == replay._Suspended.CAPACITY

    for state in (states[0], states[-1]):
        ask = optimizer.ask(state)
        assert ask is not None
        optimizer.tell(state, measured(ask))
    assert len(waiting()) == replay._Suspended.CAPACITY
    replay.release()
    assert waiting() == []

    *_, (_, last) = drive(optimizer, optimizer.start(X0), 1000)
    assert last["next"] is None
    assert waiting() == []


def test_a_forked_child_runs_the_minimizer_itself() -> None:
    """No thread of the parent lives in it, and it does not wait for one."""
    optimizer = Replay(pattern_search, key="k")
    state = after(optimizer, 5)
    ask = optimizer.ask(state)
    assert ask is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: forking with threads
        child = os.fork()
    if child == 0:
        optimizer.tell(state, measured(ask))
        os._exit(0)

    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("sizes", [[], [8], [8, 8], [3, 5, 16, 1]])
def test_bits_grow_by_bits(sizes: list[int]) -> None:
    """Base64 that is made longer is that of all bytes together."""
    text, whole = "", b""
    for size in sizes:
        more = bytes(range(size))
        text, whole = replay._longer(text, more), whole + more

    assert text == base64.b64encode(whole).decode()
