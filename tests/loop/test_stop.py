"""Leaving early keeps what was reached: a run that is stopped, or whose deadline passes while a request waits."""

from __future__ import annotations

from typing import Any

import pytest

from varloop import MaxCut, build_spec
from varloop.client import EmbeddedClient, Run
from varloop.context import Resources
from varloop.errors import RunEnded
from varloop.events import ParametersProposed, RunCompleted, StopRequested
from varloop.host import load_pipelines
from varloop.host.embedded import EmbeddedHost
from varloop.spec import Budget, RunSpec
from varloop.store import Store
from varloop.store.memory import MemoryStore
from varloop.testing import FakeClock

CUT = MaxCut(edges=[(0, 1, 1.0), (1, 2, 1.0)])
CALIBRATION = 50
"""rows of SPSA's first iteration"""


def spec(**fields: Any) -> RunSpec:
    """A run of ten iterations."""
    return build_spec(**{"problem": CUT, "shots": 16, "budget": 10, **fields})


def a_client(store: Store | None = None, clock: FakeClock | None = None) -> EmbeddedClient:
    """A process of its own."""
    pipelines = load_pipelines()
    resources = Resources(store or MemoryStore(), clock or FakeClock(), pipelines.types)
    return EmbeddedClient(EmbeddedHost(pipelines, resources), ids=lambda: "r")


def drive(run: Run, deliveries: int) -> None:
    """Deliver so many events of a run."""
    for _, _ in zip(range(deliveries + 1), run.watch(), strict=False):
        pass


@pytest.mark.parametrize("shots", [None, 16])
@pytest.mark.parametrize("deliveries", [0, 1, 2, 3, 4, 5, 9, 14])
def test_a_run_that_is_stopped_ends_with_its_result(shots: int | None, deliveries: int) -> None:
    """Wherever it is: what was begun is finished, two iterations at most come after it, and the result is fresh."""
    run = a_client().submit(spec(shots=shots))
    drive(run, deliveries)
    before = run.state().iterations

    result = run.stop().result()

    assert (result.reason, result.fresh) == ("stopped", True)
    assert before <= result.iterations <= before + 2
    assert result.iterations >= 1
    assert run.history()[-1].final
    assert run.history()[-1].value == result.value
    rows = CALIBRATION + 2 * (result.iterations - 1) + 6
    assert result.shots == (shots or 0) * rows


@pytest.mark.parametrize("deliveries", range(2, 16))
def test_a_stopped_run_whose_process_dies_is_resumed_and_ends(deliveries: int) -> None:
    """The request to stop is in the journal: whoever goes on, after a death at any moment, ends the run by it."""
    store = MemoryStore()
    run = a_client(store).submit(spec())
    drive(run, 5)
    run.stop()
    drive(run, deliveries)

    result = a_client(store).run("r").resume().result()

    assert result.reason == "stopped"
    assert result == a_stopped_run(5)


def a_stopped_run(deliveries: int) -> RunCompleted:
    """What comes of a run that is stopped there."""
    run = a_client().submit(spec())
    drive(run, deliveries)
    return run.stop().result()


def test_another_process_stops_a_run() -> None:
    """Whoever drives the run finds the request in the place of a job."""
    store = MemoryStore()
    run = a_client(store).submit(spec())
    drive(run, 6)
    other = a_client(store)
    other.run("r").stop()
    other.host.drain()

    assert run.result().reason == "stopped"


def test_stopping_twice_is_stopping_once() -> None:
    """And stopping what has ended changes nothing."""
    run = a_client().submit(spec())
    drive(run, 6)
    result = run.stop().stop().result()
    run.stop()
    list(run.client.events(run.id))

    assert run.result() == result == a_stopped_run(6)
    assert run.client.host.dead_letters == []  # type: ignore[attr-defined]


def test_an_exact_run_stops_at_its_lowest_value() -> None:
    """As when its budget is used up."""
    run = a_client().submit(spec(shots=None))
    drive(run, 20)
    result = run.stop().result()

    assert result.value == min(each.value for each in run.history())


# ------------------------------------------------------------------ deadlines


class Waiting(FakeClock):
    """A clock that may jump."""

    def jump(self, seconds: float) -> None:
        """Time passes while events wait."""
        self.sleep(seconds)


def test_a_request_that_waited_past_the_deadline_is_not_carried_out() -> None:
    """No shot is spent on it: the run ends with what was reached, and says that it is not fresh."""
    clock = Waiting()
    run = a_client(clock=clock).submit(spec(budget=Budget(iterations=10, deadline=60.0)))
    for event in run.watch():
        if isinstance(event.data, ParametersProposed) and event.iteration == 3:
            clock.jump(7 * 86_400)
    result = run.result()

    assert (result.reason, result.iterations, result.fresh) == ("deadline", 3, False)
    assert result.shots == 16 * (CALIBRATION + 2 * 2)
    assert result.value == pytest.approx(run.history()[-1].value, abs=3.0)


def test_a_deadline_that_passed_before_anything_was_measured_is_a_failure() -> None:
    """There is no result to end with, and no shot is spent to get one."""
    clock = Waiting()
    run = a_client(clock=clock).submit(spec(budget=Budget(iterations=10, deadline=60.0)))
    for event in run.watch():
        if event.type.endswith("circuit.encoded"):
            clock.jump(61)

    with pytest.raises(RunEnded, match="the deadline passed before anything was measured"):
        run.result()


@pytest.mark.parametrize("behind", [3600.0, -3600.0])
def test_a_submitters_clock_decides_no_deadline(behind: float) -> None:
    """The time counts from when the run was taken up, by the clock of who took it up."""
    store, submitter = MemoryStore(), FakeClock()
    submitter.sleep(-behind)
    a_client(store, submitter).submit(spec(budget=Budget(iterations=4, deadline=600.0)))

    assert a_client(store).run("r").resume().result().reason == "iterations"


def test_what_is_asked_is_an_event_that_any_application_may_send() -> None:
    """Its type is for applications, and no function emits it."""
    assert load_pipelines().forgery("default", StopRequested.type) == ""
