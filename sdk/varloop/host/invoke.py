"""One delivery of an event becomes one outcome, exactly once, however often it is delivered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from varloop.app import Function, Pipelines
from varloop.context import Resources
from varloop.errors import (
    ConflictError,
    EventError,
    HostDied,
    PermanentError,
    StoreUnavailable,
    TemporaryError,
    VarloopError,
)
from varloop.events import Event, RunSubmitted
from varloop.host.attempts import Attempts
from varloop.host.observe import Observer
from varloop.host.step import Desk, Step
from varloop.host.timeline import Timeline
from varloop.journal import Journal, Record, read_record
from varloop.settings import Settings
from varloop.store.layout import END, step_key
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
    """acknowledge: a duplicate, nobody's, or of a run that has ended"""
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
    :param observer: told what becomes of every delivery.
    """

    SEEN = 8192
    """events whose duplicates are known without a look at the journal"""
    KEPT = 64
    """outcomes at most that wait here for a store that does not take them"""

    def __init__(
        self,
        pipelines: Pipelines,
        resources: Resources,
        *,
        host: str = "",
        settings: Settings | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.pipelines = pipelines
        self.resources = resources
        self.settings = settings or Settings()
        self.observer = observer or Observer()
        self.timeline = Timeline()
        self._desk = Desk(resources, pipelines.types, host, self.settings, self.observer, self.timeline)
        self._attempts = Attempts(resources.store, resources.clock, self.settings)
        self._seen: LruCache[str, None] = LruCache(self.SEEN)
        self._unpublished: LruCache[str, None] = LruCache(self.SEEN)
        self._kept: LruCache[tuple[str, str], Step] = LruCache(self.KEPT)

    def invoke(self, event: Event[Any], attempt: int = 1, safe: Callable[[], bool] = lambda: True) -> Outcome:
        """Deal with one delivery. Never raises what a function raised.

        :param attempt: how often this event was delivered to this group, from 1.
        :param safe: whether the event will be delivered again if this process dies. It is called before the
            outcome is recorded, and does not return before that is so for the event whose outcome this one
            is; or raises TemporaryError.
        """
        self.observer.received(event, attempt)
        outcome = self._outcome(event, attempt, safe)
        match outcome.verdict:
            case Verdict.EMIT:
                self.observer.recorded(event, outcome.events)
            case Verdict.DROP:
                self.observer.dropped(event)
            case Verdict.RETRY:
                self.observer.retried(event, outcome.reason, outcome.delay)
            case Verdict.DEAD:
                self.observer.dead(event, outcome.reason)
        return outcome

    def confirm(self, event: Event[Any]) -> None:
        """The outcome's events are published: later deliveries of this event here are duplicates.

        Events of our own only: their ids vouch for their content.
        """
        if _own(event):
            self._seen[event.id] = None
        if self._unpublished:
            self._unpublished.pop(event.call, None)
        self.observer.published(event)

    def confirmed(self, id: str) -> bool:
        """Whether an event of our own was dealt with here. For any thread."""
        return id in self._seen

    def end(self, event: Event[Any], error: PermanentError) -> Outcome:
        """End the run of an event whose outcome can't travel."""
        function = self.pipelines.route(event.pipeline, event.type)
        if function is None:
            return Outcome(Verdict.DROP)
        return self._fail(function, event, error)

    def oversee(self) -> list[tuple[Event[Any], Outcome]]:
        """Look after the calls under way, every second or so, from another thread than those that make them.

        A call that takes too long fails its run: the outcomes to be published, each with the event that was
        delivered. Its thread is left to itself, for nothing can stop it, and what it returns comes too late; a host
        that has others to serve gives them another thread.
        """
        self._attempts.renew()
        found = []
        for step in list(self._desk.in_hand):
            if not step.given_up and (error := step.overdue()) is not None:
                outcome = self._give_up(step, error)
                if outcome.verdict is not Verdict.RETRY:
                    step.given_up = True
                    found.append((step.event, outcome))
        return found

    @property
    def given_up(self) -> int:
        """How many calls that took too long still hold their threads."""
        return sum(step.given_up for step in list(self._desk.in_hand))

    def _give_up(self, step: Step, error: PermanentError) -> Outcome:
        """Fail the run of a call under way."""
        log.error("%s", mask(str(error)), extra={"run": step.event.run})
        late = Step(self._desk, step.function, step.event, 1)
        late.fail(error)
        try:
            if not step.function.pure:
                data, won = self.resources.journal(step.event.run).add(late.key, late.record(lambda: True))
                if not won:  # it was cancelled, or came back this very moment
                    return self._again(step, read_record(data, step.key))
            return Outcome(Verdict.EMIT, late.events(), function=step.function.name)
        except TemporaryError as later:
            return self._dead_end(step.function, Verdict.RETRY, later, later.retry_after)
        except (EventError, PermanentError) as worse:
            return self._dead_end(step.function, Verdict.DEAD, worse)

    def unpublished(self, event: Event[Any]) -> None:
        """The outcome's events could not be published: the next delivery brings them again at once."""
        self._unpublished[event.call] = None

    def _outcome(self, event: Event[Any], attempt: int, safe: Callable[[], bool]) -> Outcome:
        function = self.pipelines.route(event.pipeline, event.type)
        if function is None or (_own(event) and event.id in self._seen):
            return Outcome(Verdict.DROP)
        if not _own(event) and (refusal := self.pipelines.forgery(event.pipeline, event.type)):
            forged = EventError(f"{refusal}; this is from {event.source!r}", run=event.run)
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

    def _broken(self, function: Function, event: Event[Any], error: VarloopError) -> Outcome:
        """What the store holds for our own event is unusable: that run ends. Other events are at fault."""
        if isinstance(error, PermanentError) and _own(event):
            return self._fail(function, event, error)
        return self._dead_end(function, Verdict.DEAD, error)

    def _fail(self, function: Function, event: Event[Any], error: PermanentError) -> Outcome:
        """The run ends with this error, if there is such a run."""
        step = Step(self._desk, function, event, 1)
        step.fail(error)
        try:
            self.resources.submitted(event.run)
            return Outcome(Verdict.EMIT, step.events(), function=function.name)
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
            event = msgspec.structs.replace(event, time=self.resources.register(event).time)
        step = self._step(function, event, attempt)
        try:
            outcome = self._calculated(step) if function.pure else self._recorded(step, attempt, safe)
        except TemporaryError:
            if step.called:  # what it costs is paid: its outcome waits here
                self._kept[_name(step)] = step
                self.unpublished(event)
            raise
        if self._kept:
            self._kept.pop(_name(step), None)
        return outcome

    def _step(self, function: Function, event: Event[Any], attempt: int) -> Step:
        """The call of a function for an event: one that was made already if its outcome waits here."""
        step = Step(self._desk, function, event, attempt)
        kept = self._kept.get(_name(step)) if self._kept else None
        return kept if kept is not None and kept.event == event else step

    def _calculated(self, step: Step) -> Outcome:
        """The outcome of a pure function."""
        if not self._is_fresh(step.event):
            if self._end(step.event) is not None:
                return Outcome(Verdict.DROP, function=step.function.name)
            self._call_again(step)
        return Outcome(Verdict.EMIT, step.events(), function=step.function.name, pure=True)

    def _recorded(self, step: Step, attempt: int, safe: Callable[[], bool]) -> Outcome:
        """The outcome of a function that leaves a record."""
        event, name = step.event, step.function.name
        journal = self.resources.journal(event.run)
        if attempt > 1 or event.shards > 1 or not journal.expects(step.key):
            if (data := journal.find(step.key)) is not None:
                return self._again(step, read_record(data, step.key))
            if (end := self._end(event)) is not None:
                return self._over(step, end)
            if not self._is_fresh(event):
                self._call_again(step)
        data, won = journal.add(step.key, step.record(safe))
        if not won:
            return self._again(step, read_record(data, step.key))
        self.timeline.recorded(event.run)
        return Outcome(Verdict.EMIT, step.events(), function=name)

    def _is_fresh(self, event: Event[Any]) -> bool:
        """Whether it is so new that no process can have been killed and started again since."""
        return abs(self.resources.clock.now() - event.time) <= self.settings.fresh

    def _call_again(self, step: Step) -> None:
        """Make a call that may have killed a process before."""
        if step.called:
            return
        try:
            with self._attempts.marked(step.event.run, step.key):
                step.call()
        except HostDied as error:
            step.fail(error)

    def _end(self, event: Event[Any]) -> bytes | None:
        """How the run of an event ended, if it has and the event does not come of that."""
        if self.pipelines.outlives(event.pipeline, event.type):
            return None
        return self.resources.journal(event.run).find(END)

    def _over(self, step: Step, end: bytes) -> Outcome:
        """The run has ended: by this very call, which was not recorded any more, or by another."""
        event = from_json(end, self.pipelines.types)
        mine = event.source == OWN_SOURCE + step.function.name and event.iteration == step.event.iteration
        if mine:
            return Outcome(Verdict.EMIT, (event,), function=step.function.name)
        return Outcome(Verdict.DROP, function=step.function.name)

    def _again(self, step: Step, record: Record) -> Outcome:
        """The call was made before, and its outcome is the recorded one."""
        event, name = step.event, step.function.name
        journal = self.resources.journal(event.run)
        if record.cause not in ("", event.call) and not isinstance(event.data, RunSubmitted):
            return self._other(step, record)
        events = self._events(record)
        if self._continued(journal, events):
            return Outcome(Verdict.DROP, function=name)
        age = self.resources.clock.now() - max((event.time for event in events), default=0.0)
        hurry = event.call in self._unpublished
        if events and not hurry and abs(age) < self.settings.patience:  # beyond: clocks that disagree
            reason = "this outcome was recorded just now and is being emitted"
            return Outcome(Verdict.RETRY, delay=self.settings.patience, reason=reason, function=name)
        return Outcome(Verdict.EMIT, events, function=name)

    def _other(self, step: Step, record: Record) -> Outcome:
        """The call was made for another event."""
        if (end := self._end(step.event)) is not None:
            return self._over(step, end)
        part = "" if step.event.shards == 1 else f", shard {step.event.shard} of {step.event.shards}"
        raise ConflictError(
            f"{step.function.name} was called in iteration {step.event.iteration}{part} for {record.cause} already, "
            f"and this is {step.event.call}",
            run=step.event.run,
            hint="return bodies of one type from one call, then each is a shard; or give them other iterations",
        )

    def _events(self, record: Record) -> tuple[Event[Any], ...]:
        return tuple(from_json(bytes(raw), self.pipelines.types) for raw in record.events)

    def _continued(self, journal: Journal, events: Iterable[Event[Any]], proven: bool = True) -> bool:
        """Whether every event was taken up by the step it was meant for. Terminal events never are.

        :param proven: and is known to be safe.
        """
        for event in events:
            takers = list(self.pipelines.recorders(event.pipeline, event.type))
            keys = [
                step_key(event.iteration + later, taker.name, event.shard, event.shards)
                for taker, later in takers
            ]
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


def _name(step: Step) -> tuple[str, str]:
    return step.function.name, step.event.call


def _own(event: Event[Any]) -> bool:
    """Whether a function emitted it; its id is then the digest of its content."""
    return event.source.startswith(OWN_SOURCE)
