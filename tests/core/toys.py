"""A loop without circuits, for tests of what moves the events: it halves the distance of x to 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from varloop.app import DEFAULT, App, Pipelines
from varloop.context import Context, Resources
from varloop.errors import StoreUnavailable
from varloop.evaluation import Evaluation
from varloop.events import (
    CancelRequested,
    CircuitEncoded,
    CircuitExecuted,
    Event,
    Job,
    Measurement,
    ObjectiveEvaluated,
    ParametersProposed,
    Request,
    RunCancelled,
    RunCompleted,
    RunSubmitted,
)
from varloop.host import Invoker, Outcome
from varloop.journal import Record, write_record
from varloop.store import Store
from varloop.store.layout import step_key
from varloop.store.memory import MemoryStore
from varloop.testing import FakeClock

__all__ = ["FlakyStore", "Toy", "cancellation", "deliver", "invoker", "submission"]

Before = Callable[[str, Event[Any]], None]


class Toy:
    """An app with all steps of the loop, which counts its calls.

    :param before: called first in every step, with the step's name and the event; may raise.
    """

    def __init__(
        self, pipeline: str = DEFAULT, *, iterations: int = 3, before: Before = lambda name, event: None
    ) -> None:
        self.app = App(pipeline)
        self.calls: Counter[str] = Counter()
        self.iterations = iterations
        self._before = before
        step = self.app.function
        step(on=RunSubmitted, emits=CircuitEncoded)(self.encode)
        step(on=(CircuitEncoded, ParametersProposed), emits=CircuitExecuted)(self.execute)
        step(on=CircuitExecuted, emits=ObjectiveEvaluated, pure=True)(self.postprocess)
        step(on=ObjectiveEvaluated, emits=(ParametersProposed, RunCompleted))(self.optimize)
        step(on=CancelRequested, emits=RunCancelled)(self.cancel)

    def _called(self, name: str, event: Event[Any]) -> None:
        self.calls[f"{name} {event.run} {event.iteration}"] += 1
        self._before(name, event)

    def encode(self, event: Event[RunSubmitted], ctx: Context) -> CircuitEncoded:
        """Start where the spec says."""
        self._called("encode", event)
        x = float(event.data.spec["start"])
        return CircuitEncoded(template="none", points=[[x]], memo=ctx.remember({"x": x}))

    def execute(self, event: Event[Request], ctx: Context) -> CircuitExecuted:
        """Measure (x − 1)²."""
        self._called("execute", event)
        request = event.data
        return CircuitExecuted(
            request=Request(template=request.template, points=request.points, memo=request.memo),
            job=Job(backend="toy", rows=1),
            measurement=Measurement(circuits=1, shots=1, values=[(x - 1) ** 2 for (x,) in request.points]),
        )

    def postprocess(self, event: Event[CircuitExecuted], ctx: Context) -> ObjectiveEvaluated:
        """Hand the values on."""
        self._called("postprocess", event)
        values = event.data.measurement.values
        assert values is not None
        return ObjectiveEvaluated(memo=event.data.request.memo, evaluation=Evaluation(values, [0.0]))

    def optimize(self, event: Event[ObjectiveEvaluated], ctx: Context) -> ParametersProposed | RunCompleted:
        """Halve the distance, or end."""
        self._called("optimize", event)
        x = (ctx.recall(event.data.memo)["x"] + 1) / 2
        if event.iteration + 1 < self.iterations:
            return ParametersProposed(template="none", points=[[x]], memo=ctx.remember({"x": x}))
        return RunCompleted(
            value=event.data.evaluation.values[0],
            error=0.0,
            parameters=[x],
            iterations=event.iteration + 1,
            shots=0,
            reason="iterations",
        )

    def cancel(self, event: Event[CancelRequested], ctx: Context) -> RunCancelled:
        """End the run and void its next job."""
        self._called("cancel", event)
        for iteration in range(self.iterations):
            if ctx.journal.block(step_key(iteration, "execute"), write_record(Record())):
                break
        return RunCancelled(reason=event.data.reason)


class FlakyStore(MemoryStore):
    """Fails the n-th of its operations, counted from now on.

    :param fails: asked with the number of the operation.
    """

    def __init__(self, fails: Callable[[int], bool]) -> None:
        super().__init__()
        self.fails = fails
        self.operations = 0

    def _operate(self) -> None:
        self.operations += 1
        if self.fails(self.operations):
            raise StoreUnavailable("the store is asleep", retry_after=3.0)

    def _read(self, key: str) -> bytes | None:
        self._operate()
        return super()._read(key)

    def _write(self, key: str, sealed: bytes) -> None:
        self._operate()
        super()._write(key, sealed)

    def _create(self, key: str, sealed: bytes) -> bool:
        self._operate()
        return super()._create(key, sealed)


def invoker(*apps: App, store: Store | None = None, **options: Any) -> Invoker:
    """What a process of its own has: its own caches over a shared store."""
    pipelines = Pipelines(apps)
    place = store if store is not None else MemoryStore()
    resources = Resources(place, FakeClock(), pipelines.types)
    return Invoker(pipelines, resources, host="test", **options)


def submission(
    run: str = "r", *, id: str = "", pipeline: str = DEFAULT, source: str = "app/test", **spec: Any
) -> Event[RunSubmitted]:
    """A run of the toy loop."""
    return Event(
        id=id or run,
        source=source,
        run=run,
        data=RunSubmitted(spec={"start": 3.0, **spec}),
        time=1.0,
        pipeline=pipeline,
    )


def cancellation(run: str = "r", *, id: str = "c", pipeline: str = DEFAULT) -> Event[CancelRequested]:
    """A request to cancel a run."""
    return Event(
        id=id, source="app/test", run=run, data=CancelRequested(reason="enough"), time=1.0, pipeline=pipeline
    )


def deliver(host: Invoker, *events: Event[Any], confirm: bool = True) -> list[tuple[Event[Any], Outcome]]:
    """Deliver events and all that come of them, one at a time, in order; every delivery and its outcome."""
    queue, done = list(events), []
    while queue:
        event = queue.pop(0)
        outcome = host.invoke(event)
        done.append((event, outcome))
        queue += outcome.events
        if confirm:
            host.confirm(event)
    return done
