"""Removes what finished runs left in a store: their journals, and objects that no run needs any more."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from varloop.context import Resources
from varloop.errors import PermanentError, VarloopError
from varloop.journal import list_runs
from varloop.runs import StoredRun
from varloop.store.layout import END, RUNS, journal_prefix, run_prefix

__all__ = ["Plan", "collect", "plan"]

_REFERENCE = re.compile(rb"objects/[0-9a-f]{64}")


class Plan(msgspec.Struct, frozen=True):
    """What a collection would remove."""

    runs: list[str]
    """runs that ended before the limit"""
    keys: list[str]
    """every object to be removed, journals before what they refer to"""


def plan(resources: Resources, days: float) -> Plan:
    """Find the runs that ended more than ``days`` ago, and the large bodies that only they refer to.

    Templates stay: they are small, shared, and what makes the next run start at once. A run whose journal
    cannot be read stays too, with all it refers to.
    """
    limit = resources.clock.now() - 86_400 * days
    old = [run for run in list_runs(resources.store) if _ended_before(resources, run, limit)]
    gone = {run: list(_keys(resources, run)) for run in old}
    journals = [key for keys in gone.values() for key in keys]
    dead = {reference for key in journals for reference in _references(resources, key)}
    if dead:
        kept = (key for key in resources.store.keys(RUNS) if key not in set(journals))
        dead -= {reference for key in kept for reference in _references(resources, key)}
    return Plan(old, [*journals, *sorted(dead)])


def collect(resources: Resources, planned: Plan) -> None:
    """Remove what was planned. May be cut short and planned again."""
    for key in planned.keys:
        resources.store.delete(key)


def _ended_before(resources: Resources, run: str, limit: float) -> bool:
    try:
        end = StoredRun(resources, run).ending()
    except VarloopError:
        return False
    return end is not None and end.time < limit


def _keys(resources: Resources, run: str) -> Iterator[str]:
    """Keys of a run, its end last: a collection that was cut short finds the run again."""
    end = journal_prefix(run) + END
    yield from sorted(resources.store.keys(run_prefix(run)), key=lambda key: (key == end, key))


def _references(resources: Resources, key: str) -> set[str]:
    try:
        data = resources.store.find(key)
    except PermanentError:
        return set()
    return {found.decode() for found in _REFERENCE.findall(data or b"")}
