"""One delivery of an event becomes one outcome, exactly once, however often it is delivered."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from varloop.app import Function, Pipelines
from varloop.context import Resources
from varloop.errors import (
    EventError,
    PermanentError,
    StoreUnavailable,
    TemporaryError,
    VarloopError,
)
from varloop.events import Event, RunSubmitted
from varloop.host.step import Step
from varloop.journal import Call, Journal, Record, read_record
from varloop.store.layout import step_key
from varloop.support.cache import LruCache
from varloop.support.masking import mask
from varloop.wire.codec import OWN_SOURCE, from_json

__all__ = ["Invoker", "Outcome", "Verdict"]

log = logging.getLogger("varloop.host")


class Verdict(Enum):
    """What a host has to do with a delivery."""

    EMIT = "emit"
    """publish the outcome's events, then acknowledge"""
    DROP = "drop"
    """acknowledge: a duplicate, or nobody's"""
    RETRY = "retry"
    """deliver again after ``delay`` seconds"""
    DEAD = "dead"
    """put it into the dead letters with ``reason``"""


@dataclass(frozen=True)
class Outcome:
    """What came of a delivery."""

    verdict: Verdict
    events: tuple[Event[Any], ...] = ()
    delay: float = 0.0
    reason: str = ""
    error: str = ""
    function: str = ""
    pure: bool = False
    """no record was made: the event alone can bring the outcome back"""


class Invoker:
    """Calls the function that takes an event. Holds caches only: any process may take over at any time.

    :param host: name of this process in timelines.
    :param max_attempts: a temporary error at this attempt ends the run.
    :param patience: seconds in which a recorded outcome is not emitted again: whoever recorded it is most likely
        about to. A delivery that comes so soon is put off, so that duplicates in flight do not breed more of them.
    """

    SEEN = 8192
    """events whose duplicates are known without a look at the journal"""
    RUNS, CALLS = 1024, 16
    """calls that wait for a record: of so many runs, so many each"""

    def __init__(
        self,
        pipelines: Pipelines,
        resources: Resources,
        *,
        host: str = "",
        max_attempts: int = 8,
        patience: float = 0.0,
    ) -> None:
        self.pipelines = pipelines
        self.resources = resources
        self.host = host
        self.max_attempts = max_attempts
        self.patience = patience
        self._seen: LruCache[str, None] = LruCache(self.SEEN)
        self.calls: LruCache[str, deque[Call]] = LruCache(self.RUNS)
        """calls not in any record yet, by run"""

    def invoke(self, event: Event[Any], attempt: int = 1, safe: Callable[[], bool] = lambda: True) -> Outcome:
        """Deal with one delivery. Never raises what a function raised.

        :param attempt: how often this event was delivered to this group, from 1.
        :param safe: whether the event will be delivered again if this process dies. It is called before the
            outcome is recorded, and does not return before that is so for the event whose outcome this one
            is; or raises TemporaryError.
        """
        function = self.pipelines.route(event.pipeline, event.type)
        if function is None or (_own(event) and event.id in self._seen):
            return Outcome(Verdict.DROP)
        if not (_own(event) or self.pipelines.open(event.pipeline, event.type)):
            forged = EventError(f"{event.type} from {event.source!r}: only functions send it", run=event.run)
            return self._dead_end(function, Verdict.DEAD, forged)
        try:
            return self._invoke(function, self.resources.claims.whole(event), attempt, safe)
        except TemporaryError as error:
            about = {
                "run": event.run,
                "repeats": type(error).__name__ if isinstance(error, StoreUnavailable) else None,
            }
            log.warning("%s, run %s: %s", function.name, event.run, mask(str(error)), extra=about)
            return self._dead_end(function, Verdict.RETRY, error, error.retry_after)
        except (EventError, PermanentError) as error:
            text = mask(str(error))
            log.warning(
                "%s, run %s: not accepted: %s", function.name, event.run, text, extra={"run": event.run}
            )
            return self._broken(function, event, error)

    def end(self, event: Event[Any], error: PermanentError) -> Outcome:
        """End the run of an event whose outcome can't travel."""
        function = self.pipelines.route(event.pipeline, event.type)
        if function is None:
            return Outcome(Verdict.DROP)
        return self._fail(function, event, error)

    def confirm(self, event: Event[Any]) -> None:
        """The outcome's events are published: later deliveries of this event here are duplicates.

        Events of our own only: their ids vouch for their content.
        """
        if _own(event):
            self._seen[event.id] = None

    def confirmed(self, id: str) -> bool:
        """Whether an event of our own was dealt with here. For any thread."""
        return id in self._seen

    def _broken(self, function: Function, event: Event[Any], error: VarloopError) -> Outcome:
        """What the store holds for our own event is unusable: that run ends. Other events are at fault."""
        if isinstance(error, PermanentError) and _own(event):
            return self._fail(function, event, error)
        return self._dead_end(function, Verdict.DEAD, error)

    def _fail(self, function: Function, event: Event[Any], error: PermanentError) -> Outcome:
        """The run ends with this error, if there is such a run."""
        step = Step(self, function, event, 1)
        try:
            self.resources.submitted(event.run)
            return Outcome(Verdict.EMIT, step.fail(error), function=function.name)
        except TemporaryError as later:
            return self._dead_end(function, Verdict.RETRY, later, later.retry_after)
        except (EventError, PermanentError) as worse:
            return self._dead_end(function, Verdict.DEAD, worse)

    def _dead_end(
        self, function: Function, verdict: Verdict, error: Exception, delay: float = 0.0
    ) -> Outcome:
        reason = mask(str(error))
        return Outcome(
            verdict, delay=delay, reason=reason, error=type(error).__name__, function=function.name
        )

    def _invoke(
        self, function: Function, event: Event[Any], attempt: int, safe: Callable[[], bool]
    ) -> Outcome:
        if isinstance(event.data, RunSubmitted):
            self.resources.register(event)
        step = Step(self, function, event, attempt)
        if function.pure:
            return Outcome(Verdict.EMIT, step.call(), function=function.name, pure=True)
        journal = self.resources.journal(event.run)
        key = step_key(event.iteration, function.name)
        data, won = journal.once(key, lambda: step.record(safe), expect_new=journal.reaches(event.iteration))
        if won:
            self.calls.pop(event.run, None)
            return Outcome(Verdict.EMIT, step.events, function=function.name)
        events = self._events(read_record(data, key))
        if self._continued(journal, events):
            return Outcome(Verdict.DROP, function=function.name)
        age = self.resources.clock.now() - max((event.time for event in events), default=0.0)
        if events and abs(age) < self.patience:  # beyond: clocks that disagree
            reason = "this outcome was recorded just now and is being emitted"
            return Outcome(Verdict.RETRY, delay=self.patience, reason=reason, function=function.name)
        return Outcome(Verdict.EMIT, events, function=function.name)

    def _events(self, record: Record) -> tuple[Event[Any], ...]:
        return tuple(from_json(bytes(raw), self.pipelines.types) for raw in record.events)

    def _continued(self, journal: Journal, events: Iterable[Event[Any]], proven: bool = True) -> bool:
        """Whether every event was taken up by the step it was meant for. Terminal events never are.

        :param proven: and is known to be safe.
        """
        for event in events:
            takers = list(self.pipelines.recorders(event.pipeline, event.type))
            keys = [step_key(event.iteration + later, taker.name) for taker, later in takers]
            if not keys or not all(self._taken_up(journal, key, proven) for key in keys):
                return False
        return True

    def _taken_up(self, journal: Journal, key: str, proven: bool) -> bool:
        """Whether a step has a record. One that was made early proves that its event is safe when the steps
        after it have theirs.
        """
        data = journal.find(key)
        if data is None:
            return False
        record = read_record(data, key)
        return not (proven and record.early) or self._continued(journal, self._events(record), proven=False)


def _own(event: Event[Any]) -> bool:
    """Whether a function emitted it; its id is then the digest of its content."""
    return event.source.startswith(OWN_SOURCE)
