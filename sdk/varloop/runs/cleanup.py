"""Removes from a store what ended long ago: runs with all that is theirs, and what nobody needs any more.

Safe beside runs that go on, without a lock: a run owns its large bodies, so none is shared with another, and a template
that is gone is compiled again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec

from varloop.context import Resources
from varloop.errors import VarloopError
from varloop.journal import list_runs
from varloop.runs import StoredRun
from varloop.store.layout import (
    DEAD_LETTERS,
    END,
    INDEX,
    PROBES,
    TEMPLATES,
    index_key,
    indexed_run,
    iteration_prefix,
    journal_prefix,
    run_prefix,
    template_key,
)

__all__ = ["DAY", "Plan", "collect", "plan"]

DAY = 86_400
"""seconds"""
THREADS = 16
"""reads at a time"""
_TEMPLATE = re.compile(rb'"template":"([^"]+)"')


class Plan(msgspec.Struct, frozen=True):
    """What a collection would remove."""

    before: float
    """the limit, seconds since the epoch"""
    runs: list[str]
    """runs that ended before it"""
    others: list[str]
    """keys written before it that belong to no run: templates that no run uses, dead letters, scraps"""


def plan(resources: Resources, days: float) -> Plan:
    """Find what ended, or was last needed, more than ``days`` ago. A run that cannot be read stays."""
    before, store = resources.clock.now() - DAY * days, resources.store
    runs = list(list_runs(store))
    with ThreadPoolExecutor(THREADS, "varloop-cleanup") as threads:
        ended = list(threads.map(lambda run: _ended_before(resources, run, before), runs))
        old = [run for run, over in zip(runs, ended, strict=True) if over]
        kept = [run for run, over in zip(runs, ended, strict=True) if not over]
        needed = set().union(*threads.map(lambda run: _templates(resources, run), kept))
    others = [key for key in store.older(TEMPLATES, before) if key not in needed]
    others += [key for prefix in (DEAD_LETTERS, PROBES) for key in store.older(prefix, before)]
    present = set(runs)
    others += [key for key in store.older(INDEX, before) if indexed_run(key) not in present]
    return Plan(before, old, others)


def collect(resources: Resources, planned: Plan) -> int:
    """Remove what was planned and still is as it was. May be cut short and planned again.

    :return: how many objects were removed.
    """
    store = resources.store
    count = 0
    for run in planned.runs:
        if _ended_before(resources, run, planned.before):
            for key in _keys(resources, run):
                store.delete(key)
                count += 1
    for key in planned.others:
        store.delete(key)
    store.sweep(planned.before)
    return count + len(planned.others)


def _ended_before(resources: Resources, run: str, limit: float) -> bool:
    anew = Resources(resources.store, resources.clock, resources.types)  # a journal keeps what it has read
    try:
        end = StoredRun(anew, run).ending()
    except VarloopError:
        return False
    return end is not None and end.time < limit


def _templates(resources: Resources, run: str) -> set[str]:
    """Keys of the templates that a run uses: its first records name them."""
    prefix = journal_prefix(run) + iteration_prefix(0)
    found: set[str] = set()
    for key in resources.store.keys(prefix):
        try:
            data = resources.store.find(key) or b""
        except VarloopError:
            continue
        found |= {template_key(name.decode()) for name in _TEMPLATE.findall(data)}
    return found


def _keys(resources: Resources, run: str) -> Iterator[str]:
    """Keys of a run, its end last: a collection that was cut short finds the run again."""
    end = journal_prefix(run) + END
    with suppress(VarloopError):  # it cannot be read; its entry goes when it is old
        yield index_key(resources.submitted(run).time, run)
    yield from sorted(resources.store.keys(run_prefix(run)), key=lambda key: (key == end, key))
