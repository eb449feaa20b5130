"""optimize: objective.evaluated → parameters.proposed, or run.completed."""

from __future__ import annotations

import msgspec

from varloop import optimizers
from varloop.app import App
from varloop.context import Context
from varloop.events import Event, ObjectiveEvaluated, ParametersProposed, RunCompleted
from varloop.loop import Loop, advance, report

app = App()


@app.function(on=ObjectiveEvaluated, emits=(ParametersProposed, RunCompleted))
def optimize(event: Event[ObjectiveEvaluated], ctx: Context) -> ParametersProposed | RunCompleted:
    """Tell the optimizer what was measured; go on within the budget, or end with the best point."""
    spec = ctx.spec
    loop = msgspec.convert(ctx.recall(event.data.memo), Loop)
    optimizer = optimizers.create(spec.optimizer, spec.seed)
    ctx.progress(report(loop, event.data, event.iteration))
    loop, step = advance(loop, event.data, optimizer, spec.budget, ctx.clock.now())
    memo = ctx.remember(loop)
    if isinstance(step, RunCompleted):
        return step
    return ParametersProposed(
        template=loop.template,
        points=step.points,
        gradient=loop.gradient if step.gradient else "none",
        memo=memo,
    )
