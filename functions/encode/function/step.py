"""encode: run.submitted → circuit.encoded."""

from __future__ import annotations

from functools import partial

from varloop import optimizers
from varloop.app import App
from varloop.context import Context
from varloop.errors import SpecError
from varloop.events import CircuitEncoded, Event, Provenance, RunSubmitted
from varloop.loop import Cost, Loop, opened
from varloop.quantum import check
from varloop.quantum.gradients import choose, plan
from varloop.quantum.problems import parameter_names
from varloop.quantum.templates import Template
from varloop.spec import RunSpec, parse
from varloop.support.versions import versions

app = App()


@app.function(on=RunSubmitted, emits=CircuitEncoded)
def encode(event: Event[RunSubmitted], ctx: Context) -> CircuitEncoded:
    """Check the spec, compile its circuit once, and ask the optimizer for the first points."""
    spec = parse(event.data.spec, optimizers.faults, partial(check.faults, load=ctx.load))
    backend = ctx.backends.get(spec.backend)
    template = ctx.templates.of(spec, backend)
    optimizer = optimizers.create(spec.optimizer, spec.seed)
    state = optimizer.start(first_parameters(spec, template, ctx))
    ask = optimizer.ask(state)
    if ask is None:
        raise SpecError([f"optimizer: {spec.optimizer.name} has nothing to ask for this circuit"])
    gradient = choose(spec, optimizer.needs_gradient, template.angles)
    limit = spec.budget.deadline
    now = ctx.clock.now() if limit else 0.0
    loop = Loop(
        optimizer=state,
        points=ask.points,
        template=template.key,
        gradient=gradient,
        cost=cost(spec, template, gradient, ask.points[0]),
        deadline=limit and now + limit,
        started=now,
    )
    if faults := opened(loop, spec.budget, ask):
        raise SpecError(faults)
    return CircuitEncoded(
        template=template.key,
        points=ask.points,
        gradient=gradient if ask.gradient else "none",
        memo=ctx.remember(loop),
        deadline=loop.deadline,
        names=parameter_names(spec, ctx.load),
        provenance=Provenance(
            versions=versions(), calibration=backend.calibration, device=backend.facts(template)
        ),
    )


def first_parameters(spec: RunSpec, template: Template, ctx: Context) -> list[float]:
    """The spec's, or small ones from its seed, in the circuit's parameter order."""
    if spec.initial is not None:
        return spec.initial
    small: list[float] = ctx.rng.normal(0.0, 0.1, (template.angles.matrix.shape[1],)).tolist()
    return small


def cost(spec: RunSpec, template: Template, gradient: str, point: list[float]) -> Cost:
    """Shots per row, rows of a gradient, and shots of the readout calibration."""
    shots = spec.shots or 0
    rows = len(plan(template.angles, [point], gradient, 0).rows) - 1
    calibration = 2 * shots if spec.mitigation == "readout" else 0
    return Cost(shots * len(template.qpy), rows, calibration)
