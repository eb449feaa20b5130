"""A whole pipeline without circuits, for tests of what surrounds the functions: fast, and slow when told.

``f(x, y) = -cos(x) - cos(y) / 2``, sampled with a standard error if the spec has shots; each iteration takes a
step downhill. The optimizer's option ``seconds`` makes each job take that long.
"""

from __future__ import annotations

import math
import time
from typing import Any

import msgspec

from varloop.app import App
from varloop.context import Context
from varloop.errors import PermanentError
from varloop.evaluation import Evaluation
from varloop.events import (
    CircuitEncoded,
    CircuitExecuted,
    Event,
    Job,
    Measurement,
    ObjectiveEvaluated,
    ParametersProposed,
    Request,
    RunCompleted,
    RunSubmitted,
)
from varloop.loop import Cost, Loop, advance, report
from varloop.optimizers import Ask

app = App("toy")

SPEC: dict[str, Any] = {
    "problem": {"kind": "energy", "observable": [["ZI", -1.0], ["IZ", -0.5]]},
    "circuit": {"library": "real_amplitudes", "options": {"num_qubits": 2}},
    "optimizer": {"name": "spsa"},
    "initial": [2.0, 1.5],
    "budget": {"iterations": 6},
}
MINIMUM = -1.5


class Downhill:
    """Steps along the known gradient."""

    def ask(self, state: dict[str, Any]) -> Ask:
        """One point."""
        return Ask([state["x"]], False)

    def tell(self, state: dict[str, Any], evaluation: Evaluation) -> dict[str, Any]:
        """A step downhill."""
        x, y = state["x"]
        return {"x": [x - 0.6 * math.sin(x), y - 0.6 * math.sin(y)]}

    def best(self, state: dict[str, Any]) -> list[float]:
        """The next point."""
        point: list[float] = state["x"]
        return point


@app.function(on=RunSubmitted, emits=CircuitEncoded)
def encode(event: Event[RunSubmitted], ctx: Context) -> CircuitEncoded:
    """Begin at the spec's first point."""
    spec = ctx.spec
    point = spec.point or [2.0, 1.5]
    loop = Loop(
        optimizer={"x": point}, points=[point], template="toy", gradient="none", cost=Cost(spec.shots or 0, 0)
    )
    return CircuitEncoded(template="toy", points=[point], memo=ctx.remember(loop))


@app.function(on=(CircuitEncoded, ParametersProposed), emits=CircuitExecuted)
def execute(event: Event[Request], ctx: Context) -> CircuitExecuted:
    """Evaluate the function at the points, with the noise of shots."""
    options, shots = ctx.spec.optimizer.options, ctx.spec.shots
    time.sleep(options.get("seconds", 0.0))
    if options.get("broken") == ctx.iteration:
        raise PermanentError("the toy broke as told", hint="do not tell it to")
    noise = ctx.rng.normal(0.0, 1 / math.sqrt(shots)) if shots else 0.0
    request = Request(template="toy", points=event.data.points, memo=event.data.memo)
    rows = len(request.points)
    return CircuitExecuted(
        request=request,
        job=Job(backend="toy", rows=rows, seconds=0.001),
        measurement=Measurement(
            circuits=rows,
            shots=rows * (shots or 0),
            values=[-math.cos(x) - math.cos(y) / 2 + float(noise) for x, y in request.points],
        ),
    )


@app.function(on=CircuitExecuted, emits=ObjectiveEvaluated, pure=True)
def postprocess(event: Event[CircuitExecuted], ctx: Context) -> ObjectiveEvaluated:
    """The values as they are."""
    done, shots = event.data, ctx.spec.shots
    values = done.measurement.values or []
    error = 1 / math.sqrt(shots) if shots else 0.0
    return ObjectiveEvaluated(
        memo=done.request.memo,
        evaluation=Evaluation(values, [error] * len(values)),
        shots=done.measurement.shots,
    )


@app.function(on=ObjectiveEvaluated, emits=(ParametersProposed, RunCompleted))
def optimize(event: Event[ObjectiveEvaluated], ctx: Context) -> ParametersProposed | RunCompleted:
    """Go on as varloop's own step does."""
    loop = msgspec.convert(ctx.recall(event.data.memo), Loop)
    ctx.progress(report(loop, event.data, event.iteration))
    loop, step = advance(loop, event.data, Downhill(), ctx.spec.budget, ctx.clock.now())  # type: ignore[arg-type]
    memo = ctx.remember(loop)
    if isinstance(step, RunCompleted):
        return step
    return ParametersProposed(template="toy", points=step.points, memo=memo)
