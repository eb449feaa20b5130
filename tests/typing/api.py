"""The public types as a program that only a type checker runs: what users may rely on."""

from __future__ import annotations

from typing import assert_type

from varloop.errors import PermanentError, SpecError, TemporaryError, VarloopError
from varloop.events import Event, RunCompleted
from varloop.spec import RunSpec, digest, parse
from varloop.store import Store, open_store


def events(completed: Event[RunCompleted]) -> None:
    """An event knows the type of its data."""
    assert_type(completed.data, RunCompleted)
    assert_type(completed.data.parameters, list[float])
    assert_type(completed.type, str)


def specs(data: object) -> None:
    """A spec is parsed from anything and is typed afterwards."""
    spec = parse(data)
    assert_type(spec, RunSpec)
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


def errors(error: VarloopError) -> None:
    """What an error carries depends on its class."""
    assert_type(error.hint, str)
    if isinstance(error, TemporaryError):
        assert_type(error.retry_after, float)
    if isinstance(error, SpecError):
        assert_type(error.faults, tuple[str, ...])
        as_permanent: PermanentError = error
        assert_type(as_permanent.run, str)
