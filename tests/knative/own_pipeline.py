"""A pipeline with a step of its own: the default one's objective, shifted."""

import msgspec

from varloop import App, Context, Event
from varloop.events import CircuitExecuted, ObjectiveEvaluated
from varloop.objective import evaluate

app = App("shifted")


@app.function(on=CircuitExecuted, emits=ObjectiveEvaluated)
def postprocess(event: Event[CircuitExecuted], ctx: Context) -> ObjectiveEvaluated:
    """Every value is 100 higher."""
    spec = ctx.spec
    template = ctx.templates.get(event.data.request.template, spec, ctx.backends.get(spec.backend))
    found = evaluate(event.data, template, spec, ctx.seed)
    values = [value + 100 for value in found.evaluation.values]
    return msgspec.structs.replace(found, evaluation=msgspec.structs.replace(found.evaluation, values=values))
