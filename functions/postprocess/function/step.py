"""postprocess: circuit.executed → objective.evaluated."""

from __future__ import annotations

from varloop.app import App
from varloop.context import Context
from varloop.events import CircuitExecuted, Event, ObjectiveEvaluated
from varloop.objective import evaluate

app = App()


@app.function(on=CircuitExecuted, emits=ObjectiveEvaluated, pure=True)
def postprocess(event: Event[CircuitExecuted], ctx: Context) -> ObjectiveEvaluated:
    """The objective at every point with its standard error, and the gradient if it was measured."""
    return evaluate(event.data, ctx.template(event.data.request.template), ctx.spec, ctx.seed)
