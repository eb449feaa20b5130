"""Where everything lies in a store: the one place that spells its keys.

| key | what |
|---|---|
| ``runs/<run>/submitted`` | the event that asked for the run |
| ``runs/<run>/journal/<iteration>/<function>`` | the record of a step |
| ``runs/<run>/journal/<iteration>/<function>@<k>of<n>`` | the record of a step's shard k of n |
| ``runs/<run>/journal/<iteration>/<function>.<note>`` | what a step computed once for itself |
| ``runs/<run>/journal/end`` | the event that ended the run |
| ``runs/<run>/attempts/<iteration>/<function>/<number>`` | a call under way that may have killed a process before |
| ``index/<number>-<run>`` | nothing: its key tells when the run was submitted, the newest first |
| ``templates/<key>`` | a compiled circuit |
| ``runs/<run>/objects/<sha256>`` | a large body of one of its events |
| ``dead-letters/<sha256>`` | an event that ``varloop serve`` could not accept, and why |
"""

from __future__ import annotations

import hashlib

__all__ = [
    "DEAD_LETTERS",
    "END",
    "INDEX",
    "PROBES",
    "RUNS",
    "TEMPLATES",
    "attempt_key",
    "function_of",
    "index_key",
    "indexed_run",
    "is_step",
    "iteration_of",
    "iteration_prefix",
    "journal_prefix",
    "object_key",
    "objects_prefix",
    "run_prefix",
    "step_key",
    "submitted_key",
    "template_key",
]

RUNS = "runs/"
INDEX = "index/"
TEMPLATES = "templates/"
PROBES = "probe/"
DEAD_LETTERS = "dead-letters/"
_LATEST = 10**15
"""milliseconds since the epoch that are later than any calendar's end"""
END = "end"
"""key of a run's end, relative to its journal"""


def run_prefix(run: str) -> str:
    """What all keys of a run begin with."""
    return f"{RUNS}{run}/"


def submitted_key(run: str) -> str:
    """Key of the event that asked for a run."""
    return f"{RUNS}{run}/submitted"


def index_key(submitted: float, run: str) -> str:
    """Key that tells when a run was submitted: those of newer runs come first.

    :param submitted: seconds since the epoch.
    """
    return f"{INDEX}{_LATEST - round(submitted * 1000):016d}-{run}"


def indexed_run(key: str) -> str:
    """The run that a key of the index tells of."""
    return key.partition("-")[2]


def journal_prefix(run: str) -> str:
    """What all keys of a run's journal begin with; the keys below are relative to it."""
    return f"{RUNS}{run}/journal/"


def iteration_prefix(iteration: int) -> str:
    """What the keys of an iteration begin with, relative to the run's journal."""
    return f"{iteration:06d}/"


def step_key(iteration: int, function: str, shard: int = 0, shards: int = 1) -> str:
    """Key of a step's record, relative to the run's journal."""
    part = "" if shards == 1 else f"@{shard}of{shards}"
    return f"{iteration_prefix(iteration)}{function}{part}"


def attempt_key(run: str, step: str, number: int) -> str:
    """Where a step's call is marked that may have killed a process before.

    :param step: key of the step's record, relative to the run's journal.
    """
    return f"{RUNS}{run}/attempts/{step}/{number}"


def iteration_of(key: str) -> int:
    """Iteration of a key of the journal, -1 for those that belong to none."""
    head = key.partition("/")[0]
    return int(head) if head.isdigit() else -1


def function_of(key: str) -> str:
    """Function whose record or note lies under a key of the journal."""
    return key.partition("/")[2].partition(".")[0].partition("@")[0]


def is_step(key: str) -> bool:
    """Whether the record of a step lies under a key of the journal, and not a note or the run's end."""
    return iteration_of(key) >= 0 and "." not in key


def template_key(key: str) -> str:
    """Where the template with this key lies."""
    return f"{TEMPLATES}{key}"


def objects_prefix(run: str) -> str:
    """What the keys of a run's large bodies begin with."""
    return f"{run_prefix(run)}objects/"


def object_key(run: str, data: bytes) -> str:
    """Where a large body of a run lies: under its own digest."""
    return f"{objects_prefix(run)}{hashlib.sha256(data).hexdigest()}"
