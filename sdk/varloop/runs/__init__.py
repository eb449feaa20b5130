"""Runs as a store knows them: their state, their history, and how to set a stopped one going again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from varloop.context import Resources
from varloop.errors import PermanentError
from varloop.events import (
    CancelRequested,
    CircuitEncoded,
    CircuitExecuted,
    Event,
    RunCancelled,
    RunCompleted,
    RunFailed,
)
from varloop.journal import Call, Record, read_record
from varloop.progress import Iteration
from varloop.runs.history import History
from varloop.spec import RunSpec
from varloop.store.layout import END, is_step, iteration_of, iteration_prefix
from varloop.wire.codec import from_json

__all__ = ["History", "Iteration", "RunState", "StoredRun", "why"]


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """A run at a glance."""

    run: str
    state: str
    """running, completed, failed or cancelled; running includes a run that stopped and can be resumed.
    unreadable in :func:`varloop.runs.listing.states`, if what the store holds is damaged or no run"""
    pipeline: str
    submitted: float
    """seconds since the epoch"""
    iterations: int
    value: float | None = None
    """of the latest iteration, or of the result"""
    error: float = 0.0
    shots: int = 0
    outcome: RunCompleted | RunFailed | RunCancelled | None = None


REASONS = {
    "converged": "converged",
    "iterations": "the budget of iterations is used up",
    "shots": "the budget of shots is used up",
    "deadline": "the deadline is reached",
    "stopped": "stopped as asked",
}
STALE = (
    "it left no time for a final measurement; the value is the latest iteration's, not that of the best point"
)
STATES: dict[type, str] = {RunCompleted: "completed", RunFailed: "failed", RunCancelled: "cancelled"}


class StoredRun:
    """What a store knows about one run. Looks anew at each question.

    It knows events and what steps reported (:class:`Iteration`), never what a step remembers for itself.
    """

    def __init__(self, resources: Resources, id: str) -> None:
        self.id = id
        self._resources = resources
        self._journal = resources.journal(id)

    def pipeline(self) -> str:
        """Its pipeline.

        :raises UnknownRun: if there is no such run.
        """
        return self._resources.submitted(self.id).pipeline

    def submitted(self) -> Event[Any]:
        """The event that asked for it, a large spec included.

        :raises UnknownRun: if there is no such run.
        """
        return self._resources.claims.whole(self._resources.submitted(self.id))

    def spec(self) -> RunSpec:
        """Its spec.

        :raises UnknownRun: if there is no such run.
        :raises SpecError: if the spec has faults.
        """
        return self._resources.spec(self.id)

    def ending(self) -> Event[Any] | None:
        """The event that ended it, or None."""
        data = self._journal.find(END)
        if data is None:
            return None
        return self._resources.claims.whole(from_json(data, self._resources.types))

    def state(self) -> RunState:
        """Where it stands.

        :raises UnknownRun: if there is no such run.
        """
        submitted = self._resources.submitted(self.id)
        end = self.ending()
        if end is not None and isinstance(end.data, RunCompleted):
            return _completed(self.id, submitted, end.data)
        latest = self._latest()
        return RunState(
            run=self.id,
            state=STATES[type(end.data)] if end else "running",
            pipeline=submitted.pipeline,
            submitted=submitted.time,
            iterations=latest.iteration + (not latest.final) if latest else 0,
            value=latest.value if latest else None,
            error=latest.error if latest else 0.0,
            shots=latest.shots if latest else 0,
            outcome=end.data if end else None,
        )

    def history(self) -> History:
        """All finished iterations, oldest first."""
        found = (record.progress for _, record in self.records() if record.progress is not None)
        encoded = self.encoded()
        return History(found, encoded.names if encoded else ())

    def encoded(self) -> CircuitEncoded | None:
        """What its first step said, or None if it is not done or belongs to a pipeline whose first step says other."""
        for _, record in self.records(iteration_prefix(0)):
            for raw in record.events:
                event = self._resources.claims.whole(from_json(bytes(raw), self._resources.types))
                if isinstance(event.data, CircuitEncoded):
                    return event.data
        return None

    def find_iteration(self, iteration: int) -> Iteration | None:
        """One iteration, or None if it is not finished."""
        records = self.records(iteration_prefix(iteration))
        return next((record.progress for _, record in records if record.progress is not None), None)

    def reached(self) -> list[float]:
        """Where it ended: the parameters of its result, or of its latest iteration if it has none.

        :raises PermanentError: if it has not ended, and may come to other points yet; or has measured nothing.
        """
        end, latest = self.ending(), self._latest()
        if end is None:
            raise PermanentError(f"run {self.id} has not ended", hint="stop it first, or wait for its result")
        if isinstance(end.data, RunCompleted):
            return end.data.parameters
        if latest is None or not latest.parameters:
            raise PermanentError(f"run {self.id} has measured nothing")
        return latest.parameters

    def outcomes(self, most: int = 64) -> dict[str, dict[str, float]]:
        """What was measured at the parameters of its result: for each basis how often each outcome came.

        Of a run with shots, counts of the shots whose value is the result; of an exact run of a binary problem,
        probabilities; of an exact energy nothing, as nothing is sampled. Outcomes are written as Qiskit's: the rightmost
        bit is qubit 0, as the rightmost letter of the basis is.

        :param most: so many outcomes of each basis, the most frequent first.
        """
        end, encoded = self.ending(), self.encoded()
        if end is None or not isinstance(end.data, RunCompleted) or encoded is None:
            return {}
        executed = self._measured_at(end.data.parameters)
        samples = executed.measurement.samples if executed else None
        if executed is None or samples is None:
            return {}
        from varloop.quantum.samples import most_frequent

        points = executed.request.points
        row = max(k for k, point in enumerate(points) if point == end.data.parameters)
        bases = encoded.bases or ["Z" * samples.num_qubits]
        return {basis: most_frequent(samples, row, group, most) for group, basis in enumerate(bases)}

    def _measured_at(self, parameters: list[float]) -> CircuitExecuted | None:
        """The last batch that measured a point."""
        for _, record in reversed(list(self.records())):
            for raw in record.events:
                event = self._resources.claims.whole(from_json(bytes(raw), self._resources.types))
                if isinstance(event.data, CircuitExecuted) and parameters in event.data.request.points:
                    return event.data
        return None

    def calls(self) -> list[Call]:
        """All recorded calls of functions, in the order they started."""
        found = [call for _, record in self.records() for call in record.calls]
        return sorted(dict.fromkeys(found), key=lambda call: (call.started, call.ended))

    def records(self, prefix: str = "") -> Iterator[tuple[str, Record]]:
        """Records of its steps with their keys, oldest iteration first.

        :param prefix: of the keys, relative to the journal.
        """
        for key in filter(is_step, list(self._journal.keys(prefix))):
            data = self._journal.find(key)
            if data is not None:
                yield key, read_record(data, key)

    def pending(self) -> list[Event[Any]]:
        """The events that it may wait for: publish them again to resume it. Empty if it has ended.

        All that its last two iterations emitted; those that were taken up already are dropped as duplicates.
        Or a request to cancel, if a process died while it did that: the next job is void and will never end.
        """
        if self.ending() is not None:
            return []
        records = list(self.records())
        if any(record == Record() for _, record in records):
            return [_cancel_again(self._resources.submitted(self.id))]
        records = [(key, record) for key, record in records if record.cause]  # calls that were made
        last = max((iteration_of(key) for key, _ in records), default=0)
        events = [
            from_json(bytes(raw), self._resources.types)
            for key, record in records
            if iteration_of(key) >= last - 1
            for raw in record.events
        ]
        return events or [self._resources.submitted(self.id)]

    def _latest(self) -> Iteration | None:
        """The last finished iteration."""
        keys = sorted(filter(is_step, self._journal.keys()), reverse=True)
        found = (read_record(data, key).progress for key in keys if (data := self._journal.find(key)))
        return next((each for each in found if each is not None), None)


def _completed(run: str, submitted: Event[Any], result: RunCompleted) -> RunState:
    """Where a run stands that ended well: its result tells all, whatever its journal holds."""
    return RunState(
        run=run,
        state=STATES[RunCompleted],
        pipeline=submitted.pipeline,
        submitted=submitted.time,
        iterations=result.iterations,
        value=result.value,
        error=result.error,
        shots=result.shots,
        outcome=result,
    )


def why(result: RunCompleted) -> str:
    """Why a run ended, in words, and what that means for its value."""
    words = REASONS.get(result.reason, result.reason)
    return words if result.fresh else f"{words}, and {STALE}"


def _cancel_again(submitted: Event[Any]) -> Event[Any]:
    return msgspec.structs.replace(
        submitted,
        id=f"cancel-{submitted.run}",
        data=CancelRequested(reason="its cancellation was cut short"),
        encoded=b"",
    )
