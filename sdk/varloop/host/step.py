"""One call of one function for one event, and the record of its outcome."""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from varloop.app import Function
from varloop.context import Context
from varloop.errors import EventError, PermanentError, StoreUnavailable, TemporaryError, UsageError
from varloop.events import Body, Event, RunFailed, Terminal, event_id
from varloop.host.first_call import alone_at_first
from varloop.journal import Call, Record, write_record
from varloop.support.masking import mask
from varloop.wire.codec import OWN_SOURCE, from_json, to_json

if TYPE_CHECKING:
    from varloop.host.invoke import Invoker

__all__ = ["Step"]

log = logging.getLogger("varloop.host")


class Step:
    """One call of one function for one event."""

    def __init__(self, invoker: Invoker, function: Function, event: Event[Any], attempt: int) -> None:
        self._invoker = invoker
        self._function = function
        self._event = event
        self._attempt = attempt
        self._context = Context(invoker.resources, event, function.name)
        self.events: tuple[Event[Any], ...] = ()

    def record(self, safe: Callable[[], bool]) -> bytes:
        """Call the function and make the record of its outcome."""
        self.call()
        early = not safe()
        raws = [msgspec.Raw(to_json(event)) for event in self.events]
        calls = list(self._invoker.calls[self._event.run])
        context = self._context
        return write_record(
            Record(events=raws, memory=context.memory, progress=context.reported, calls=calls, early=early)
        )

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
            with alone_at_first(self._function):
                return self._checked(self._function.handler(self._event, self._context))
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
