"""encode: run.submitted → circuit.encoded."""

from __future__ import annotations

from functools import partial

import msgspec

from varloop import optimizers
from varloop.app import App
from varloop.context import Context
from varloop.errors import PermanentError, SpecError, UnknownRun
from varloop.events import CircuitEncoded, Event, Provenance, RunSubmitted
from varloop.loop import Cost, Loop, start_faults
from varloop.optimizers import Optimizer, State
from varloop.quantum import check
from varloop.quantum.gradients import choose, plan
from varloop.quantum.problems import parameter_names
from varloop.quantum.templates import Template
from varloop.runs import StoredRun
from varloop.spec import FromRun, RunSpec, parse
from varloop.store.layout import function_of, is_step
from varloop.support.versions import versions

app = App()


@app.function(on=RunSubmitted, emits=CircuitEncoded)
def encode(event: Event[RunSubmitted], ctx: Context) -> CircuitEncoded:
    """Check the spec, compile its circuit once, and ask the optimizer for the first points."""
    spec = parse(event.data.spec, optimizers.faults, partial(check.faults, load=ctx.load))
    backend = ctx.backends.get(spec.backend)
    template = ctx.templates.of(spec, backend)
    optimizer = optimizers.create(spec.optimizer, spec.seed)
    state = first_state(spec, optimizer, template, ctx)
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
    if faults := start_faults(loop, spec.budget, ask):
        raise SpecError(faults)
    return CircuitEncoded(
        template=template.key,
        points=ask.points,
        gradient=gradient if ask.gradient else "none",
        memo=ctx.remember(loop),
        deadline=loop.deadline,
        names=parameter_names(spec, ctx.load),
        bases=list(template.bases),
        provenance=Provenance(
            versions=versions(), calibration=backend.calibration, device=backend.facts(template)
        ),
    )


def first_state(spec: RunSpec, optimizer: Optimizer, template: Template, ctx: Context) -> State:
    """The optimizer at the spec's parameters, where another run left it, or at small ones from the seed."""
    count = template.angles.matrix.shape[1]
    if not isinstance(spec.initial, FromRun):
        return optimizer.start(spec.initial or ctx.rng.normal(0.0, 0.1, (count,)).tolist())
    try:
        return left_by(spec.initial, spec, optimizer, count, ctx)
    except (UnknownRun, PermanentError) as error:
        raise SpecError([f"initial.run: {error.detail}"], hint=error.hint) from error


def left_by(source: FromRun, spec: RunSpec, optimizer: Optimizer, count: int, ctx: Context) -> State:
    """The optimizer where another run ended.

    :raises PermanentError: if that run does not fit.
    """
    other = StoredRun(ctx.resources, source.run)
    other.submitted()  # raises if there is no such run
    if len(reached := other.reached()) != count:
        raise PermanentError(f"run {source.run} has {len(reached)} parameters, the circuit has {count}")
    if not source.optimizer:
        return optimizer.start(reached)
    if other.spec().optimizer != spec.optimizer:
        raise PermanentError(f"run {source.run} has another optimizer", hint="leave initial.optimizer out")
    journal = ctx.resources.journal(source.run)
    keys = [key for key in journal.keys() if function_of(key) == "optimize" and is_step(key)]
    memory = journal.remembered(keys[-1]) if keys else None
    if memory is None:
        raise PermanentError(f"run {source.run} has no optimizer to go on with")
    state: State = msgspec.convert(memory, Loop).optimizer
    return state


def cost(spec: RunSpec, template: Template, gradient: str, point: list[float]) -> Cost:
    """Shots per row, rows of a gradient, and shots of the readout calibration."""
    shots = spec.shots or 0
    rows = len(plan(template.angles, [point], gradient, 0).rows) - 1
    calibration = 2 * shots if spec.mitigation == "readout" else 0
    return Cost(shots * len(template.qpy), rows, calibration)
