"""Runs as a store knows them: their state, their history, and how to set a stopped one going again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from varloop.context import Resources
from varloop.errors import EventError, PermanentError
from varloop.events import CancelRequested, Event, RunCancelled, RunCompleted, RunFailed, Solution
from varloop.journal import Call, Record, iteration_of, list_runs, read_record, step_key
from varloop.loop import Loop
from varloop.wire.codec import from_json

__all__ = ["Iteration", "RunState", "calls", "ending", "finished", "history", "pending", "state", "states"]


class Iteration(msgspec.Struct, frozen=True, kw_only=True):
    """One finished iteration."""

    iteration: int
    value: float
    """lowest value of its points"""
    error: float
    """standard error of value"""
    best: float
    """lowest value so far"""
    shots: int
    """used so far"""
    solution: Solution | None = None
    final: bool = False
    """not an iteration of its own: the final point, measured once more"""


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """A run at a glance."""

    run: str
    state: str
    """running, completed, failed or cancelled; running includes a run that stopped and can be resumed.
    unreadable in :func:`states`, if what the store holds is damaged or no run"""
    pipeline: str
    submitted: float
    """seconds since the epoch"""
    iterations: int
    value: float | None = None
    error: float = 0.0
    shots: int = 0
    outcome: RunCompleted | RunFailed | RunCancelled | None = None


STATES: dict[type, str] = {RunCompleted: "completed", RunFailed: "failed", RunCancelled: "cancelled"}


def state(resources: Resources, run: str) -> RunState:
    """Where a run stands.

    :raises EventError: if there is no such run.
    """
    submitted = resources.submitted(run)
    end = ending(resources, run)
    latest = next(_loops(resources, run, newest_first=True), None)
    loop = latest[1] if latest else None
    return RunState(
        run=run,
        state=STATES[type(end.data)] if end else "running",
        pipeline=submitted.pipeline,
        submitted=submitted.time,
        iterations=loop.iterations if loop else 0,
        value=loop.value if loop else None,
        error=loop.error if loop else 0.0,
        shots=loop.shots if loop else 0,
        outcome=end.data if end else None,
    )


def states(resources: Resources) -> list[RunState]:
    """Where every run of the store stands, the newest first. One that cannot be read hides no other."""
    found = [_state(resources, run) for run in list_runs(resources.store)]
    return sorted(found, key=lambda state: state.submitted, reverse=True)


def _state(resources: Resources, run: str) -> RunState:
    try:
        return state(resources, run)
    except (EventError, PermanentError):
        return RunState(run=run, state="unreadable", pipeline="", submitted=0.0, iterations=0)


def ending(resources: Resources, run: str) -> Event[Any] | None:
    """The event that ended a run, or None."""
    data = resources.journal(run).find("end")
    return resources.claims.whole(from_json(data, resources.types)) if data is not None else None


def history(resources: Resources, run: str) -> list[Iteration]:
    """All finished iterations of a run, oldest first."""
    found = (_measured(iteration, loop) for iteration, loop in _loops(resources, run))
    return [each for each in found if each is not None]


def finished(resources: Resources, run: str, iteration: int) -> Iteration | None:
    """One iteration of a run, or None if it is not finished."""
    memory = resources.journal(run).remembered(step_key(iteration, "optimize"))
    return None if memory is None else _measured(iteration, msgspec.convert(memory, Loop))


def _measured(iteration: int, loop: Loop) -> Iteration | None:
    if loop.value is None or loop.best is None:
        return None
    return Iteration(
        iteration=iteration,
        value=loop.value,
        error=loop.error,
        best=loop.best.value,
        shots=loop.shots,
        solution=loop.solution,
        final=iteration >= loop.iterations,
    )


def calls(resources: Resources, run: str) -> list[Call]:
    """All recorded calls of functions, in the order they started."""
    found = [call for _, record in _records(resources, run) for call in record.calls]
    return sorted(dict.fromkeys(found), key=lambda call: (call.started, call.ended))


def pending(resources: Resources, run: str) -> list[Event[Any]]:
    """The events that a stopped run may wait for: publish them again to resume it. Empty if it has ended.

    All that its last two iterations emitted; those that were taken up already are dropped as duplicates.
    Or a request to cancel, if a process died while it did that: the next job is void and will never end.
    """
    if ending(resources, run) is not None:
        return []
    records = list(_records(resources, run))
    if any(record == Record() for _, record in records):
        return [_cancel_again(resources.submitted(run))]
    last = max((iteration_of(key) for key, _ in records), default=0)
    events = [
        from_json(bytes(raw), resources.types)
        for key, record in records
        if iteration_of(key) >= last - 1
        for raw in record.events
    ]
    return events or [resources.submitted(run)]


def _cancel_again(submitted: Event[Any]) -> Event[Any]:
    return msgspec.structs.replace(
        submitted,
        id=f"cancel-{submitted.run}",
        data=CancelRequested(reason="its cancellation was cut short"),
        encoded=b"",
    )


def _records(resources: Resources, run: str) -> Iterator[tuple[str, Record]]:
    """Records of the run's steps, oldest iteration first."""
    journal = resources.journal(run)
    keys = [key for key in journal.keys() if iteration_of(key) >= 0 and "." not in key]
    for key in keys:
        data = journal.find(key)
        if data is not None:
            yield key, read_record(data)


def _loops(resources: Resources, run: str, newest_first: bool = False) -> Iterator[tuple[int, Loop]]:
    """What ``optimize`` remembered, by iteration."""
    journal = resources.journal(run)
    iterations = [iteration_of(key) for key in journal.keys() if key.endswith("/optimize")]
    for iteration in sorted(iterations, reverse=newest_first):
        memory = journal.remembered(step_key(iteration, "optimize"))
        if memory is not None:
            yield iteration, msgspec.convert(memory, Loop)
