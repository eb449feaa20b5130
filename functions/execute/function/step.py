"""execute: circuit.encoded, parameters.proposed → circuit.executed; run.cancel.requested → run.cancelled."""

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
    RunCancelled,
)
from varloop.journal import Record, write_record
from varloop.quantum.gradients import plan
from varloop.store.layout import function_of, iteration_of, step_key

app = App()

LOOKAHEAD = 100
"""iterations a run may get ahead while it is being cancelled"""


@app.function(on=(CircuitEncoded, ParametersProposed), emits=CircuitExecuted)
def execute(event: Event[Request], ctx: Context) -> CircuitExecuted:
    """Run all points, gradient shifts and measurement bases of the iteration as one job."""
    request, spec = event.data, ctx.spec
    backend = ctx.backends.get(spec.backend)
    template = ctx.templates.get(request.template, spec, backend)
    rows = plan(template.angles, request.points, request.gradient, ctx.seed).rows
    calibrate = spec.mitigation == "readout" and ctx.iteration == 0
    known = None if calibrate else calibration(ctx)  # before the job: a store that is away shall not cost one
    started = ctx.clock.now()
    measured = backend.run(template, rows, shots=spec.shots, seed=ctx.seed, calibrate=calibrate)
    if measured.readout is not None:
        ctx.remember(measured.readout)
    return CircuitExecuted(
        request=Request(
            template=request.template, points=request.points, gradient=request.gradient, memo=request.memo
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
    started = [iteration_of(key) for key in ctx.journal.keys() if function_of(key) == "execute"]
    first = max(started, default=-1) + 1
    for iteration in range(first, first + LOOKAHEAD):
        if ctx.journal.block(step_key(iteration, "execute"), write_record(Record())):
            break
    return RunCancelled(reason=event.data.reason)
