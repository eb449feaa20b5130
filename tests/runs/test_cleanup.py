"""Finished runs can be removed: all that was theirs, and never what a run that goes on needs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import varloop
from varloop.context import Resources
from varloop.errors import StoreUnavailable
from varloop.events import RunSubmitted
from varloop.journal import list_runs
from varloop.runs import StoredRun, cleanup
from varloop.store import Store
from varloop.store.folder import FolderStore
from varloop.store.layout import DEAD_LETTERS, index_key
from varloop.testing import FakeClock, trial
from varloop.wire.claims import LIMIT

SPEC = varloop.build_spec(problem=varloop.MaxCut(edges=[(0, 1, 1.0), (1, 2, 1.0)]), shots=16, budget=2)
NOW = 2_000_000_000.0
DAY = cleanup.DAY


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """In a folder."""
    return FolderStore(tmp_path)


def finish(store: Store, *ids: str, days_ago: float = 31, spec: object = SPEC) -> None:
    """Runs that ended so long ago."""
    for id in ids:
        trial(spec, run=id, store=store, clock=clock(days_ago))  # type: ignore[arg-type]


def clock(days_ago: float = 0) -> FakeClock:
    """So long before now."""
    found = FakeClock()
    found.sleep(NOW - DAY * days_ago - found.now())
    return found


def age(folder: Path, days: float) -> None:
    """Let all files that are there have been written so long ago."""
    for path in folder.rglob("*"):
        os.utime(path, (NOW - DAY * days,) * 2)


def gc(store: Store, days: float = 30) -> cleanup.Plan:
    """Plan and collect."""
    resources = Resources(store, clock())
    planned = cleanup.plan(resources, days)
    cleanup.collect(resources, planned)
    return planned


def test_a_plan_removes_nothing(store: Store) -> None:
    """Planning is a dry run."""
    finish(store, "a", "b")
    before = list(store.keys())

    assert cleanup.plan(Resources(store, clock()), 30).runs == ["a", "b"]
    assert list(store.keys()) == before


def test_young_and_unfinished_runs_stay(store: Store) -> None:
    """A run that ended lately, not at all, or cannot be read, is not in the plan."""
    finish(store, "young", days_ago=29)
    finish(store, "unfinished", "broken")
    store.delete("runs/unfinished/journal/end")
    store.put("runs/broken/journal/end", b"nonsense")

    assert gc(store).runs == []
    assert list(list_runs(store)) == ["broken", "unfinished", "young"]


def test_nothing_is_left_of_a_run(store: Store, tmp_path: Path) -> None:
    """Its records, its large bodies, its entry in the index and, when no other needs it, its template."""
    large = varloop.build_spec(
        problem=varloop.MaxCut(edges=[(0, 1, 1.0), (1, 2, 1.0)]), shots=16, budget=2, initial=[0.1, 0.2]
    )
    finish(store, "a", spec=large)
    resources = Resources(store, clock(31))
    resources.claims.deposit(RunSubmitted(spec={"x": "y" * LIMIT}), "a")
    store.put("runs/a/attempts/000001/execute/1", b"")
    age(tmp_path, 31)

    assert gc(store).runs == ["a"]
    assert list(store.keys()) == []


def test_a_body_that_two_runs_have_is_each_ones_own(store: Store, tmp_path: Path) -> None:
    """However a run is submitted while another with the same large spec is removed, it keeps its spec."""
    body = RunSubmitted(spec={"x": "y" * LIMIT})
    finish(store, "old")
    Resources(store).claims.deposit(body, "old")
    age(tmp_path, 31)
    resources = Resources(store, clock())
    planned = cleanup.plan(resources, 30)
    claim, _ = Resources(store).claims.deposit(body, "new")
    cleanup.collect(resources, planned)

    assert isinstance(claim, varloop.events.Claim)
    assert store.find(claim.ref) is not None
    assert "old" not in list(list_runs(store))


def test_templates_of_runs_that_stay_stay(store: Store, tmp_path: Path) -> None:
    """However old they are; one that a run begins with while it is removed is compiled again."""
    finish(store, "old")
    finish(store, "young", days_ago=1)
    age(tmp_path, 31)
    gc(store)
    assert len(list(store.keys("templates/"))) == 1

    store.delete("runs/young/journal/end")
    for key in list(store.keys("templates/")):
        store.delete(key)
    from varloop.client import embedded

    assert embedded(store).run("young").resume().result().reason == "iterations"


def test_old_scraps_go(store: Store, tmp_path: Path) -> None:
    """Dead letters, probes, entries of runs that are gone, and files of writers that died; new ones stay."""
    for age_in_days in (31, 29):
        store.put(f"{DEAD_LETTERS}{age_in_days}", b"")
        store.put(f"probe/{age_in_days}", b"")
        store.put(index_key(NOW - age_in_days, f"gone-{age_in_days}"), b"")
        (tmp_path / "templates").mkdir(exist_ok=True)
        (tmp_path / f"templates/.partial-{age_in_days}").write_bytes(b"half")
        for path in tmp_path.rglob(f"*{age_in_days}"):
            os.utime(path, (NOW - DAY * age_in_days,) * 2)
    gc(store)

    left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert left == [".partial-29", index_key(NOW - 29, "gone-29").partition("/")[2], "29", "29"]


def test_a_run_whose_end_is_gone_meanwhile_stays(store: Store) -> None:
    """What was planned is looked at again before it is removed."""
    finish(store, "a")
    resources = Resources(store, clock())
    planned = cleanup.plan(resources, 30)
    store.delete("runs/a/journal/end")
    cleanup.collect(resources, planned)

    assert StoredRun(Resources(store), "a").pipeline() == "default"


def test_a_collection_that_was_cut_short_finds_the_run_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it stopped: a run's end is the last of its objects to go."""
    finish(store, "a")
    delete = FolderStore._delete
    while len(list(store.keys("runs/"))) > 2:
        left = [2]

        def dying(here: FolderStore, key: str, left: list[int] = left) -> None:
            if not left[0]:
                raise StoreUnavailable("killed")
            left[0] -= 1
            delete(here, key)

        monkeypatch.setattr(FolderStore, "_delete", dying)
        with pytest.raises(StoreUnavailable):
            gc(store)
        monkeypatch.undo()
        assert cleanup.plan(Resources(store, clock()), 30).runs == ["a"]
    gc(store)
    assert list(store.keys("runs/")) == []


def test_its_cost_grows_with_the_store_and_no_faster(store: Store) -> None:
    """Four times the runs take about four times as long."""
    finish(store, "r")
    records = {key.removeprefix("runs/r/"): store.get(key) for key in store.keys("runs/r/")}

    def seconds(count: int) -> float:
        for number in range(count):
            for key, data in records.items():
                store.put(f"runs/{count}-{number}/{key}", data)
        began = time.perf_counter()
        gc(store)
        return time.perf_counter() - began

    few, many = seconds(40), seconds(160)
    assert many < 12 * few
