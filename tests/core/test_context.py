from __future__ import annotations

import logging
from typing import Any

import msgspec
import numpy as np
import pytest

from core.toys import submission
from varloop.context import Context, Resources
from varloop.errors import ConflictError, CorruptObject, EventError, MissingObject, SpecError
from varloop.events import CancelRequested, Claim, Event, Memo
from varloop.store.memory import MemoryStore
from varloop.support.clock import SystemClock
from varloop.testing import FakeClock
from varloop.wire.claims import LIMIT

SPEC = {"problem": {"kind": "maxcut", "edges": [[0, 1, 1.0]]}, "seed": 7}


def resources(store: MemoryStore | None = None) -> Resources:
    """What one process has."""
    return Resources(store if store is not None else MemoryStore(), FakeClock())


def a_run(**changes: Any) -> Event[Any]:
    """A submission of a real spec."""
    event = submission(**changes)
    return msgspec.structs.replace(event, data=type(event.data)(spec=SPEC))


def context(
    shared: Resources | None = None, *, iteration: int = 0, run: str = "r", function: str = "f"
) -> Context:
    """The context of a call for a run that was submitted."""
    shared = shared or resources()
    shared.register(a_run(run=run))
    event = Event(id="e", source="s", run=run, data=CancelRequested(), time=0.0, iteration=iteration)
    return Context(shared, event, function)


def test_what_a_call_knows() -> None:
    """A context tells the run, its iteration, its spec, when it was submitted, and the time."""
    ctx = context(iteration=3)

    assert (ctx.run, ctx.iteration, ctx.submitted) == ("r", 3, 1.0)
    assert (ctx.spec.seed, ctx.spec.problem.edges) == (7, [(0, 1, 1.0)])  # type: ignore[union-attr]
    assert ctx.clock.now() == 1_800_000_000.0
    assert ctx.store.url == "memory:"


def test_the_system_has_a_clock() -> None:
    """Without a clock of their own, resources use the machine's."""
    assert isinstance(Resources(MemoryStore()).clock, SystemClock)


def test_the_seed_is_the_iterations() -> None:
    """All functions and processes have one seed in an iteration; iterations and specs differ."""
    assert context(iteration=2).seed == context(iteration=2, function="g").seed == 78529514
    assert context(iteration=2).seed != context(iteration=3).seed
    assert 0 <= context(iteration=2).seed < 2**31


def test_random_numbers_are_the_calls() -> None:
    """Random numbers are the same in every process, and others in each function and iteration."""
    draws = {
        (function, iteration): tuple(context(function=function, iteration=iteration).rng.random(3))
        for function in "fg"
        for iteration in range(3)
    }

    assert len(set(draws.values())) == 6
    assert tuple(context(iteration=2).rng.random(3)) == draws["f", 2]
    assert isinstance(context().rng, np.random.Generator)


def test_a_log_says_whose_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """Log records carry the run and the iteration, under the function's name."""
    with caplog.at_level(logging.INFO, "varloop.f"):
        context(iteration=4).logger.info("hello")

    (record,) = caplog.records
    assert (record.name, record.run, record.iteration) == ("varloop.f", "r", 4)  # type: ignore[attr-defined]


def test_memory_travels_by_reference() -> None:
    """What is remembered is named by the record it will lie in and by its digest."""
    ctx = context(iteration=12)

    assert ctx.memory is msgspec.UNSET
    memo = ctx.remember({"x": [1.0, 0.1 + 0.2]})
    assert memo.key == "000012/f"
    assert memo == context(iteration=12).remember({"x": [1.0, 0.30000000000000004]})
    assert memo.digest != ctx.remember({"x": []}).digest


def test_what_was_not_recorded_cannot_be_recalled() -> None:
    """A memo without its record says which one is missing."""
    with pytest.raises(MissingObject, match="run r: the journal has no record 000009/f"):
        context().recall(Memo("000009/f", "0" * 32))


@pytest.mark.parametrize("outcome", [5, 0.1, None, [], {"a": [True]}, "text"])
def test_once_is_once(outcome: object) -> None:
    """Plain data is computed once per run, iteration, function and key, in whatever process."""
    store, computed = MemoryStore(), []

    def compute() -> object:
        computed.append(outcome)
        return outcome

    for _ in range(2):
        assert context(resources(store)).once("k", compute) == outcome
    assert len(computed) == 1
    for other in (
        context(resources(store), iteration=1),
        context(resources(store), function="g"),
        context(resources(store), run="q"),
    ):
        other.once("k", compute)
    assert len(computed) == 4


# ------------------------------------------------------------------ submissions


def test_a_run_belongs_to_its_first_submission() -> None:
    """The same spec again is accepted from anybody; another spec or pipeline is a conflict."""
    store = MemoryStore()
    resources(store).register(a_run())

    resources(store).register(a_run(id="other", source="elsewhere"))
    with pytest.raises(ConflictError, match="run r: this run id belongs to another spec, which is untouched"):
        resources(store).register(submission())
    with pytest.raises(ConflictError, match="submit under a new run id"):
        resources(store).register(a_run(pipeline="mine"))
    assert resources(store).submitted("r") == a_run()


def test_a_large_submission_is_the_same_in_both_forms() -> None:
    """A spec that was deposited and the same spec inline are one submission."""
    store = MemoryStore()
    first = resources(store)
    inline = submission(notes="x" * LIMIT)
    claimed = msgspec.structs.replace(inline, data=first.claims.deposit(inline.data, inline.run)[0])

    first.register(claimed)
    resources(store).register(inline)
    with pytest.raises(ConflictError):
        resources(store).register(submission(notes="y" * LIMIT))


def test_an_unknown_run() -> None:
    """A run that was never submitted is the event's fault, by name."""
    with pytest.raises(EventError, match=r"run ghost: memory: knows no such run \(submit it first\)"):
        resources().spec("ghost")


def test_a_spec_with_faults() -> None:
    """A spec that cannot be read says all that is wrong."""
    shared = resources()
    shared.register(submission())

    with pytest.raises(SpecError, match="problem: missing"):
        shared.spec("r")


def test_a_damaged_submission() -> None:
    """A submission that was altered in the store is not used."""
    store = MemoryStore()
    resources(store).register(a_run())
    store._objects["runs/r/submitted"] += b" "

    with pytest.raises(CorruptObject):
        resources(store).spec("r")


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that serves many runs keeps journals and specs of the latest only."""
    monkeypatch.setattr(Resources, "CAPACITY", 3)
    shared = resources()
    specs = [context(shared, run=f"r{number}").spec for number in range(10)]
    journals = [shared.journal(f"r{number}") for number in range(10)]
    journals[0].once("k", bytes)

    assert shared.spec("r9") is specs[9]
    assert shared.spec("r0") is not specs[0]
    assert shared.journal("r0") is not journals[0]
    assert shared.journal("r0").find("k") == b""


def test_a_journal_in_use_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that was used last is not the one that is forgotten."""
    monkeypatch.setattr(Resources, "CAPACITY", 2)
    shared = resources()
    busy = shared.journal("busy")
    for number in range(5):
        shared.journal(f"r{number}")
        assert shared.journal("busy") is busy


def test_a_submission_without_a_time_is_made_when_it_first_arrives() -> None:
    """Not in 1970; and when it comes again, its time is the one on record."""
    clock = FakeClock()
    resources = Resources(MemoryStore(), clock)
    event = msgspec.structs.replace(submission(), time=0.0)
    first = resources.register(event)
    clock.sleep(5.0)
    again = resources.register(event)

    assert first.time == again.time == resources.submitted("r").time == 1_800_000_000.0
    assert again.data == event.data


def test_every_door_deposits_a_large_spec() -> None:
    """Whoever registers a submission, what is on record and may be published holds a claim on its spec."""
    large = submission(notes="x" * (2 * LIMIT))
    resources = Resources(MemoryStore(), FakeClock())
    event = resources.register(large)

    assert isinstance(event.data, Claim)
    assert resources.submitted("r") == event
    assert resources.claims.redeem(event) == large.data
    assert resources.register(large) == event
