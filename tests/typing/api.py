"""What users may rely on, as a program that is never run: a type checker has to accept it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_type

import varloop
from varloop.errors import SpecError, TemporaryError
from varloop.events import Body, Event, ObjectiveEvaluated, RunCompleted, Solution
from varloop.spec import digest, parse
from varloop.store import Store, open_store
from varloop.testing import Trial, trial


def applications(bell: varloop.CircuitSpec) -> None:
    """A run is submitted by keywords, watched, and ends in a result."""
    run = varloop.submit(observable=[("ZZ", 1.0)], circuit=bell, optimizer="spsa", shots=100, budget=5)
    assert_type(run, varloop.Run)
    assert_type(run.watch(), Iterator[Event[Any]])
    result = run.result()
    assert_type(result, RunCompleted)
    assert_type(result.value, float)
    assert_type(result.parameters, list[float])
    assert_type(result.solution, Solution | None)
    run.cancel("seen enough")


def functions(app: varloop.App) -> None:
    """A function keeps its own type when it is registered."""

    @app.function(on=ObjectiveEvaluated, emits=Mark)
    def mark(event: Event[ObjectiveEvaluated], ctx: varloop.Context) -> Mark:
        assert_type(event.data.evaluation.values, list[float])
        assert_type(ctx.spec, varloop.RunSpec)
        return Mark(note=event.run)

    assert_type(mark(*called_with()), Mark)


class Mark(Body, frozen=True, kw_only=True):
    """An event of one's own."""

    type = "com.example.mark"
    note: str


def called_with() -> tuple[Event[ObjectiveEvaluated], varloop.Context]:
    """What a host calls a function with."""
    raise NotImplementedError


def tests(spec: varloop.RunSpec) -> None:
    """A trial of a run takes faults by keyword."""
    assert_type(trial(spec, twice=True, crash_at=3), Trial)


def specs(data: object) -> None:
    """A spec is parsed from anything and is typed afterwards."""
    spec = parse(data)
    assert_type(spec, varloop.RunSpec)
    assert_type(spec.budget.iterations, int)
    assert_type(spec.shots, int | None)
    assert_type(digest(spec), str)


def stores() -> None:
    """A store gives bytes for a key."""
    store = open_store("memory:")
    assert_type(store, Store)
    assert_type(store.get("key"), bytes)
    assert_type(store.find("key"), bytes | None)
    assert_type(store.create("key", b""), bool)


def errors(error: varloop.VarloopError) -> None:
    """What an error carries depends on its class."""
    assert_type(error.hint, str)
    if isinstance(error, TemporaryError):
        assert_type(error.retry_after, float)
    if isinstance(error, SpecError):
        assert_type(error.faults, tuple[str, ...])
        as_permanent: varloop.PermanentError = error
        assert_type(as_permanent.run, str)
