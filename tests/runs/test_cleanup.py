"""Finished runs can be removed: exactly what they alone needed, and never a run that goes on."""

import varloop
from varloop.context import Resources
from varloop.journal import list_runs
from varloop.runs import cleanup
from varloop.store.memory import MemoryStore
from varloop.testing import FakeClock, trial

SPEC = varloop.build_spec(problem=varloop.MaxCut(edges=[(0, 1, 1.0), (1, 2, 1.0)]), shots=16, budget=2)
DAY = 86_400


def store_with(*ids: str) -> MemoryStore:
    """A store in which these runs ended at the clock's start."""
    store = MemoryStore()
    for id in ids:
        trial(SPEC, run=id, store=store, clock=FakeClock())
    return store


def resources(store: MemoryStore, days: float) -> Resources:
    """The store as seen some days later."""
    clock = FakeClock()
    clock.sleep(days * DAY)
    return Resources(store, clock)


def test_a_plan_removes_nothing() -> None:
    """Planning is a dry run."""
    store = store_with("a", "b")
    before = list(store.keys())

    assert cleanup.plan(resources(store, 31), 30).runs == ["a", "b"]
    assert list(store.keys()) == before


def test_young_and_unfinished_runs_stay() -> None:
    """A run that ended lately, or not at all, is not in the plan."""
    store = store_with("a")
    assert cleanup.plan(resources(store, 29), 30).runs == []

    store.delete("runs/a/journal/end")
    assert cleanup.plan(resources(store, 31), 30).runs == []


def test_templates_stay_and_the_run_is_gone() -> None:
    """What remains is what the next run starts with."""
    store = store_with("a")
    seen = resources(store, 31)
    cleanup.collect(seen, cleanup.plan(seen, 30))

    assert list(list_runs(store)) == []
    assert [key.partition("/")[0] for key in store.keys()] == ["templates"]


def test_a_body_goes_with_the_last_run_that_refers_to_it() -> None:
    """A large body that another run needs as well stays for it."""
    store = store_with("a", "b")
    shared, own = store.put_object(b"shared"), store.put_object(b"own")
    store.put("runs/a/journal/note", f"{shared} {own}".encode())
    store.put("runs/b/journal/note", shared.encode())
    store.delete("runs/b/journal/end")
    seen = resources(store, 31)
    cleanup.collect(seen, cleanup.plan(seen, 30))

    assert store.find(shared) == b"shared"
    assert store.find(own) is None


def test_a_collection_that_was_cut_short_finds_the_run_again() -> None:
    """A run's end is the last of its objects to go."""
    store = store_with("a")
    planned = cleanup.plan(resources(store, 31), 30)

    assert [key for key in planned.keys if key.startswith("runs/a/")][-1] == "runs/a/journal/end"
