"""The runs of a store, the newest first, a page at a time: as many reads as the page has runs, whatever lies behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from varloop.context import Resources
from varloop.errors import EventError, PermanentError, UnknownRun
from varloop.runs import RunState, StoredRun
from varloop.store.layout import INDEX, index_key, indexed_run

__all__ = ["PAGE", "states"]

PAGE = 100
"""runs of a page"""
THREADS = 16
"""reads at a time"""


def states(
    resources: Resources, *, limit: int | None = None, state: str = "", before: str = ""
) -> list[RunState]:
    """Where the runs of the store stand, the newest first. One that cannot be read hides no other.

    :param limit: the most that are wanted; None is all.
    :param state: only runs in this state, see :attr:`RunState.state`.
    :param before: only runs that were submitted before this one.
    :raises UnknownRun: if there is no such run.
    """
    after = index_key(resources.submitted(before).time, before) if before else ""
    found = (each for each in _all(resources, after) if not state or each.state == state)
    return list(islice(found, limit))


def _all(resources: Resources, after: str) -> Iterator[RunState]:
    runs = map(indexed_run, resources.store.keys(INDEX, after=after))
    with ThreadPoolExecutor(THREADS, "varloop-listing") as threads:
        while page := list(islice(runs, PAGE)):
            yield from _present(threads.map(lambda run: _state(resources, run), page))


def _present(states: Iterable[RunState | None]) -> Iterator[RunState]:
    return (each for each in states if each is not None)


def _state(resources: Resources, run: str) -> RunState | None:
    """Where a run stands, None if it is gone."""
    try:
        return StoredRun(resources, run).state()
    except UnknownRun:
        return None
    except (EventError, PermanentError):
        return RunState(run=run, state="unreadable", pipeline="", submitted=0.0, iterations=0)
