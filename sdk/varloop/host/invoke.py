"""One delivery of an event becomes one outcome, exactly once, however often it is delivered."""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from varloop.app import Function, Pipelines
from varloop.codec import OWN_SOURCE, from_json, to_json
from varloop.context import Context, Resources
from varloop.errors import (
    EventError,
    PermanentError,
    StoreUnavailable,
    TemporaryError,
    UsageError,
    VarloopError,
)
from varloop.events import Body, Event, RunFailed, RunSubmitted, Terminal, event_id
from varloop.journal import Call, Journal, Record, read_record, step_key, write_record
from varloop.recent import Recent
from varloop.secrets import mask

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
        self._seen: Recent[str, None] = Recent(self.SEEN)
        self.calls: Recent[str, deque[Call]] = Recent(self.RUNS)
        """calls not in any record yet, by run"""

    def invoke(self, event: Event[Any], attempt: int = 1, safe: Callable[[], None] = lambda: None) -> Outcome:
        """Deal with one delivery. Never raises what a function raised.

        :param attempt: how often this event was delivered to this group, from 1.
        :param safe: waits until the event will be delivered again if this process dies, or raises
            TemporaryError. It is called before the outcome is recorded: a record without its event would
            be taken for a step whose outcome somebody emits.
        """
        function = self.pipelines.route(event.pipeline, event.type)
        if function is None or (_own(event) and event.id in self._seen):
            return Outcome(Verdict.DROP)
        try:
            return self._invoke(function, self.resources.claims.whole(event), attempt, safe)
        except TemporaryError as error:
            log.warning("%s: %s", function.name, mask(str(error)))
            return self._dead_end(function, Verdict.RETRY, error, error.retry_after)
        except (EventError, PermanentError) as error:
            log.warning("%s: not accepted: %s", function.name, mask(str(error)))
            return self._broken(function, event, error)

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
            step = _Step(self, function, event, 1)
            try:
                self.resources.submitted(event.run)
                return Outcome(Verdict.EMIT, step.fail(error), function=function.name)
            except TemporaryError as later:
                return self._dead_end(function, Verdict.RETRY, later, later.retry_after)
            except (EventError, PermanentError) as worse:
                error = worse
        return self._dead_end(function, Verdict.DEAD, error)

    def _dead_end(
        self, function: Function, verdict: Verdict, error: Exception, delay: float = 0.0
    ) -> Outcome:
        reason = mask(str(error))
        return Outcome(
            verdict, delay=delay, reason=reason, error=type(error).__name__, function=function.name
        )

    def _invoke(
        self, function: Function, event: Event[Any], attempt: int, safe: Callable[[], None]
    ) -> Outcome:
        if isinstance(event.data, RunSubmitted):
            self.resources.register(event)
        step = _Step(self, function, event, attempt)
        if function.pure:
            return Outcome(Verdict.EMIT, step.call(), function=function.name, pure=True)
        journal = self.resources.journal(event.run)
        key = step_key(event.iteration, function.name)
        data, won = journal.once(key, lambda: step.record(safe), expect_new=journal.reaches(event.iteration))
        if won:
            self.calls.pop(event.run, None)
            return Outcome(Verdict.EMIT, step.events, function=function.name)
        raws = read_record(data, key).events
        events = tuple(from_json(bytes(raw), self.pipelines.types) for raw in raws)
        if self._continued(journal, events):
            return Outcome(Verdict.DROP, function=function.name)
        age = self.resources.clock.now() - max((event.time for event in events), default=0.0)
        if events and abs(age) < self.patience:  # beyond: clocks that disagree
            reason = "this outcome was recorded just now and is being emitted"
            return Outcome(Verdict.RETRY, delay=self.patience, reason=reason, function=function.name)
        return Outcome(Verdict.EMIT, events, function=function.name)

    def _continued(self, journal: Journal, events: Iterable[Event[Any]]) -> bool:
        """Whether every event was taken up by the step it was meant for. Terminal events never are."""
        for event in events:
            takers = list(self.pipelines.recorders(event.pipeline, event.type))
            keys = [step_key(event.iteration + later, taker.name) for taker, later in takers]
            if not keys or any(journal.find(key) is None for key in keys):
                return False
        return True


def _own(event: Event[Any]) -> bool:
    """Whether a function emitted it; its id is then the digest of its content."""
    return event.source.startswith(OWN_SOURCE)


class _Step:
    """One call of one function for one event."""

    def __init__(self, invoker: Invoker, function: Function, event: Event[Any], attempt: int) -> None:
        self._invoker = invoker
        self._function = function
        self._event = event
        self._attempt = attempt
        self._context = Context(invoker.resources, event, function.name)
        self.events: tuple[Event[Any], ...] = ()

    def record(self, safe: Callable[[], None]) -> bytes:
        """Call the function and make the record of its outcome."""
        self.call()
        safe()
        raws = [msgspec.Raw(to_json(event)) for event in self.events]
        calls = list(self._invoker.calls[self._event.run])
        return write_record(Record(events=raws, memory=self._context.memory, calls=calls))

    def call(self) -> tuple[Event[Any], ...]:
        """Call the function; its events, or the run's failure."""
        clock, event = self._invoker.resources.clock, self._event
        started = clock.now()
        bodies = self._bodies()
        ended = clock.now()
        try:
            self._emit(bodies, ended)
        except UsageError as error:  # a body that no event can carry
            self._emit([self._failure(error)], ended)
        self._note(Call(self._function.name, event.iteration, started, ended, self._invoker.host))
        return self.events

    def _emit(self, bodies: list[Body], now: float) -> None:
        if any(isinstance(body, Terminal) for body in bodies):
            self._end(bodies, now)
        else:
            self.events = tuple(self._envelope(body, now) for body in bodies)

    def _note(self, call: Call) -> None:
        """Keep a call for the next record of its run."""
        calls, run = self._invoker.calls, self._event.run
        if run not in calls:
            calls[run] = deque(maxlen=self._invoker.CALLS)
        calls[run].append(call)

    def fail(self, error: PermanentError) -> tuple[Event[Any], ...]:
        """End the run without calling the function."""
        self._end([self._failure(error, error.hint)], self._invoker.resources.clock.now())
        return self.events

    def _bodies(self) -> list[Body]:
        """What the function returned, or why it could not."""
        try:
            returned = self._function.handler(self._event, self._context)
            return self._checked(returned)
        except EventError:
            raise
        except TemporaryError as error:
            if self._attempt < self._invoker.max_attempts or isinstance(error, StoreUnavailable):
                raise  # a store that is away is no fault of the run
            return [self._failure(error, hint=f"gave up after {self._attempt} attempts; {error.hint}")]
        except PermanentError as error:
            return [self._failure(error, error.hint)]
        except Exception as error:
            log.error(
                "%s failed, run %s\n%s", self._function.name, self._event.run, mask(traceback.format_exc())
            )
            return [
                self._failure(error, hint="an unexpected error in the function; its log has the traceback")
            ]

    def _checked(self, returned: Any) -> list[Body]:
        bodies = list(returned or ()) if isinstance(returned, Iterable | None) else [returned]
        for body in bodies:
            if not isinstance(body, self._function.emits):
                emits = ", ".join(kind.__name__ for kind in self._function.emits) or "nothing"
                raise UsageError(f"{self._function.name} returned {type(body).__name__}, it emits {emits}")
        return bodies

    def _failure(self, error: Exception, hint: str = "") -> RunFailed:
        detail = error.detail if isinstance(error, PermanentError | TemporaryError) else str(error)
        return RunFailed(
            error=type(error).__name__,
            detail=mask(detail)[:2000],
            hint=mask(hint.removesuffix("; ")),
            function=self._function.name,
            faults=list(getattr(error, "faults", ())),
        )

    def _end(self, bodies: list[Body], now: float) -> None:
        """A run ends once: if it has ended otherwise, that is the outcome."""
        terminal = next(body for body in bodies if isinstance(body, Terminal))
        journal = self._invoker.resources.journal(self._event.run)
        data = journal.once("end", lambda: to_json(self._envelope(terminal, now))).value
        self.events = (from_json(data, self._invoker.pipelines.types),)

    def _envelope(self, body: Body, now: float) -> Event[Any]:
        """The event that carries a body."""
        cause = self._event
        iteration = cause.iteration + body.advances
        data, encoded = self._invoker.resources.claims.deposit(body)
        return Event(
            id=event_id(cause.pipeline, cause.run, iteration, body.type, encoded),
            source=OWN_SOURCE + self._function.name,
            run=cause.run,
            data=data,
            time=round(now, 6),
            pipeline=cause.pipeline,
            iteration=iteration,
            traceparent=cause.traceparent,
            tracestate=cause.tracestate,
            encoded=encoded,
        )
