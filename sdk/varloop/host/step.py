"""One call of one function for one event, and the record of its outcome."""

from __future__ import annotations

import hashlib
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from varloop.app import Function
from varloop.context import Context, Resources
from varloop.errors import (
    EventError,
    PermanentError,
    StoreUnavailable,
    TemporaryError,
    TimedOut,
    UsageError,
    VarloopError,
)
from varloop.events import Body, Event, RunFailed, Terminal, event_id
from varloop.host.first_call import alone_at_first
from varloop.host.observe import Observer
from varloop.host.timeline import Timeline
from varloop.journal import Call, Record, write_record
from varloop.settings import Settings
from varloop.store.layout import END, step_key
from varloop.support.masking import mask
from varloop.wire.codec import OWN_SOURCE, Types, from_json, to_json

__all__ = ["Desk", "Step"]

log = logging.getLogger("varloop.host")


@dataclass(frozen=True)
class Desk:
    """What a step needs of its host."""

    resources: Resources
    types: Types
    host: str
    """name of the process in timelines"""
    settings: Settings
    observer: Observer
    timeline: Timeline
    in_hand: set[Step] = field(default_factory=set)
    """calls under way"""


class Step:
    """One call of one function for one event. However often its outcome is asked for, the function is called once:
    an outcome that could not be recorded waits here for the next attempt.
    """

    def __init__(self, desk: Desk, function: Function, event: Event[Any], attempt: int) -> None:
        self.function = function
        self.event = event
        self.key = step_key(event.iteration, function.name, event.shard, event.shards)
        self._desk = desk
        self._attempt = attempt
        self._context = Context(desk.resources, event, function.name)
        self.given_up = False
        """its run was failed, and whatever it returns comes too late"""
        self._since = 0.0
        self._bodies: list[Body] | None = None
        self._ended = 0.0
        self._events: tuple[Event[Any], ...] | None = None

    @property
    def called(self) -> bool:
        """Whether the function came back, or never will."""
        return self._bodies is not None

    def call(self) -> None:
        """Call the function, unless that is done.

        :raises TemporaryError: if it shall be called again later.
        :raises EventError: if it does not accept the event.
        """
        if self.called:
            return
        desk, event = self._desk, self.event
        started = desk.resources.clock.now()
        desk.observer.calling(self.function, event)
        self._bodies = self._returned()
        self._ended = desk.resources.clock.now()
        call = Call(self.function.name, event.iteration, started, self._ended, desk.host)
        desk.timeline.note(event.run, call)
        desk.observer.called(call, event)

    def overdue(self) -> PermanentError | None:
        """What is wrong with a call under way that takes too long."""
        own = self.function.timeout
        timeout = self._desk.settings.timeout if own is None else own
        if self._desk.resources.clock.monotonic() - self._since <= timeout:
            return None
        return TimedOut(
            f"{self.function.name} did not come back within {timeout:g} s, in iteration {self.event.iteration}",
            hint="submit something smaller, or give the function a longer timeout: @app.function(timeout=…)",
            run=self.event.run,
        )

    def fail(self, error: PermanentError) -> None:
        """End the run; the function is not called."""
        self._bodies = [self._failure(error, error.hint)]
        self._ended = self._desk.resources.clock.now()

    def events(self) -> tuple[Event[Any], ...]:
        """What is emitted."""
        self.call()
        if self._events is None:
            try:
                self._events = self._emitted(self._bodies or [])
            except UsageError as error:  # bodies that no events can carry
                self._events = self._emitted([self._failure(error, error.hint)])
        return self._events

    def record(self, safe: Callable[[], bool]) -> bytes:
        """The record of the outcome.

        :param safe: see :meth:`Invoker.invoke`.
        """
        raws = [msgspec.Raw(to_json(event)) for event in self.events()]
        early = not safe()
        record = Record(
            events=raws,
            memory=self._context.memory,
            progress=self._context.reported,
            calls=self._desk.timeline.of(self.event.run),
            cause=self.event.call,
            early=early,
        )
        return write_record(record)

    def _returned(self) -> list[Body]:
        """What the function returned, or why it could not."""
        try:
            with alone_at_first(self.function, self._desk.settings.first_call):
                return self._checked(self._handled())
        except EventError:
            raise
        except TemporaryError as error:
            if self._attempt <= self._retries or isinstance(error, StoreUnavailable):
                raise  # a store that is away is no fault of the run
            return [self._failure(error, hint=f"gave up after {self._attempt} attempts; {error.hint}")]
        except PermanentError as error:
            return [self._failure(error, error.hint)]
        except Exception as error:
            log.error(
                "%s failed, run %s\n%s", self.function.name, self.event.run, mask(traceback.format_exc())
            )
            hint = "an unexpected error in the function; its log has the traceback"
            return [self._failure(error, getattr(error, "hint", "") or hint)]

    def _handled(self) -> Any:
        """What the function returns, which has the call in hand meanwhile."""
        self._since = self._desk.resources.clock.monotonic()
        self._desk.in_hand.add(self)
        try:
            return self.function.handler(self.event, self._context)
        finally:
            self._desk.in_hand.discard(self)

    @property
    def _retries(self) -> int:
        own = self.function.retries
        return self._desk.settings.retries if own is None else own

    def _checked(self, returned: Any) -> list[Body]:
        bodies = list(returned or ()) if isinstance(returned, Iterable | None) else [returned]
        for body in bodies:
            if not isinstance(body, self.function.emits):
                emits = ", ".join(kind.__name__ for kind in self.function.emits) or "nothing"
                raise UsageError(f"{self.function.name} returned {type(body).__name__}, it emits {emits}")
        return bodies

    def _failure(self, error: Exception, hint: str = "") -> RunFailed:
        detail = error.detail if isinstance(error, VarloopError) else str(error)
        return RunFailed(
            error=type(error).__name__,
            detail=mask(detail)[:2000],
            hint=mask(hint.removesuffix("; ")),
            function=self.function.name,
            faults=list(getattr(error, "faults", ())),
        )

    def _emitted(self, bodies: list[Body]) -> tuple[Event[Any], ...]:
        """The events that carry bodies: several of one type are its shards. A run ends once: if it has ended
        otherwise, that is the outcome.
        """
        if terminal := next((body for body in bodies if isinstance(body, Terminal)), None):
            journal = self._desk.resources.journal(self.event.run)
            data = journal.once(END, lambda: to_json(self._envelope(terminal, 0, 1))).value
            return (from_json(data, self._desk.types),)
        if len(bodies) == 1:
            return (self._envelope(bodies[0], *self._place(type(bodies[0]), 0, 1)),)
        counts, numbers = Counter(map(type, bodies)), Counter[type]()
        events = []
        for body in bodies:
            kind = type(body)
            events.append(self._envelope(body, *self._place(kind, numbers[kind], counts[kind])))
            numbers[kind] += 1
        return tuple(events)

    def _place(self, kind: type[Body], number: int, count: int) -> tuple[int, int]:
        """Which shard of how many a body is."""
        if self.event.shards == 1:
            return number, count
        if count > 1:
            raise UsageError(
                f"{self.function.name} returned {count} {kind.__name__} for one shard",
                hint="what is a shard cannot be divided again",
            )
        if kind.advances:
            raise UsageError(
                f"{self.function.name} returned {kind.__name__} for one shard of {self.event.shards}",
                hint="the next iteration begins when the shards of this one are gathered",
            )
        return self.event.shard, self.event.shards

    def _envelope(self, body: Body, shard: int, shards: int) -> Event[Any]:
        """The event that carries a body."""
        cause = self.event
        iteration = cause.iteration + body.advances
        data, encoded = self._desk.resources.claims.deposit(body, cause.run)
        return Event(
            id=event_id(cause.pipeline, cause.run, iteration, body.type, encoded, shard=shard, shards=shards),
            source=OWN_SOURCE + self.function.name,
            run=cause.run,
            data=data,
            time=round(self._ended, 6),
            pipeline=cause.pipeline,
            iteration=iteration,
            shard=shard,
            shards=shards,
            origin=_digest(cause.call) if self.function.pure else "",
            traceparent=cause.traceparent,
            tracestate=cause.tracestate,
            encoded=encoded,
        )


def _digest(call: str) -> str:
    return hashlib.sha256(call.encode()).hexdigest()[:32]
