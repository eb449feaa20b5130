from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from core.toys import Toy, submission
from varloop.app import App, Pipelines
from varloop.context import Context
from varloop.errors import EventError
from varloop.events import Event, ObjectiveEvaluated, ParametersProposed, RunCompleted, RunFailed
from varloop.store.memory import MemoryStore
from varloop.testing import Crash, FakeClock, FaultyBus, ReplayMismatch, Trial, trial

SPEC = {"start": 3.0}


def toy_trial(toy: Toy | None = None, *apps: App, **options: Any) -> Trial:
    """A trial of the toy loop."""
    mine = toy or Toy()
    return trial(SPEC, installed=lambda _: Pipelines([mine.app, *apps]), **options)


STRAIGHT = toy_trial()


def test_a_trial_without_faults() -> None:
    """A trial tells how the run ended, what was delivered, and how many boundaries were passed."""
    assert isinstance(STRAIGHT.end.data, RunCompleted)
    assert STRAIGHT.end.data.value == 0.25
    assert STRAIGHT.events[-1] is STRAIGHT.end
    assert STRAIGHT.boundaries == 3 * len(STRAIGHT.events) == 33
    assert STRAIGHT.dead_letters == []


@pytest.mark.parametrize(
    "faults",
    [
        {"twice": True},
        {"late": 60.0},
        {"late": 1e7},
        *({"shuffle": seed} for seed in range(5)),
        *({"shuffle": seed, "twice": True, "late": 2.0} for seed in range(5)),
        {"replay": True},
        {"replay": True, "twice": True, "shuffle": 1},
    ],
    ids=str,
)
def test_a_bad_bus_changes_nothing(faults: dict[str, Any]) -> None:
    """Twice, late, shuffled or replayed, a run ends with the same event."""
    outcome = toy_trial(**faults)

    assert outcome.end.data == STRAIGHT.end.data
    assert outcome.end.id == STRAIGHT.end.id
    assert outcome.dead_letters == []
    assert len({event.id for event in outcome.events}) == len(STRAIGHT.events)


@pytest.mark.parametrize("lose_bus", [False, True])
@pytest.mark.parametrize("crash_at", range(STRAIGHT.boundaries))
def test_a_crash_anywhere_changes_nothing(crash_at: int, lose_bus: bool) -> None:
    """A process that dies at any boundary, with or without what it had published, is taken over."""
    toy = Toy()
    outcome = toy_trial(toy, crash_at=crash_at, lose_bus=lose_bus)

    assert outcome.end == STRAIGHT.end
    assert {count for name, count in toy.calls.items() if not name.startswith("postprocess")} == {1}


@pytest.mark.parametrize("crash_at", range(0, STRAIGHT.boundaries, 4))
def test_faults_together(crash_at: int) -> None:
    """All faults at once change nothing either."""
    outcome = toy_trial(twice=True, late=5.0, shuffle=crash_at, crash_at=crash_at, lose_bus=crash_at % 2 == 0)

    assert outcome.end.data == STRAIGHT.end.data


def test_every_event_comes_twice() -> None:
    """With ``twice`` each event is delivered at least twice."""
    counts = Counter(event.id for event in toy_trial(twice=True).events)

    assert min(counts.values()) >= 2


def test_a_shuffle_is_its_seeds() -> None:
    """The same seed gives the same order of deliveries, another one another."""
    orders = [[event.id for event in toy_trial(twice=True, shuffle=seed).events] for seed in (1, 1, 2)]

    assert orders[0] == orders[1] != orders[2]


def test_late_events_come_later() -> None:
    """With ``late`` each event comes once more, within the time given, on the trial's clock."""
    clock = FakeClock(100.0)
    outcome = toy_trial(late=50.0, clock=clock)
    counts = Counter(event.id for event in outcome.events)

    assert min(counts.values()) >= 2
    assert 100.0 < clock.now() <= 100.0 + 50.0 * len(outcome.events)


def test_a_crash_is_a_crash() -> None:
    """At its boundary the process dies once; everything is told from where it died."""
    outcome = toy_trial(crash_at=4)

    assert outcome.boundaries > STRAIGHT.boundaries
    assert issubclass(Crash, BaseException)
    assert not issubclass(Crash, Exception)


def test_a_store_of_your_own() -> None:
    """A trial leaves its run in the store it was given."""
    store = MemoryStore()
    outcome = toy_trial(store=store, run="mine")

    assert outcome.store is store
    assert outcome.end.run == "mine"
    assert "runs/mine/journal/end" in store.keys()


def test_a_run_that_does_not_end() -> None:
    """A run that stops without an end fails the trial, with what lies in the dead letters."""

    def before(name: str, event: Event[Any]) -> None:
        if name == "optimize":
            raise EventError("not mine")

    with pytest.raises(AssertionError, match=r"the run did not end; dead letters: .*not mine"):
        toy_trial(Toy(before=before))


def test_a_step_that_fails() -> None:
    """A trial of a run that fails ends with its failure."""

    def before(name: str, event: Event[Any]) -> None:
        if name == "optimize":
            raise ValueError("no")

    assert isinstance(toy_trial(Toy(before=before)).end.data, RunFailed)


def drawing(app: App) -> App:
    """An app whose optimize step draws from where it must not."""
    numbers = itertools.count()

    @app.function(on=ObjectiveEvaluated, emits=(ParametersProposed, RunCompleted))
    def optimize(event: Event[ObjectiveEvaluated], ctx: Context) -> RunCompleted:
        return RunCompleted(
            value=float(next(numbers)), error=0.0, parameters=[], iterations=1, shots=0, reason="x"
        )

    return app


def test_replay_finds_what_is_not_deterministic() -> None:
    """A step that gives another outcome when it is called again is found by replaying it."""
    with pytest.raises(ReplayMismatch, match=r"optimize: .*differs from"):
        toy_trial(Toy(), drawing(App("drawing")), pipeline="drawing", replay=True)


def test_what_was_recorded_stays_even_so() -> None:
    """Without replay such a step is caught by nobody, but its recorded outcome still decides."""
    outcome = toy_trial(Toy(), drawing(App("drawing")), pipeline="drawing", twice=True, shuffle=3)

    assert {event.data.value for event in outcome.events if isinstance(event.data, RunCompleted)} == {0.0}


def test_a_clock_that_stands_still() -> None:
    """The clock of tests moves only when somebody sleeps on it."""
    clock = FakeClock(10.0)
    clock.sleep(2.5)

    assert (clock.now(), clock.now()) == (12.5, 12.5)


def test_a_faulty_bus_loses_nothing() -> None:
    """However badly a bus delivers, it delivers every event to every group that takes it, and to no other."""
    bus = FaultyBus(FakeClock(), twice=True, late=3.0, shuffle=5)
    takes, ignores = bus.consumer("takes", [submission().type]), bus.consumer("ignores", ["other"])
    for number in range(5):
        bus.publish(submission(f"r{number}"))
    got = Counter()
    while (delivery := takes.poll(10.0)) is not None:
        got[delivery.event.run] += 1
        delivery.ack()

    assert got == {f"r{number}": 3 for number in range(5)}
    assert ignores.poll(10.0) is None
