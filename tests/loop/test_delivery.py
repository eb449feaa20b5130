from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
import pytest

from loop.cases import EXACT, RUNS, SAMPLED
from varloop.events import CircuitExecuted, RunCompleted
from varloop.store.memory import MemoryStore
from varloop.testing import Crash, Trial, trial
from varloop.wire.codec import encode_body

every_run = pytest.mark.parametrize("name", RUNS)

FAULTS: dict[str, dict[str, Any]] = {
    "twice": {"twice": True},
    "late": {"late": 30.0},
    "shuffled": {"shuffle": 1},
    "all at once": {"twice": True, "late": 3.0, "shuffle": 2},
    "replayed": {"replay": True},
    "replayed and all at once": {"replay": True, "twice": True, "late": 3.0, "shuffle": 3},
}


@lru_cache
def straight(name: str) -> Trial:
    """The run without faults."""
    return trial(RUNS[name])


def result(outcome: Trial) -> bytes:
    """The result, bit for bit."""
    assert isinstance(outcome.end.data, RunCompleted)
    assert outcome.dead_letters == []
    return encode_body(outcome.end.data)


def jobs(outcome: Trial) -> set[str]:
    """Ids of the events that report a job."""
    return {event.id for event in outcome.events if event.type == CircuitExecuted.type}


@every_run
def test_a_run_is_its_spec(name: str) -> None:
    """The same spec gives the same result, bit for bit, from a store of its own and in any process's memory."""
    first, second = straight(name), trial(RUNS[name], run="another")

    assert result(first) == result(second)
    assert msgspec.json.decode(result(first))["iterations"] > 1


@every_run
def test_another_seed_is_another_run(name: str) -> None:
    """Another seed gives another result: nothing is constant by mistake."""
    other = trial({**RUNS[name], "seed": 12})

    assert result(other) != result(straight(name))


@every_run
@pytest.mark.parametrize("faults", FAULTS)
def test_bad_delivery_changes_nothing(name: str, faults: str) -> None:
    """Twice, late, shuffled or replayed: the same result, bit for bit, from the same jobs."""
    outcome = trial(RUNS[name], **FAULTS[faults])

    assert result(outcome) == result(straight(name))
    assert outcome.end.id == straight(name).end.id
    assert jobs(outcome) == jobs(straight(name))


@pytest.mark.parametrize("lose_bus", [False, True], ids=["bus kept", "bus lost"])
@pytest.mark.parametrize("name", ["spsa, 64 shots", "cobyla", "l-bfgs-b", "maxcut, CVaR"])
def test_a_crash_at_any_boundary_changes_nothing(name: str, lose_bus: bool) -> None:
    """A process that dies at whichever boundary is taken over by another: the same result, bit for bit."""
    boundaries = straight(name).boundaries
    assert boundaries > 30

    for boundary in range(boundaries):
        outcome = trial(RUNS[name], crash_at=boundary, lose_bus=lose_bus)
        assert result(outcome) == result(straight(name)), boundary
        assert jobs(outcome) <= jobs(straight(name)), boundary


@every_run
def test_crashes_on_a_bad_bus(name: str) -> None:
    """Crashes and bad delivery together change nothing, whatever is run."""
    for boundary in range(1, 120, 13):
        outcome = trial(
            RUNS[name], crash_at=boundary, lose_bus=bool(boundary % 2), twice=True, late=3.0, shuffle=boundary
        )
        assert result(outcome) == result(straight(name)), boundary


class DyingStore(MemoryStore):
    """Dies once at the n-th time it writes, before or after it did."""

    def __init__(self, number: int, *, written: bool) -> None:
        super().__init__()
        self._number = number
        self._written = written
        self.writes = 0

    def _create(self, key: str, sealed: bytes) -> bool:
        self.writes += 1
        dies = self.writes == self._number
        if dies and not self._written:
            raise Crash(f"before {key}")
        created = super()._create(key, sealed)
        if dies:
            raise Crash(f"after {key}")
        return created


@pytest.mark.parametrize("written", [False, True], ids=["before it is written", "after it is written"])
@pytest.mark.parametrize("name", ["spsa, 64 shots", "l-bfgs-b"])
def test_a_crash_at_any_write_changes_nothing(name: str, written: bool) -> None:
    """A process that dies before or after whichever object it writes is taken over: the same result."""
    counting = DyingStore(0, written=False)
    trial(RUNS[name], store=counting)
    assert counting.writes > 10

    for number in range(3, counting.writes + 1):  # the first two are the application's own
        outcome = trial(RUNS[name], store=DyingStore(number, written=written), lose_bus=bool(number % 2))
        assert result(outcome) == result(straight(name)), number


def test_every_case_is_what_it_says() -> None:
    """Exact runs use no shots; sampled ones do, and stop at their budget."""
    assert {msgspec.json.decode(result(straight(name)))["shots"] for name in EXACT} == {0}
    assert min(msgspec.json.decode(result(straight(name)))["shots"] for name in SAMPLED) > 0
    spent = msgspec.json.decode(result(straight("budget of shots")))
    assert spent["reason"] == "shots"
    assert spent["shots"] <= 8_000
