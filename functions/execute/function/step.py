"""execute: circuit.encoded, parameters.proposed → circuit.executed; run.cancel.requested → run.cancelled.

And run.stop.requested → request.skipped, in the place of a job that was not begun yet.
"""

from __future__ import annotations

import msgspec

from varloop.app import App
from varloop.context import Context
from varloop.events import (
    CancelRequested,
    CircuitEncoded,
    CircuitExecuted,
    Event,
    Job,
    ParametersProposed,
    Readout,
    Request,
    RequestSkipped,
    RunCancelled,
    StopRequested,
)
from varloop.quantum.gradients import plan
from varloop.store.layout import function_of, iteration_of, step_key

app = App()

LOOKAHEAD = 100
"""iterations a run may get ahead while it is being cancelled"""


@app.function(on=(CircuitEncoded, ParametersProposed), emits=(CircuitExecuted, RequestSkipped))
def execute(event: Event[Request], ctx: Context) -> CircuitExecuted | RequestSkipped:
    """Run all points, gradient shifts and measurement bases of the iteration as one job, unless it is too late."""
    request, spec = event.data, ctx.spec
    if request.deadline is not None and ctx.clock.now() >= request.deadline:
        return RequestSkipped(reason="deadline")
    backend = ctx.backends.get(spec.backend)
    template = ctx.templates.get(request.template, spec, backend)
    rows = plan(template.angles, request.points, request.gradient, ctx.seed, exact=template.exact).rows
    calibrate = spec.mitigation == "readout" and ctx.iteration == 0
    known = None if calibrate else calibration(ctx)  # before the job: a store that is away shall not cost one
    started = ctx.clock.now()
    asked = [int(request.solution[::-1], 2)] if request.solution else []
    measured = backend.run(
        template, rows, shots=spec.shots, seed=ctx.seed, calibrate=calibrate, outcomes=asked
    )
    if measured.readout is not None:
        ctx.remember(measured.readout)
    return CircuitExecuted(
        request=Request(
            template=request.template,
            points=request.points,
            gradient=request.gradient,
            memo=request.memo,
            solution=request.solution,
        ),
        job=Job(backend=backend.name, rows=len(rows), seconds=round(ctx.clock.now() - started, 6)),
        measurement=measured if calibrate else msgspec.structs.replace(measured, readout=known),
    )


def calibration(ctx: Context) -> Readout | None:
    """The run's readout calibration: measured in its first job, which remembers it for the others."""
    if ctx.spec.mitigation != "readout":
        return None
    return msgspec.convert(ctx.journal.remembered(step_key(0, "execute")), Readout | None)


@app.function(on=CancelRequested, emits=RunCancelled)
def cancel(event: Event[CancelRequested], ctx: Context) -> RunCancelled:
    """End the run, and void its next job before it starts: an empty record takes that job's place."""
    ctx.submitted  # noqa: B018  raises if there is no such run
    _take_next_job(ctx, 1)
    return RunCancelled(reason=event.data.reason)


@app.function(on=StopRequested)
def stop(event: Event[StopRequested], ctx: Context) -> None:
    """Let the run end well: optimize is told so in the place of the job after the one that may be under way."""
    ctx.submitted  # noqa: B018  raises if there is no such run
    _take_next_job(ctx, 2, RequestSkipped(reason="stopped"))


def _take_next_job(ctx: Context, ahead: int, body: RequestSkipped | None = None) -> None:
    """Take the place of a job that was not begun.

    :param ahead: 1 for the one after the last whose outcome is recorded, 2 for the one after that.
    """
    recorded = [iteration_of(key) for key in ctx.journal.keys() if function_of(key) == "execute"]
    first = max(recorded, default=-1) + ahead
    for iteration in range(first, first + LOOKAHEAD):
        if ctx.take_place(iteration, "execute", body):
            return
