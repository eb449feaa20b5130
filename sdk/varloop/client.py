"""The application's side: submit runs, follow them, take their results."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from varloop import runs
from varloop.app import DEFAULT, App
from varloop.codec import RUN_ID
from varloop.context import Resources
from varloop.errors import RunEnded, UsageError
from varloop.events import (
    CancelRequested,
    Event,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunSubmitted,
    Terminal,
)
from varloop.spec import Budget, CircuitSpec, Energy, Gradient, Mitigation, OptimizerSpec, Problem, RunSpec
from varloop.store import Store, open_store

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp

    from varloop.host.embedded import EmbeddedHost

__all__ = ["Client", "EmbeddedClient", "Run", "build_spec", "submit"]

SOURCE = "app/varloop-python"


class Run:
    """A run, here or elsewhere."""

    def __init__(self, client: Client, id: str) -> None:
        self.client = client
        self.id = id

    def watch(self) -> Iterator[Event[Any]]:
        """The run's events from now on, until it ends.

        :raises RunEnded: if the run stops without an end.
        """
        for event in map(self.client.resources.claims.whole, self.client.events(self.id)):
            yield event
            if isinstance(event.data, Terminal):
                return
        if (end := runs.ending(self.client.resources, self.id)) is not None:
            yield end  # another process ended it
            return
        raise RunEnded(
            "the run stopped before its end" + self.client.why(self.id),
            run=self.id,
            hint=f"varloop resume {self.id}",
        )

    def result(self) -> RunCompleted:
        """The result, when it is there.

        :raises RunEnded: if the run failed, was cancelled or stopped.
        """
        end = runs.ending(self.client.resources, self.id)
        for event in [] if end else self.watch():
            end = event
        match end.data if end else None:
            case RunCompleted() as result:
                return result
            case RunFailed() as failed:
                raise RunEnded(
                    f"{failed.error} in {failed.function}: {failed.detail}",
                    run=self.id,
                    hint=failed.hint,
                    faults=failed.faults,
                )
            case RunCancelled(reason=reason):
                raise RunEnded(f"cancelled{': ' if reason else ''}{reason}", run=self.id)
            case other:
                raise AssertionError(other)

    def state(self) -> runs.RunState:
        """Where the run stands."""
        return runs.state(self.client.resources, self.id)

    def history(self) -> list[runs.Iteration]:
        """All finished iterations."""
        return runs.history(self.client.resources, self.id)

    def cancel(self, reason: str = "") -> None:
        """Ask for the run's end; its next job is not started."""
        self.client.publish(
            Event(
                id=str(uuid.uuid4()),
                source=SOURCE,
                run=self.id,
                data=CancelRequested(reason=reason),
                time=self.client.resources.clock.now(),
                pipeline=self.client.resources.submitted(self.id).pipeline,
            )
        )

    def resume(self) -> Run:
        """Set a stopped run going again, where it stopped. Harmless if it runs or has ended."""
        self.client.publish(*runs.pending(self.client.resources, self.id))
        return self

    def __repr__(self) -> str:
        return f"Run({self.id!r})"


class Client(ABC):
    """Where runs are submitted: a way to publish, a way to listen, and the store they share."""

    def __init__(self, resources: Resources, ids: Callable[[], str] = lambda: uuid.uuid4().hex[:12]) -> None:
        self.resources = resources
        self._ids = ids

    def submit(self, spec: RunSpec | dict[str, Any], *, run: str = "", pipeline: App | str = DEFAULT) -> Run:
        """Publish ``run.submitted``.

        :param run: the run's id; a new one by default. The same id and spec again is the same run.
        :raises ConflictError: if the id belongs to another spec.
        :raises UsageError: if it cannot be an id.
        """
        name = _run_id(run or self._ids())
        event: Event[RunSubmitted] = Event(
            id=name,
            source=SOURCE,
            run=name,
            data=RunSubmitted(spec=msgspec.to_builtins(spec, enc_hook=_plain)),
            time=round(self.resources.clock.now(), 6),
            pipeline=pipeline.pipeline if isinstance(pipeline, App) else pipeline,
        )
        event = msgspec.structs.replace(event, data=self.resources.claims.deposit(event.data)[0])
        self.resources.register(event)
        self.publish(event)
        return Run(self, name)

    def run(self, id: str) -> Run:
        """A run that was submitted before.

        :raises EventError: if there is no such run.
        """
        self.resources.submitted(_run_id(id))
        return Run(self, id)

    @abstractmethod
    def publish(self, *events: Event[Any]) -> None:
        """Publish events."""

    @abstractmethod
    def events(self, run: str) -> Iterator[Event[Any]]:
        """The events of a run as they happen; ends when nothing more will come."""

    def why(self, run: str) -> str:
        """What is known about a run that stopped, to be appended to a message."""
        return ""


class EmbeddedClient(Client):
    """Runs everything in this process, driven by whoever watches a run or waits for its result."""

    def __init__(self, host: EmbeddedHost, **options: Any) -> None:
        super().__init__(host.resources, **options)
        self.host = host

    def publish(self, *events: Event[Any]) -> None:
        for event in events:
            self.host.publish(event)

    def events(self, run: str) -> Iterator[Event[Any]]:
        return (event for event in self.host.run() if event.run == run)

    def why(self, run: str) -> str:
        letters = [letter for letter in self.host.dead_letters if letter.event and letter.event.run == run]
        return f": {letters[-1].reason}" if letters else ""


def _run_id(id: str) -> str:
    if not RUN_ID.fullmatch(id):
        raise UsageError(f"{id[:120]!r} is not a run id", hint=f"it must match {RUN_ID.pattern}")
    return id


def embedded(store: Store | str = "memory:", apps: Iterable[App] = ()) -> EmbeddedClient:
    """A client whose functions run in this process: the installed ones and those of your own apps."""
    from varloop.host import load_pipelines
    from varloop.host.embedded import EmbeddedHost

    pipelines = load_pipelines(apps)
    place = open_store(store) if isinstance(store, str) else store
    return EmbeddedClient(EmbeddedHost(pipelines, Resources(place, types=pipelines.types)))


def build_spec(
    *,
    circuit: QuantumCircuit | CircuitSpec | None = None,
    observable: SparsePauliOp | list[tuple[str, float]] | None = None,
    problem: Problem | None = None,
    optimizer: str | OptimizerSpec = "spsa",
    backend: str = "aer",
    shots: int | None = None,
    seed: int = 0,
    budget: Budget | int = 100,
    initial: Iterable[float] | None = None,
    gradient: Gradient = "auto",
    mitigation: Mitigation = "none",
) -> RunSpec:
    """A run spec from what a Python program has at hand.

    :param circuit: any parametric circuit without measurements; may be left out for QAOA.
    :param observable: what to minimise the expectation value of; short for ``problem=Energy(…)``.
    :param budget: a budget, or just the number of iterations.
    :raises UsageError: if not exactly one of observable and problem is given.
    """
    if (observable is None) == (problem is None):
        raise UsageError("give either an observable or a problem")
    if circuit is not None and not isinstance(circuit, CircuitSpec):
        from varloop.quantum.circuits import spec_of

        circuit = spec_of(circuit)
    if observable is not None:
        problem = Energy(observable=_terms(observable))
    assert problem is not None  # noqa: S101
    return RunSpec(
        problem=problem,
        circuit=circuit,
        initial=None if initial is None else [float(x) for x in initial],
        optimizer=OptimizerSpec(name=optimizer) if isinstance(optimizer, str) else optimizer,
        backend=backend,
        shots=shots,
        seed=seed,
        gradient=gradient,
        mitigation=mitigation,
        budget=Budget(iterations=budget) if isinstance(budget, int) else budget,
    )


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise UsageError(f"a spec cannot hold a {type(value).__name__}")


def _terms(observable: SparsePauliOp | list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Labels and real coefficients."""
    if isinstance(observable, list):
        return observable
    terms = [(label, complex(coefficient)) for label, coefficient in observable.to_list()]
    if bad := [label for label, coefficient in terms if abs(coefficient.imag) > 1e-12]:
        raise UsageError(f"the observable is not Hermitian: {bad[0]} has a complex coefficient")
    return [(label, coefficient.real) for label, coefficient in terms]


def submit(
    *,
    store: Store | str = "memory:",
    pipeline: App | str = DEFAULT,
    run: str = "",
    **spec: Any,
) -> Run:
    """Submit a run to this very process; see :func:`build_spec` for what defines a run.

    It makes progress while its :meth:`Run.watch` is iterated or its :meth:`Run.result` is waited for.

    :param store: where its journal lies: ``memory:``, or a folder, which lets any process resume it.
    :param pipeline: an app of your own, or the name of a pipeline.
    """
    apps = [pipeline] if isinstance(pipeline, App) else []
    return embedded(store, apps).submit(build_spec(**spec), run=run, pipeline=pipeline)
