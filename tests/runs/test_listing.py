from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import toy
from varloop.context import Resources
from varloop.errors import UnknownRun
from varloop.events import Event, RunCancelled, RunSubmitted
from varloop.runs.listing import states
from varloop.store.layout import END, INDEX, index_key, indexed_run, journal_prefix
from varloop.store.memory import MemoryStore
from varloop.wire.codec import to_json


def submit(resources: Resources, number: int, **more: Any) -> None:
    """Register a run that was submitted at this second."""
    event = Event(
        id=f"run-{number}",
        source="t",
        run=f"run-{number}",
        data=RunSubmitted(spec=toy.SPEC),
        time=float(number),
    )
    resources.register(event)


class Counting(MemoryStore):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def _read(self, key: str) -> bytes | None:
        self.asked["read"] += 1
        return super()._read(key)

    def _keys(self, prefix: str, after: str) -> Any:
        for key in super()._keys(prefix, after):
            self.asked["listed"] += 1
            yield key


def test_a_page_costs_what_is_on_it() -> None:
    """Of ten thousand runs the newest hundred are found without a look at the others."""
    store = Counting()
    resources = Resources(store)
    for number in range(1, 10_001):
        submit(resources, number)
    store.asked.clear()

    newest = states(resources, limit=100)

    assert [each.run for each in newest] == [f"run-{number}" for number in range(10_000, 9_900, -1)]
    assert store.asked["read"] <= 300
    assert store.asked["listed"] <= 300


def test_pages_follow_each_other() -> None:
    """The page before a run begins with the next older one; all pages together are all runs."""
    resources = Resources(MemoryStore())
    for number in (3, 1, 2, 5, 4):
        submit(resources, number)

    pages, before = [], ""
    while page := [each.run for each in states(resources, limit=2, before=before)]:
        pages.append(page)
        before = page[-1]

    assert pages == [["run-5", "run-4"], ["run-3", "run-2"], ["run-1"]]
    with pytest.raises(UnknownRun):
        states(resources, before="none")


def test_runs_in_one_state() -> None:
    """As many as are asked for, however far back they lie."""
    resources = Resources(MemoryStore())
    for number in range(1, 301):
        submit(resources, number)
    for run in ("run-7", "run-150", "run-299"):
        end = Event(id="e", source="t", run=run, data=RunCancelled(), time=1.0)
        resources.store.put(journal_prefix(run) + END, to_json(end))

    assert [each.run for each in states(resources, state="cancelled")] == ["run-299", "run-150", "run-7"]
    assert [each.run for each in states(resources, state="cancelled", limit=2)] == ["run-299", "run-150"]
    assert len(states(resources, state="running")) == 297


def test_a_run_that_is_gone_is_not_listed() -> None:
    """Only its entry was left."""
    resources = Resources(MemoryStore())
    submit(resources, 1)
    resources.store.put(index_key(2.0, "gone"), b"")

    assert [each.run for each in states(resources)] == ["run-1"]


def test_who_died_before_the_entry_was_made_has_it_made_by_the_next() -> None:
    """A submission is delivered until it is dealt with, and each delivery registers it."""
    resources = Resources(MemoryStore())
    submit(resources, 1)
    (entry,) = resources.store.keys(INDEX)
    resources.store.delete(entry)

    submit(resources, 1)
    assert list(resources.store.keys(INDEX)) == [entry]


@pytest.mark.parametrize("newer", [1e9, 1e9 + 0.001, 2.5e11, 0.0, -6.2e10 + 1])
def test_newer_runs_come_first(newer: float) -> None:
    """To the millisecond, at all times that a calendar has."""
    older = index_key(newer - 0.001, "z")

    assert index_key(newer, "a-b") < older
    assert indexed_run(index_key(newer, "a-b")) == "a-b"
