"""A run as an application holds it: to watch, to wait for, to end."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from varloop.client.notebook import Progress, progress
from varloop.errors import RunEnded, RunTimeout, UsageError
from varloop.events import (
    Body,
    CancelRequested,
    Event,
    RunCancelled,
    RunCompleted,
    RunFailed,
    StopRequested,
    Terminal,
)
from varloop.runs import History, Iteration, RunState, StoredRun
from varloop.spec import Budget
from varloop.support.clock import Clock

if TYPE_CHECKING:
    from varloop.client import Client

__all__ = ["SOURCE", "Known", "Run", "cancellation", "stopping"]

SOURCE = "app/varloop-python"


class Known(Protocol):
    """What is known about one run, wherever that is. Looks anew at each question."""

    def pipeline(self) -> str:
        """Its pipeline.

        :raises UnknownRun: if there is no such run.
        """

    def state(self) -> RunState:
        """Where it stands."""

    def ending(self) -> Event[Any] | None:
        """The event that ended it, or None."""

    def history(self) -> History:
        """All finished iterations, oldest first."""

    def find_iteration(self, iteration: int) -> Iteration | None:
        """One iteration, or None if it is not finished."""

    def pending(self) -> list[Event[Any]]:
        """The events that it may wait for: publish them again to resume it."""


class Run:
    """A run, here or elsewhere."""

    def __init__(self, client: Client, id: str) -> None:
        self.client = client
        self.id = id
        self.stored = client.known(id)
        """what is known about it"""

    def watch(self, timeout: float | None = None) -> Iterator[Event[Any]]:
        """The run's events from now on, until it ends. A store that is away for a while is waited for.

        :param timeout: seconds, looked at between two events; None waits for ever.
        :raises RunEnded: if the run stops without an end.
        :raises RunTimeout: if it has not ended in time.
        """
        clock = self.client.clock
        limit = None if timeout is None else clock.now() + timeout
        for found in self.client.events(self.id):
            if found is not None:
                event = self.client.whole(found)
                yield event
                if isinstance(event.data, Terminal):
                    return
            if limit is not None and clock.now() >= limit:
                raise RunTimeout(
                    f"it has not ended within {timeout:g} s", run=self.id, hint="wait again, or cancel() it"
                )
        if (end := self.stored.ending()) is not None:
            yield end  # another process ended it
            return
        raise RunEnded(
            "the run stopped before its end" + self.client.why(self.id),
            run=self.id,
            hint=f"varloop resume {self.id}, or resume() in Python; varloop watch {self.id} if another process has it",
        )

    def iterations(self, timeout: float | None = None) -> Iterator[Iteration]:
        """The run's iterations from its first, those that are finished and then each as it is finished.

        Takes and raises what :meth:`watch` does.
        """
        last = -1
        for iteration in self.stored.history():
            last = iteration.iteration
            yield iteration
        if self.stored.ending() is not None:
            return
        for event in self.watch(timeout):
            advances = type(event.data).advances
            if not advances and not isinstance(event.data, Terminal):
                continue
            finished = self.stored.find_iteration(event.iteration - advances)
            if finished is not None and finished.iteration > last:
                last = finished.iteration
                yield finished

    def result(
        self, timeout: float | None = None, *, each: Callable[[Iteration], object] | None = None
    ) -> RunCompleted:
        """The result, when it is there.

        :param timeout: seconds to wait; None waits for ever.
        :param each: called with each finished iteration, from the first. What it raises is raised here, and the
            run can be waited for again.
        :raises RunEnded: if the run failed, was cancelled or stopped.
        :raises RunTimeout: if it has not ended in time.
        """
        end = self.stored.ending()
        shown = None if end else progress(self.id, self._repr_html_, self.client.clock)
        if each or shown:
            self._tell(timeout, each, shown)
            end = self.stored.ending()
        for event in [] if end else self.watch(timeout):
            end = event
        match end.data if end else None:
            case RunCompleted() as result:
                return result
            case RunFailed() as failed:
                raise RunEnded(
                    f"{failed.error} in {failed.function}: {failed.detail}",
                    run=self.id,
                    hint=failed.hint,
                    faults=failed.faults,
                )
            case RunCancelled(reason=reason):
                raise RunEnded(f"cancelled{': ' if reason else ''}{reason}", run=self.id)
            case other:
                raise AssertionError(other)

    def _tell(
        self, timeout: float | None, each: Callable[[Iteration], object] | None, shown: Progress | None
    ) -> None:
        """Tell of each finished iteration."""
        try:
            for iteration in self.iterations(timeout):
                if shown is not None:
                    shown.show(iteration)
                if each is not None:
                    each(iteration)
        finally:
            if shown is not None:
                shown.close()

    def state(self) -> RunState:
        """Where the run stands."""
        return self.stored.state()

    def history(self) -> History:
        """All finished iterations."""
        return self.stored.history()

    def outcomes(self, most: int = 64) -> dict[str, dict[str, float]]:
        """How often each outcome came at the result's parameters: see :meth:`varloop.runs.StoredRun.outcomes`.

        :raises UsageError: if the client has no store to read them from.
        """
        return self._with_store("tell its outcomes").outcomes(most)

    def cancel(self, reason: str = "") -> None:
        """Ask for the run's end; its next job is not started, and there is no result."""
        self.client.publish(cancellation(self.id, reason, self.stored.pipeline(), self.client.clock))

    def stop(self) -> Run:
        """Ask for the run's end with its result, as if its budget were used up; :meth:`result` waits for it.

        What was reached is kept: an iteration under way is finished, one more may be, and then the final measurement
        is made.
        """
        self.client.publish(stopping(self.id, self.stored.pipeline(), self.client.clock))
        return self

    def extend(self, budget: Budget | int, *, run: str = "") -> Run:
        """A new run that goes on where this one ended, with its optimizer as it was left, and a budget of its own.

        :param budget: iterations, or a Budget, of the new run alone.
        :param run: its id; a new one by default.
        :raises UsageError: if the client has no store to read this run's spec from.
        """
        submitted = self._with_store("extend it").submitted()
        limits = {"iterations": budget} if isinstance(budget, int) else msgspec.to_builtins(budget)
        spec = {**submitted.data.spec, "budget": limits, "initial": {"run": self.id, "optimizer": True}}
        return self.client.submit(spec, run=run, pipeline=submitted.pipeline)

    def resume(self) -> Run:
        """Set a stopped run going again, where it stopped. Harmless if it runs or has ended."""
        self.client.publish(*self.stored.pending())
        return self

    def _with_store(self, what: str) -> StoredRun:
        if not isinstance(self.stored, StoredRun):
            raise UsageError(f"only a client with the run's store can {what}", run=self.id)
        return self.stored

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    def _repr_html_(self) -> str:
        """The run at a glance, for a notebook."""
        from varloop.report.card import card

        return card(self.state(), self.history())


def cancellation(run: str, reason: str, pipeline: str, clock: Clock) -> Event[Any]:
    """The event that asks for a run's end without a result."""
    return _request(str(uuid.uuid4()), run, CancelRequested(reason=reason), pipeline, clock)


def stopping(run: str, pipeline: str, clock: Clock) -> Event[Any]:
    """The event that asks for a run's end with its result. Asking twice is asking once."""
    return _request(f"stop-{run}", run, StopRequested(), pipeline, clock)


def _request(id: str, run: str, body: Body, pipeline: str, clock: Clock) -> Event[Any]:
    time = round(clock.now(), 6)
    return Event(id=id, source=SOURCE, run=run, data=body, time=time, pipeline=pipeline)
