"""optimize: objective.evaluated, request.skipped → parameters.proposed, or run.completed."""

from __future__ import annotations

from typing import Any

import msgspec

from varloop import optimizers
from varloop.app import App
from varloop.context import Context
from varloop.errors import TemporaryError
from varloop.events import Event, ObjectiveEvaluated, ParametersProposed, RequestSkipped, RunCompleted
from varloop.loop import Loop, advance, report, skip
from varloop.store.layout import step_key

app = App()


@app.function(on=(ObjectiveEvaluated, RequestSkipped), emits=(ParametersProposed, RunCompleted))
def optimize(event: Event[Any], ctx: Context) -> ParametersProposed | RunCompleted:
    """Tell the optimizer what was measured; go on within the budget, or end with the best point."""
    spec, body = ctx.spec, event.data
    optimizer = optimizers.create(spec.optimizer, spec.seed)
    if isinstance(body, RequestSkipped):
        loop, step = skip(latest(ctx), optimizer, spec.budget, body.reason)
    else:
        loop = msgspec.convert(ctx.recall(body.memo), Loop)
        ctx.progress(report(loop, body, event.iteration))
        loop, step = advance(loop, body, optimizer, spec.budget, ctx.clock.now())
    memo = ctx.remember(loop)
    if isinstance(step, RunCompleted):
        return step
    return ParametersProposed(
        template=loop.template,
        points=step.points,
        gradient=loop.gradient if step.gradient else "none",
        memo=memo,
        deadline=loop.deadline,
        solution=loop.solution.bits if loop.stopping and loop.solution else "",
    )


def latest(ctx: Context) -> Loop:
    """The loop as it was when it made the request that was skipped.

    :raises TemporaryError: if it has not made it yet.
    """
    before = ctx.iteration - 1
    memory = ctx.journal.remembered(step_key(before, "optimize") if ctx.iteration else step_key(0, "encode"))
    if memory is None:
        raise TemporaryError(f"iteration {before} is under way", run=ctx.run)
    return msgspec.convert(memory, Loop)
