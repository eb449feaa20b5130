"""The application's side: submit runs, follow them, take their results."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from varloop.app import DEFAULT, App
from varloop.client.builder import checked, plain, spec_data
from varloop.client.run import SOURCE, Known, Run
from varloop.context import Resources
from varloop.errors import UsageError
from varloop.events import Event, RunSubmitted
from varloop.runs import StoredRun
from varloop.runs.follow import ITERATION, LOOK, looks
from varloop.spec import Budget, CircuitSpec, Gradient, Mitigation, OptimizerSpec, Problem, RunSpec, parse
from varloop.store import Store, default_store, open_store
from varloop.support.clock import Clock
from varloop.wire.codec import RUN_ID, from_json

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp

    from varloop.host.embedded import EmbeddedHost

__all__ = ["Client", "EmbeddedClient", "Run", "StoreClient", "embedded", "submit"]

QUIET = 10.0
"""seconds without news after which a process that was overtaken goes on with a run itself"""


class Client(ABC):
    """Where runs are submitted: a way to publish, a way to listen, a way to ask."""

    def __init__(self, clock: Clock, ids: Callable[[], str] = lambda: uuid.uuid4().hex[:12]) -> None:
        self.clock = clock
        self._ids = ids

    def submit(self, spec: RunSpec | dict[str, Any], *, run: str = "", pipeline: App | str = DEFAULT) -> Run:
        """Publish ``run.submitted``.

        :param run: the run's id; a new one by default. The same id and spec again is the same run: if it was killed,
            it goes on where it stopped.
        :raises ConflictError: if the id belongs to another spec.
        :raises UsageError: if it cannot be an id.
        :raises SpecError: with every fault of a spec that varloop's own steps are to take.
        """
        name = _pipeline(pipeline)
        if self.takes_specs(name):
            spec = checked(spec)
        event = submission(spec, run or self._ids(), name, self.clock)
        self.begin(event)
        return Run(self, event.run)

    def run(self, id: str) -> Run:
        """A run that was submitted before.

        :raises UnknownRun: if there is no such run.
        """
        self.known(_run_id(id)).pipeline()
        return Run(self, id)

    def takes_specs(self, pipeline: str) -> bool:
        """Whether what a pipeline takes is for varloop's own first step, whose checks can be made here."""
        return pipeline == DEFAULT

    @abstractmethod
    def begin(self, submitted: Event[Any]) -> None:
        """Publish a submission."""

    @abstractmethod
    def publish(self, *events: Event[Any]) -> None:
        """Publish events."""

    @abstractmethod
    def events(self, run: str) -> Iterator[Event[Any] | None]:
        """The events of a run as they happen, and None while there is none; ends when nothing more will come."""

    @abstractmethod
    def known(self, run: str) -> Known:
        """What is known about a run."""

    def whole(self, event: Event[Any]) -> Event[Any]:
        """An event with its body in it, where that can be had."""
        return event

    def why(self, run: str) -> str:
        """What is known about a run that stopped, to be appended to a message."""
        return ""


class StoreClient(Client):
    """Shares a store with the functions."""

    def __init__(self, resources: Resources, **options: Any) -> None:
        super().__init__(resources.clock, **options)
        self.resources = resources

    def begin(self, submitted: Event[Any]) -> None:
        event = self.resources.register(submitted)
        self.publish(*self.known(event.run).pending())  # its submission, if it is new

    def known(self, run: str) -> StoredRun:
        return StoredRun(self.resources, run)

    def whole(self, event: Event[Any]) -> Event[Any]:
        return self.resources.claims.whole(event)

    def recorded(self, run: str, *, since: int = 0) -> Iterator[Event[Any] | None]:
        """The events that others record of a run, up to its end; None at each look at the store without any."""
        for news in looks(self.resources, run, since=since):
            events = [from_json(each.data, self.resources.types) for each in news if each.kind != ITERATION]
            yield from events
            if not events:
                yield None


class EmbeddedClient(StoreClient):
    """Runs everything in this process, driven by whoever watches a run or waits for its result."""

    def __init__(self, host: EmbeddedHost, **options: Any) -> None:
        super().__init__(host.resources, **options)
        self.host = host

    def submit(self, spec: RunSpec | dict[str, Any], *, run: str = "", pipeline: App | str = DEFAULT) -> Run:
        name = _pipeline(pipeline)
        if absence := self.host.pipelines.absence(name):
            raise UsageError(absence, hint="give its App too (--app FILE on the command line)")
        return super().submit(spec, run=run, pipeline=name)

    def takes_specs(self, pipeline: str) -> bool:
        return self.host.pipelines.takes_specs(pipeline)

    def publish(self, *events: Event[Any]) -> None:
        for event in events:
            self.host.publish(event)

    def events(self, run: str) -> Iterator[Event[Any] | None]:
        """The run's events as this process delivers them; while another process is ahead, as that one records them."""
        at = 0
        while True:
            for event in self.host.run():
                yield event if event.run == run else None
                at = max(at, event.iteration if event.run == run else 0)
            if run not in self.host.overtaken:
                return
            news = False
            for found in self._elsewhere(run, at):
                news = news or found is not None
                yield found
            if not news or not (pending := StoredRun(self.resources, run).pending()):
                return
            self.publish(*pending)  # the other one has stopped

    def _elsewhere(self, run: str, since: int) -> Iterator[Event[Any] | None]:
        """What another process records of a run, until it ends or nothing comes for ``QUIET`` seconds."""
        quiet = 0.0
        for event in self.recorded(run, since=since):
            yield event
            quiet = 0.0 if event is not None else quiet + LOOK
            if quiet >= QUIET:
                return

    def why(self, run: str) -> str:
        letters = [letter for letter in self.host.dead_letters if letter.event and letter.event.run == run]
        if letters:
            return f": {letters[-1].reason}"
        calls = [*StoredRun(self.resources, run).calls(), *self.host.invoker.timeline.of(run)]
        if not calls:
            return ""
        return f": {calls[-1].function} was called last, in iteration {calls[-1].iteration}; did it return an event?"


def submission(spec: RunSpec | dict[str, Any], run: str, pipeline: str, clock: Clock) -> Event[Any]:
    """The event that asks for a run.

    :raises UsageError: if the run's id cannot be one, or the spec holds what is no plain data.
    """
    data = RunSubmitted(spec=plain(spec, "spec"))
    time = round(clock.now(), 6)
    return Event(id=_run_id(run), source=SOURCE, run=run, data=data, time=time, pipeline=pipeline)


def _pipeline(given: App | str) -> str:
    return given.pipeline if isinstance(given, App) else given


def _run_id(id: str) -> str:
    if not RUN_ID.fullmatch(id):
        raise UsageError(f"{id[:120]!r} is not a run id", hint=f"it must match {RUN_ID.pattern}")
    return id


def embedded(store: Store | str | PathLike[str] | None = None, apps: Iterable[App] = ()) -> EmbeddedClient:
    """A client whose functions run in this process: the installed ones and those of your own apps.

    :param store: where runs lie, or its URL; that of the command line by default (``VARLOOP_STORE``, or the folder
        ``.varloop`` here), so that each finds what the other ran. ``memory:`` keeps nothing.
    """
    from varloop.host import load_pipelines
    from varloop.host.embedded import EmbeddedHost

    pipelines = load_pipelines(apps)
    place = store if isinstance(store, Store) else open_store(default_store() if store is None else store)
    return EmbeddedClient(EmbeddedHost(pipelines, Resources(place, types=pipelines.types)))


def submit(
    *,
    circuit: QuantumCircuit | CircuitSpec | str | PathLike[str] | None = None,
    observable: SparsePauliOp | Sequence[tuple[str, complex]] | None = None,
    problem: Problem | Any | None = None,
    optimizer: str | OptimizerSpec = "spsa",
    backend: str = "aer",
    shots: int | None = None,
    seed: int = 0,
    budget: Budget | int = 100,
    initial: Iterable[float] | dict[str, Any] | None = None,
    gradient: Gradient = "auto",
    mitigation: Mitigation = "none",
    optimization_level: int = 2,
    store: Store | str | PathLike[str] | None = None,
    pipeline: App | str = DEFAULT,
    run: str = "",
) -> Run:
    """Submit a run to this very process: minimise ⟨observable⟩, or the cost of a binary problem.

        run = varloop.submit(circuit=ansatz, observable=hamiltonian, shots=1024, seed=7, budget=60)
        result = run.result()
        print(result.value, "±", result.error, "at", result.parameters)

    It makes progress while its :meth:`Run.watch` is iterated or its :meth:`Run.result` is waited for.

    :param circuit: the ansatz: any circuit of Qiskit's with at least one free parameter; measurements at its end
        are removed. Or the name of a file of OpenQASM that ends in ``.qasm``. A binary problem may do without: QAOA.
        One that was compiled for a device already is compiled again, without the qubits that it leaves idle; its
        observable is that of the circuit before, or had ``apply_layout``.
    :param observable: a Hermitian SparsePauliOp, or pairs of Pauli label and real coefficient; the rightmost letter
        acts on qubit 0, as in Qiskit. Short for ``problem=varloop.Energy(…)``.
    :param problem: Energy, MaxCut, Qubo or Ising; give this or an observable. A networkx graph stands for
        :meth:`MaxCut.of <varloop.spec.MaxCut.of>` it, a QuadraticProgram of qiskit-optimization for
        :meth:`Ising.of <varloop.spec.Ising.of>` it.
    :param optimizer: spsa, adam, gradient-descent, rotosolve, cobyla or l-bfgs-b (:mod:`varloop.optimizers` says
        which is for what), or an OptimizerSpec with options of its own.
    :param backend: aer, or aer:fake_NAME (fake_torino, …): a device simulated with its noise.
    :param shots: of each circuit; None is exact, without any sampling error.
    :param seed: of everything random: the same arguments give the same result, bit for bit.
    :param budget: iterations, or a Budget of iterations, shots, deadline (seconds) and tolerance.
    :param initial: first parameters in the order of ``circuit.parameters``, radians; None draws them from the seed,
        normal around 0 with a standard deviation of 0.1. ``{"run": ID}`` takes those of another run that has ended.
    :param gradient: parameter-shift, finite-difference or spsa, for optimizers that need one; auto takes
        parameter-shift where every gate has a rule, else finite-difference.
    :param mitigation: readout undoes misread qubits in expectation values; needs shots.
    :param optimization_level: of Qiskit's transpiler, 0–3.
    :param store: where its journal lies, so that any process can resume, report and list it: a folder or another store;
        the command line's by default (``VARLOOP_STORE``, or the folder ``.varloop`` here). ``memory:`` keeps nothing.
    :param pipeline: an app of your own, or the name of a pipeline.
    :param run: its id; a new one by default. The same id and arguments again are the same run: a script that was killed
        and is started again goes on where it stopped.
    :raises UsageError: if an argument is of a kind that no spec can hold.
    :raises SpecError: with every fault of the spec; nothing is submitted. What only a pipeline of your own can find
        ends the run, and :meth:`Run.result` raises RunEnded with it.
    :raises ConflictError: if the store has a run of this id with another spec.
    """
    data = spec_data(
        circuit=circuit,
        observable=observable,
        problem=problem,
        optimizer=optimizer,
        backend=backend,
        shots=shots,
        seed=seed,
        budget=budget,
        initial=initial,
        gradient=gradient,
        mitigation=mitigation,
        optimization_level=optimization_level,
    )
    client = embedded(store, [pipeline] if isinstance(pipeline, App) else [])
    spec = data if client.takes_specs(_pipeline(pipeline)) else parse(data)
    return client.submit(spec, run=run, pipeline=pipeline)
