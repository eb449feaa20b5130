from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import toy
from core.toys import Toy
from varloop import runs
from varloop.app import App, Pipelines
from varloop.client import EmbeddedClient, Run, embedded, submit
from varloop.client.builder import build_spec
from varloop.context import Context, Resources
from varloop.errors import ConflictError, EventError, RunEnded, RunTimeout, SpecError, UsageError
from varloop.evaluation import Evaluation
from varloop.events import CircuitExecuted, Event, ObjectiveEvaluated, RunCompleted, RunSubmitted
from varloop.host.embedded import EmbeddedHost
from varloop.spec import Budget, CircuitSpec, Energy, Ising, MaxCut, OptimizerSpec, RunSpec
from varloop.store.folder import FolderStore
from varloop.store.memory import MemoryStore
from varloop.testing import FakeClock

CIRCUIT = CircuitSpec(library="real_amplitudes")
RING = MaxCut(edges=[(0, 1, 1.0), (1, 2, 1.0), (2, 0, 1.0)])


def a_client(*apps: App, store: Any = None, **options: Any) -> EmbeddedClient:
    """A client whose functions are the ones given."""
    pipelines = Pipelines(apps)
    resources = Resources(store if store is not None else MemoryStore(), FakeClock(), pipelines.types)
    return EmbeddedClient(EmbeddedHost(pipelines, resources), **options)


# ------------------------------------------------------------------ submitting


def test_a_result_is_waited_for() -> None:
    """Waiting for the result drives the run; asking again costs nothing."""
    toy_app = Toy()
    run = a_client(toy_app.app).submit({"start": 3.0})
    result = run.result()

    assert (result.value, result.iterations) == (0.25, 3)
    calls = dict(toy_app.calls)
    assert run.result() == result
    assert toy_app.calls == calls


def test_ids_are_the_clients() -> None:
    """A run's id is the one given, or a new one from the client's source of ids."""
    client = a_client(Toy().app, ids=iter(["first", "second"]).__next__)

    assert [client.submit({"start": 1.0}).id for _ in range(2)] == ["first", "second"]
    assert client.submit({"start": 1.0}, run="mine").id == "mine"
    assert repr(client.run("mine")) == "Run('mine')"
    assert a_client(Toy().app).submit({"start": 1.0}).id != a_client(Toy().app).submit({"start": 1.0}).id


@pytest.mark.parametrize("id", ["a b", "a/b", "../a", ".hidden", "ä", "x" * 101, "a\n"])
def test_an_id_that_cannot_travel(id: str) -> None:
    """An id that no event could carry is refused before anything is stored."""
    store = MemoryStore()
    client = a_client(Toy().app, store=store)

    with pytest.raises(UsageError, match="is not a run id"):
        client.submit({"start": 1.0}, run=id)
    assert list(store.keys()) == []


def test_an_unknown_run() -> None:
    """A run that was never submitted cannot be watched."""
    with pytest.raises(EventError, match="run ghost: memory: knows no such run"):
        a_client(Toy().app).run("ghost")


@pytest.mark.parametrize("id", ["a b", "../../etc/passwd", ""])
def test_an_id_that_cannot_be(id: str) -> None:
    """Nor can one whose id is no id."""
    with pytest.raises((EventError, UsageError)):
        a_client(Toy().app).run(id)


def test_the_same_spec_again_is_the_same_run() -> None:
    """Submitting a spec twice under one id, as a struct or as plain data, is one run."""
    toy_app = Toy()
    client = a_client(toy_app.app)
    spec = RunSpec(problem=RING, circuit=None)
    client.submit({"start": 3.0, "spec": msgspec.to_builtins(spec)}, run="r")
    client.submit({"start": 3.0, "spec": msgspec.json.decode(msgspec.json.encode(spec))}, run="r").result()

    assert set(toy_app.calls.values()) == {1}


def test_another_spec_is_a_conflict() -> None:
    """Another spec under a taken id is refused at once, and the run goes on."""
    client = a_client(Toy().app)
    run = client.submit({"start": 3.0}, run="r")

    with pytest.raises(ConflictError, match="run r: this run id belongs to another spec"):
        client.submit({"start": 4.0}, run="r")
    assert run.result().value == 0.25


def test_numbers_of_numpy_are_numbers() -> None:
    """A spec may hold NumPy's numbers and arrays; they travel as plain ones."""
    client = a_client(Toy().app)
    run = client.submit({"start": np.float64(3.0), "notes": np.arange(3), "seed": np.int64(5)})

    assert run.result().value == 0.25
    assert client.resources.submitted(run.id).data.spec == {"start": 3.0, "notes": [0, 1, 2], "seed": 5}


def test_what_no_spec_can_hold() -> None:
    """A spec with something that is no plain data says so."""
    with pytest.raises((UsageError, TypeError), match="object"):
        a_client(Toy().app).submit({"start": object()})


# ------------------------------------------------------------------ following


def test_watching_drives_a_run() -> None:
    """Every event of the run is told, from the submission to the end; each makes the next."""
    toy_app = Toy(iterations=1)
    watch = a_client(toy_app.app).submit({"start": 3.0}).watch()

    assert next(watch).type == RunSubmitted.type
    assert not toy_app.calls
    assert [event.type.rpartition(".")[2] for event in watch] == [
        *("encoded", "executed", "evaluated", "completed")
    ]


def test_two_runs_in_one_client() -> None:
    """Runs of one client go on together, and each is told its own events and its end."""
    client = a_client(Toy().app)
    first, second = (client.submit({"start": start}) for start in (3.0, 5.0))

    assert {event.run for event in first.watch()} == {first.id}
    assert [type(event.data) for event in second.watch()][-1] is RunCompleted
    assert (first.result().value, second.result().value) == (0.25, 1.0)


def test_watching_a_run_that_has_ended() -> None:
    """A run that has ended tells its end once more."""
    run = a_client(Toy().app).submit({"start": 3.0})
    result = run.result()

    assert [event.data for event in run.watch()] == [result]


def test_a_run_that_stopped() -> None:
    """If nothing more will come, who waits is told so, with the reason if one is known and what to do."""
    app = App()
    client = a_client(app)
    client.submit({"start": 3.0}, run="r")

    with pytest.raises(
        RunEnded, match=r"run r: the run stopped before its end \(varloop resume r, or resume\(\)"
    ):
        client.run("r").result()

    @app.function(on=RunSubmitted)
    def refuse(event: Event[RunSubmitted], ctx: Context) -> None:
        raise EventError("not mine")

    client = a_client(app)
    with pytest.raises(RunEnded, match="before its end: not mine"):
        client.submit({"start": 3.0}).result()


def test_a_step_that_returns_nothing_is_named() -> None:
    """A run that stops because a step returned no event says which step was called last."""
    mine = App("mine")

    @mine.function(on=CircuitExecuted, emits=ObjectiveEvaluated, pure=True)
    def forgetful(event: Event[CircuitExecuted], ctx: Context) -> None:
        pass

    with pytest.raises(RunEnded, match=r"before its end: forgetful was called last, in iteration 0; did it"):
        a_client(Toy().app, mine).submit({"start": 3.0}, pipeline=mine).result()


def test_a_failed_run() -> None:
    """Who waits for a failed run gets the reason, where it happened, all faults and what to do."""
    run = embedded("memory:", apps=[toy.app]).submit(
        {"problem": 5, "seed": -1, "initial": [2.0, 1.5]}, pipeline="toy"
    )

    with pytest.raises(RunEnded, match="SpecError in encode: the spec has 2 faults") as caught:
        run.result()
    assert caught.value.faults == (
        "problem: got 5, expected an object whose kind is energy, qubo, ising, maxcut",
        "seed: Expected `int` >= 0, got -1",
    )
    assert caught.value.run == run.id
    assert "varloop docs spec" in caught.value.hint


def test_cancelling() -> None:
    """A cancelled run has no result, and says why."""
    toy_app = Toy(iterations=50)
    run = a_client(toy_app.app).submit({"start": 3.0})
    for number, _ in enumerate(run.watch()):
        if number == 10:
            run.cancel("changed my mind")

    with pytest.raises(RunEnded, match=f"run {run.id}: cancelled: changed my mind"):
        run.result()
    assert len(toy_app.calls) < 20


def test_cancelling_what_has_ended() -> None:
    """A cancel that comes too late changes nothing."""
    run = a_client(Toy().app).submit({"start": 3.0})
    result = run.result()
    run.cancel()
    list(run.client.events(run.id))

    assert run.result() == result


def test_state_and_history() -> None:
    """A run tells its state and its iterations, as the store knows them."""
    run = embedded("memory:", apps=[toy.app]).submit(toy.SPEC, pipeline="toy")

    assert (run.state().state, run.history()) == ("running", [])
    run.result()
    assert (run.state().state, len(run.history())) == ("completed", 7)


# ------------------------------------------------------------------ resuming


def test_another_process_resumes_a_run(tmp_path: Any) -> None:
    """A run that was left in the middle goes on in another process, from the folder alone, to the same end."""
    straight = a_client(Toy().app).submit({"start": 3.0}, run="r").result()
    left = a_client(Toy().app, store=FolderStore(tmp_path)).submit({"start": 3.0}, run="r")
    for number, _ in enumerate(left.watch()):
        if number == 5:
            break

    second = Toy()
    resumed = a_client(second.app, store=FolderStore(tmp_path)).run("r").resume()
    assert isinstance(resumed, Run)
    assert resumed.result() == straight
    assert "encode r 0" not in second.calls


def test_resuming_is_harmless() -> None:
    """Resuming a run that runs, or has ended, changes nothing."""
    toy_app = Toy()
    run = a_client(toy_app.app).submit({"start": 3.0})
    for number, _ in enumerate(run.watch()):
        if number % 3 == 0:
            run.resume()
    result = run.resume().result()

    assert result.value == 0.25
    assert {count for name, count in toy_app.calls.items() if not name.startswith("postprocess")} == {1}


@pytest.mark.parametrize("deliveries", [1, 2, 5, 9])
def test_the_same_script_again_goes_on_where_it_was_killed(tmp_path: Any, deliveries: int) -> None:
    """Submitting the same spec under the same id, in another process, goes on; no recorded step is called again."""
    straight = a_client(Toy().app).submit({"start": 3.0}, run="r").result()
    killed = Toy()
    left = a_client(killed.app, store=FolderStore(tmp_path)).submit({"start": 3.0}, run="r")
    for _, _ in zip(range(deliveries), left.watch(), strict=False):
        pass

    again = Toy()
    client = a_client(again.app, store=FolderStore(tmp_path))
    assert client.submit({"start": 3.0}, run="r").result() == straight
    recorded = {name for name in killed.calls if not name.startswith("postprocess")}
    assert not recorded & set(again.calls)
    assert client.submit({"start": 3.0}, run="r").result() == straight


class Meanwhile(FakeClock):
    """A clock during whose sleep another process does something."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.act = act

    def sleep(self, seconds: float) -> None:
        """Let the other process act."""
        super().sleep(seconds)
        self.act()


def test_of_two_processes_that_resume_a_run_the_slower_follows() -> None:
    """A process that finds another one ahead watches it to the end, and leaves the work to it."""
    store, first, second = MemoryStore(), Toy(iterations=20), Toy(iterations=20)
    ahead = a_client(first.app, store=store).submit({"start": 3.0}, run="r")
    driven = ahead.watch()
    for _, _ in zip(range(2), driven, strict=False):
        pass
    pipelines = Pipelines([second.app])
    clock = Meanwhile(lambda: next(driven, None))
    behind = (
        EmbeddedClient(EmbeddedHost(pipelines, Resources(store, clock, pipelines.types))).run("r").resume()
    )
    for _, _ in zip(range(10), driven, strict=False):
        pass

    result = behind.result()

    assert result.iterations == 20
    assert sum(count for name, count in second.calls.items() if name.startswith("execute")) <= 1


def test_a_process_that_was_overtaken_goes_on_when_the_other_stops() -> None:
    """If the process ahead dies, who follows it takes over after a while without news."""
    store, first, second = MemoryStore(), Toy(), Toy()
    ahead = a_client(first.app, store=store).submit({"start": 3.0}, run="r")
    driven = ahead.watch()
    for _, _ in zip(range(2), driven, strict=False):
        pass
    behind = a_client(second.app, store=store).run("r").resume()
    for _, _ in zip(range(6), driven, strict=False):
        pass

    assert behind.result() == a_client(Toy().app).submit({"start": 3.0}).result()
    assert any(name.startswith("execute") for name in second.calls)


# ------------------------------------------------------------------ waiting


def test_waiting_ends_in_time_and_may_begin_again() -> None:
    """A run that takes longer than one waits is told as such, as a TimeoutError, and can be waited for again."""
    clock = FakeClock()
    slow = Toy(before=lambda name, event: clock.sleep(1.0))
    pipelines = Pipelines([slow.app])
    client = EmbeddedClient(EmbeddedHost(pipelines, Resources(MemoryStore(), clock, pipelines.types)))
    run = client.submit({"start": 3.0}, run="r")

    with pytest.raises(RunTimeout, match="run r: it has not ended within 3 s") as caught:
        run.result(timeout=3)
    assert isinstance(caught.value, TimeoutError)
    assert 2 < len(slow.calls) < 5
    assert run.result().value == 0.25
    assert run.result(timeout=0).value == 0.25


def test_each_iteration_is_told() -> None:
    """A callback sees every iteration once, while the run goes; what it raises leaves a run that can go on."""
    client = embedded("memory:", apps=[toy.app])
    run = client.submit(toy.SPEC, pipeline="toy")
    seen: list[tuple[int, int]] = []

    def look(iteration: runs.Iteration) -> None:
        seen.append((iteration.iteration, run.state().iterations))
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.result(each=look)
    assert seen == [(0, 1), (1, 2), (2, 3)]
    told: list[runs.Iteration] = []
    run.result(each=told.append)
    assert told == run.history()


# ------------------------------------------------------------------ specs and doors


def test_a_spec_from_what_is_at_hand() -> None:
    """What is given becomes the spec's fields; short forms stand for the long ones."""
    assert build_spec(circuit=CIRCUIT, observable=[("ZZ", 1.0)], optimizer="adam", budget=7) == RunSpec(
        problem=Energy(observable=[("ZZ", 1.0)]),
        circuit=CIRCUIT,
        optimizer=OptimizerSpec(name="adam"),
        budget=Budget(iterations=7),
    )
    full = build_spec(
        problem=RING,
        optimizer=OptimizerSpec(name="spsa", options={"a": 1}),
        backend="aer:fake_torino",
        shots=10,
        seed=3,
        budget=Budget(shots=1000),
        initial=[0.1, 0.2],
        gradient="spsa",
        mitigation="readout",
    )
    assert full == RunSpec(
        problem=RING,
        optimizer=OptimizerSpec(name="spsa", options={"a": 1}),
        backend="aer:fake_torino",
        shots=10,
        seed=3,
        budget=Budget(shots=1000),
        initial=[0.1, 0.2],
        gradient="spsa",
        mitigation="readout",
    )


def test_a_spec_from_qiskits_objects() -> None:
    """A circuit and an operator of Qiskit's become QPY and labels with real coefficients."""
    from qiskit.circuit.library import real_amplitudes
    from qiskit.quantum_info import SparsePauliOp

    from varloop.quantum.circuits import load

    spec = build_spec(
        circuit=real_amplitudes(2, reps=1), observable=SparsePauliOp(["ZX", "II"], [0.5, -1.0]), budget=1
    )

    assert spec.problem == Energy(observable=[("ZX", 0.5), ("II", -1.0)])
    assert spec.circuit is not None
    assert load(spec.circuit).num_parameters == 4
    with pytest.raises(UsageError, match="not Hermitian: ZX has a complex coefficient"):
        build_spec(circuit=real_amplitudes(2), observable=SparsePauliOp(["ZX"], [0.5j]))


def test_whether_an_observable_is_hermitian() -> None:
    """Terms of equal labels are added up before that is judged: their imaginary parts may cancel."""
    from qiskit.quantum_info import SparsePauliOp

    operator = SparsePauliOp(["Z", "X", "X"], [1, 1 + 1j, -1j])
    for given in (operator, operator.to_list()):
        spec = build_spec(circuit=CIRCUIT, observable=given)
        assert spec.problem == Energy(observable=[("Z", 1.0), ("X", 1.0)])
    with pytest.raises(UsageError, match="not Hermitian: X has a complex coefficient"):
        build_spec(circuit=CIRCUIT, observable=SparsePauliOp(["Z", "X", "X"], [1, 1j, 1]))


def test_kinds_of_observables() -> None:
    """A Pauli or its label is an observable of one term; terms are taken as they are."""
    from qiskit.quantum_info import Pauli, PauliList

    def terms(observable: Any) -> Any:
        problem = build_spec(circuit=CIRCUIT, observable=observable).problem
        assert isinstance(problem, Energy)
        return problem.observable

    assert terms("ZX") == terms(Pauli("ZX")) == terms((("ZX", 1.0),)) == [("ZX", 1.0)]
    assert terms(PauliList(["ZX", "IY"])) == [("ZX", 1.0), ("IY", 1.0)]


def unbound() -> Any:
    """An operator with a free coefficient."""
    from qiskit.circuit import Parameter
    from qiskit.quantum_info import SparsePauliOp

    return SparsePauliOp(["Z"], np.array([Parameter("J")]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"observable": np.eye(2)}, "the observable is a ndarray, expected a SparsePauliOp"),
        ({"observable": {"Z": 1.0}}, "the observable is a dict, expected a SparsePauliOp"),
        ({"observable": unbound}, "the observable has coefficients with free parameters"),
        ({"circuit": "efficient_su2"}, "the circuit is a str, expected a QuantumCircuit"),
        (
            {"observable": [("Z", 1.0), ("X", 1j)]},
            "observable: 1j is not real, as the numbers of a spec must be",
        ),
        ({"circuit": "no.qasm"}, "circuit: no.qasm cannot be read: No such file or directory"),
        ({"initial": object()}, "initial: a spec cannot hold a object"),
        ({"seed": 1 + 2j}, "seed: .* is not real"),
        ({"initial": np.zeros((1, 2))}, r"initial\[0\]: Expected `float`, got `array`"),
        ({"initial": "small"}, "initial: Expected `array | null`, got `str`"),
        ({"shots": 1.5}, "shots: Expected `int | null`, got `float`"),
        ({"optimizer": 5}, "optimizer.name: Expected `str`, got `int`"),
        ({"budget": "ten"}, "budget.iterations: Expected `int`, got `str`"),
    ],
)
def test_what_is_no_circuit_observable_or_point(given: dict[str, Any], message: str) -> None:
    """An argument of the wrong kind is named, with what is expected."""
    observable = given.get("observable", "Z")
    with pytest.raises((UsageError, SpecError), match=message):
        build_spec(
            **{
                "circuit": CIRCUIT,
                **given,
                "observable": observable() if callable(observable) else observable,
            }
        )


def test_numbers_of_any_kind() -> None:
    """NumPy's scalars and arrays, whole numbers that are written as floats, real numbers that are typed as complex."""
    spec: Any = build_spec(
        circuit=CIRCUIT,
        observable=[
            ("ZZ", 1 + 0j),
            ("XI", np.complex128(0.5)),
            ("IX", np.complex64(2)),
            ("YY", np.float32(0.25)),
        ],
        budget=np.int64(7),  # type: ignore[arg-type]
        shots=1e4,  # type: ignore[arg-type]
        seed=np.uint8(3),  # type: ignore[arg-type]
        initial=np.float32([0.5, 1]),
    )

    assert spec.problem.observable == [("ZZ", 1.0), ("XI", 0.5), ("IX", 2.0), ("YY", 0.25)]
    assert (spec.budget, spec.shots, spec.seed, spec.initial) == (Budget(iterations=7), 10_000, 3, [0.5, 1.0])
    assert [type(each) for each in (spec.shots, spec.seed, *spec.initial)] == [int, int, float, float]


def test_terms_as_qiskit_lists_them() -> None:
    """``to_list`` of an operator gives complex coefficients, which are real numbers."""
    from qiskit.quantum_info import SparsePauliOp

    operator = SparsePauliOp(["ZX", "II"], [0.5, -1.0])

    assert build_spec(circuit=CIRCUIT, observable=operator.to_list()) == build_spec(
        circuit=CIRCUIT, problem=Energy(observable=operator.to_list())
    )


class Graph:
    """What varloop asks of a networkx graph."""

    def __init__(self, *nodes: Any, directed: bool = False) -> None:
        self.nodes = nodes or ("a", "b", "c", "lonely")
        self.directed = directed

    def is_directed(self) -> bool:
        """Whether its edges have a direction."""
        return self.directed

    def edges(self, data: str, default: float) -> list[tuple[str, str, Any]]:
        """Its edges with an attribute."""
        assert data == "weight"
        a, b, c, *_ = self.nodes
        return [(a, b, default), (c, b, np.int64(3))]


def test_a_graph_is_cut() -> None:
    """Nodes keep their numbers, or get one in the graph's order; weights are 1 unless given; each node has its bit."""
    edges = [(0, 1, 1.0), (2, 1, 3.0), (2, 3, 0.0)]

    assert MaxCut.of(Graph(), layers=2, cvar=0.5) == MaxCut(edges=edges, layers=2, cvar=0.5)
    assert build_spec(problem=Graph()).problem == MaxCut(edges=edges)
    assert MaxCut.of(Graph(2, 0, 1)) == MaxCut(edges=[(2, 0, 1.0), (1, 0, 3.0)])
    for graph, message in ((Graph(directed=True), "is directed"), (3, "a int is no weighted graph")):
        with pytest.raises(UsageError, match=message):
            MaxCut.of(graph)


class Program:
    """What varloop asks of a QuadraticProgram, here of minimise x0 − 2·x0·x1 with a constant of 7."""

    def to_ising(self) -> tuple[Any, float]:
        """x = (1 − Z) / 2 for each variable, qubit k for variable k."""
        from qiskit.quantum_info import SparsePauliOp

        return SparsePauliOp(["IZ", "ZI", "IZ", "ZZ"], [-0.5, 0.5, 0.5, -0.5]), 7.0


def test_a_quadratic_program_is_an_ising_problem() -> None:
    """Every assignment costs what the program says, bit k being variable k."""
    from varloop.quantum.problems import costs

    problem = Ising.of(Program(), layers=3)

    assert problem.layers == 3
    assert build_spec(problem=Program()).problem == Ising.of(Program())
    x = [(bits & 1, bits >> 1) for bits in range(4)]
    assert list(costs(problem, range(4))) == pytest.approx([a - 2 * a * b + 7.0 for a, b in x])


class Constrained:
    """A program with constraints."""

    def to_ising(self) -> None:
        """Refused, as by qiskit-optimization."""
        raise RuntimeError("There must be no constraint in the problem.")


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Constrained(), "problem: a Constrained cannot .*no constraint.*QuadraticProgramToQubo"),
        (3, "problem: got a int, which is none .*networkx.Graph to be cut"),
    ],
)
def test_what_is_no_problem(problem: Any, message: str) -> None:
    """It is named, with what would be one."""
    with pytest.raises(UsageError, match=message):
        build_spec(problem=problem)


def test_a_circuit_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of OpenQASM by its name; its source becomes part of the spec."""
    monkeypatch.chdir(tmp_path)
    Path("bell.qasm").write_text("OPENQASM 2.0;")

    for circuit in ("bell.qasm", Path("bell.qasm"), CircuitSpec(qasm="bell.qasm")):
        assert build_spec(circuit=circuit, observable="Z").circuit == CircuitSpec(qasm="OPENQASM 2.0;")


DOORS: list[Callable[..., Run]] = [
    submit,
    lambda store, **spec: embedded(store).submit(spec),
]


@pytest.mark.parametrize("door", DOORS)
def test_faults_are_told_before_anything_is_submitted(door: Callable[..., Run], tmp_path: Path) -> None:
    """All of them at once, those that only a circuit shows as well; the store stays empty."""
    circuit = {"library": "real_amplitudes", "options": {"num_qubits": 3}}
    energy = {"kind": "energy", "observable": [["ZZ", 1.0]]}
    with pytest.raises(SpecError) as caught:
        door(store=tmp_path, problem=energy, circuit=circuit, optimizer="best", shots=-5)

    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "shots",
        "optimizer.name",
        "circuit",
    ]
    assert list(FolderStore(tmp_path).keys()) == []


def test_submitting_to_a_pipeline_that_is_not_here() -> None:
    """Nothing is stored for a pipeline that nobody would serve."""
    client = a_client(Toy().app)

    with pytest.raises(UsageError, match="no pipeline 'mine' here, only default"):
        client.submit({"start": 3.0}, pipeline=App("mine"))
    assert list(client.resources.store.keys()) == []


def test_help_suffices() -> None:
    """The help on `submit` names every argument with its default, and says what each one means."""
    names = inspect.signature(submit).parameters
    assert all(f":param {name}: " in (submit.__doc__ or "") for name in names)
    assert {**inspect.signature(build_spec).parameters}.items() <= names.items()


@pytest.mark.parametrize("given", [{}, {"observable": [("Z", 1.0)], "problem": RING}])
def test_one_thing_is_minimised(given: dict[str, Any]) -> None:
    """A spec has either an observable or a problem."""
    with pytest.raises(UsageError, match="either an observable or a problem"):
        build_spec(**given)


def test_submit_does_it_all(tmp_path: Any) -> None:
    """One call submits to this process; a folder keeps the run for any other."""
    app = App("double")

    @app.function(on=CircuitExecuted, emits=ObjectiveEvaluated, pure=True)
    def doubled(event: Event[CircuitExecuted], ctx: Context) -> ObjectiveEvaluated:
        values = [2 * value for value in event.data.measurement.values or []]
        return ObjectiveEvaluated(
            memo=event.data.request.memo, evaluation=Evaluation(values, [0.0] * len(values))
        )

    what: dict[str, Any] = {
        "circuit": CircuitSpec(library="real_amplitudes", options={"num_qubits": 1, "reps": 0}),
        "observable": [("Z", 1.0)],
        "initial": [1.0],
        "optimizer": "rotosolve",
        "budget": 3,
    }
    plain = submit(**what).result()
    run = submit(**what, store=tmp_path, run="mine", pipeline=app)

    assert run.result().value == pytest.approx(2 * plain.value)
    assert plain.value == pytest.approx(-1.0)
    assert runs.StoredRun(Resources(FolderStore(tmp_path)), "mine").state().pipeline == "double"
