from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from functools import reduce
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import Pauli, SparsePauliOp, Statevector

from quantum.backend_contract import MIXED, RING, ZZ, Array, BackendContract, ansatz, backends, points
from varloop.errors import CircuitError, MissingExtra, SpecError
from varloop.events import Measurement, Samples
from varloop.quantum import backends as families
from varloop.quantum.backends import Backend, Backends, aer, noisy, program
from varloop.quantum.backends.aer import Aer
from varloop.quantum.backends.isa import compile_circuit
from varloop.quantum.backends.program import Slots, assemble, cores
from varloop.quantum.backends.sampling import draw, misread
from varloop.quantum.circuits import spec_of
from varloop.quantum.estimate import estimate
from varloop.quantum.objective import Objective
from varloop.quantum.pool import TemplatePool
from varloop.quantum.samples import cell, columns
from varloop.quantum.templates import Template
from varloop.spec import Energy, MaxCut, RunSpec
from varloop.store.memory import MemoryStore


class TestAer(BackendContract):
    """The ideal simulator, against Qiskit's own state vectors."""

    name = "aer"

    def exact(self, template: Template, problem: Energy, point: Array, *, misread: bool = True) -> float:
        """From the state before any basis change; Aer's circuits keep their qubits unless told otherwise."""
        spec = RunSpec(problem=problem, circuit=spec_of(ansatz()))
        bare = self.bound(
            template if not template.bases else TemplatePool(MemoryStore()).of(spec, Aer()), point
        )
        observable = SparsePauliOp.from_list(problem.observable).apply_layout(
            template.layout, bare.num_qubits
        )
        return float(Statevector(bare).expectation_value(observable).real)

    def misread(self, template: Template) -> Array:
        """Never."""
        return np.zeros((template.num_qubits, 2))


class TestNoisyAer(BackendContract):
    """A recorded device, against Aer with the noise model of the whole device."""

    name = "aer:fake_manila"
    tolerance = 1e-8
    fidelity = 0.2
    preparation = 2e-3

    def exact(self, template: Template, problem: Energy, point: Array, *, misread: bool = True) -> float:
        """Aer's public door, the full device, no cropping, and an assignment matrix for all qubits at once."""
        from qiskit_aer import AerSimulator
        from qiskit_aer.library import SaveProbabilities

        device = noisy.device("fake_manila")()
        simulator = AerSimulator.from_backend(device, method="density_matrix", enable_truncation=False)
        seen = np.eye(1)
        for error, _ in self.misread(template) * misread:
            seen = np.kron([[1 - error, error], [error, 1 - error]], seen)
        total, terms = 0.0, Objective(problem).observable.to_list()
        for number, group in enumerate(Objective(problem).groups):
            circuit = self.bound(template, point, number)
            circuit.append(SaveProbabilities(template.num_qubits), template.layout)
            probabilities = seen @ simulator.run(circuit).result().data()["probabilities"]
            for label, weight in (terms[term] for term in group.terms):
                signs = [np.array([1.0, 1.0 if letter == "I" else -1.0]) for letter in label]
                total += weight.real * float(reduce(np.kron, signs) @ probabilities)
        return total

    def misread(self, template: Template) -> Array:
        """As the device's record says, the same both ways."""
        measure = noisy.device("fake_manila")().target["measure"]
        return np.array([[measure[qubit,].error] * 2 for qubit in template.layout])


def compiled(
    problem: Energy | MaxCut, circuit: QuantumCircuit, name: str, shots: int | None = None
) -> Template:
    """A template of a circuit on a backend."""
    spec = RunSpec(problem=problem, circuit=spec_of(circuit), backend=name, shots=shots)
    return TemplatePool(MemoryStore()).of(spec, backends().get(name))


def ansatz_of(qubits: int) -> QuantumCircuit:
    """One parameter per qubit."""
    circuit = QuantumCircuit(qubits)
    for qubit in range(qubits):
        circuit.ry(Parameter(f"p{qubit}"), qubit)
        circuit.cx(qubit, (qubit + 1) % qubits)
    return circuit


def chain(qubits: int) -> Energy:
    """An Ising chain in a transverse field."""
    links = [("I" * i + "ZZ" + "I" * (qubits - i - 2), -1.0) for i in range(qubits - 1)]
    return Energy(
        observable=[*links, *(("I" * i + "X" + "I" * (qubits - i - 1), -0.7) for i in range(qubits))]
    )


@pytest.mark.parametrize(
    ("name", "qubits", "shots", "density"),
    [
        ("aer", 4, None, 10),
        ("aer", 15, None, 10),  # above Aer's threshold for fusing gates
        ("aer", 4, 1000, 10),
        ("aer", 17, 300, 10),  # too wide for tables of probabilities: Aer draws the shots
        ("aer:fake_manila", 4, None, 10),
        ("aer:fake_manila", 4, 300, 10),
        ("aer:fake_manila", 3, 20, 1),  # every shot a trajectory
    ],
)
def test_threads_change_no_bit(
    name: str, qubits: int, shots: int | None, density: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values and samples are the same, bit for bit, on one core and on several, and from run to run."""
    monkeypatch.setattr(noisy, "DENSITY", density)
    monkeypatch.setattr(program, "PARALLEL", 0.0)
    template = compiled(chain(qubits), efficient_su2(qubits, reps=1), name, shots)
    rows = np.random.default_rng(0).normal(size=(3, len(template.parameters)))
    seen: list[Measurement] = []
    for threads in (1, 2, 4, 4):
        monkeypatch.setattr(program, "cores", lambda threads=threads: threads)
        seen.append(backends().get(name).run(template, rows, shots=shots, seed=5))
    assert all(each.values == seen[0].values for each in seen)
    assert all(each.samples == seen[0].samples for each in seen)


def test_threads_change_no_bit_of_a_single_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row alone is never split between threads: the order of its sums is fixed."""
    monkeypatch.setattr(program, "PARALLEL", 0.0)
    template = compiled(chain(15), efficient_su2(15, reps=1), "aer")
    rows = np.random.default_rng(0).normal(size=(1, len(template.parameters)))
    seen = set()
    for threads in (1, 2, 3, 4):
        monkeypatch.setattr(program, "cores", lambda threads=threads: threads)
        (value,) = backends().get("aer").run(template, rows, shots=None, seed=5).values or ()
        seen.add(value)
    assert len(seen) == 1


def test_wide_circuits_are_exact_too() -> None:
    """Above Aer's fusion threshold, rows bound at run time have the right energies."""
    template = compiled(chain(14), efficient_su2(14, reps=1), "aer")
    where = np.random.default_rng(1).normal(size=(2, 56))
    rows = template.angles.bind(where)
    values = backends().get("aer").run(template, rows, shots=None, seed=0).values
    observable = SparsePauliOp.from_list(chain(14).observable)
    states = [Statevector(efficient_su2(14, reps=1).assign_parameters(point)) for point in where]
    assert values == pytest.approx([state.expectation_value(observable).real for state in states], abs=1e-10)


def test_the_program_equals_the_public_simulator() -> None:
    """What a program gets from Aer's native part is what ``AerSimulator.run`` gives, bit for bit."""
    from qiskit_aer import AerSimulator
    from qiskit_aer.library import SaveExpectationValue

    problem = chain(5)
    template = compiled(problem, ansatz_of(5), "aer")
    where = np.random.default_rng(3).normal(size=(4, 5))
    rows = template.angles.bind(where)
    values = backends().get("aer").run(template, rows, shots=None, seed=0).values
    circuit = template.circuits[0].copy()
    circuit.append(SaveExpectationValue(SparsePauliOp.from_list(problem.observable)), range(5))
    binds = {each: rows[:, template.parameters.index(each.name)].tolist() for each in circuit.parameters}
    job = AerSimulator(method="statevector").run(circuit, [binds], runtime_parameter_bind_enable=True)
    assert values == [job.result().data(row)["expectation_value"] for row in range(4)]


def test_shots_beyond_tables_agree_with_shots_from_tables() -> None:
    """Aer's own shots and those drawn from probabilities have the same distribution: χ² below its 1e-6 quantile."""
    template = compiled(ZZ, ansatz(), "aer", 20_000)
    rows = template.angles.bind(points(1, seed=3))
    drawn = backends().get("aer").run(template, rows, shots=20_000, seed=1).samples
    circuits = [*template.circuits]
    (_, done), *_ = assemble(circuits, template.parameters).run(rows, 20_000, 1)
    shots = done[0]["counts"]
    assert drawn is not None
    first = dict(zip(*(column.tolist() for column in cell(drawn, 0)), strict=True))
    table = np.array([[first.get(k, 0.0), shots.get(hex(k), 0)] for k in range(8)])
    table = table[table.sum(axis=1) > 0]
    expected = table.sum(axis=1, keepdims=True) / 2
    assert ((table - expected) ** 2 / expected).sum() < 41.0  # seven degrees of freedom: exceeded with 1e-6


def _ints(columns: tuple[Any, Array]) -> tuple[Any, Array]:
    return columns[0].astype(int), columns[1]


def test_trajectories_agree_with_the_density_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise drawn shot by shot, readout errors included, has the distribution of the density matrix.

    χ² of eight outcomes stays below 41.0, its quantile at 1e-6, and readout errors within five deviations.
    """
    counted = []
    for density in (10, 1):
        monkeypatch.setattr(noisy, "DENSITY", density)
        template = compiled(ZZ, ansatz(), "aer:fake_manila", 4000)
        rows = template.angles.bind(np.repeat(points(1, seed=3), 2, axis=0))
        done = backends().get("aer:fake_manila").run(template, rows, shots=4000, seed=1, calibrate=True)
        assert done.samples is not None
        one, two = (np.bincount(*_ints(cell(done.samples, row)), 8) for row in (0, 1))
        assert not np.array_equal(one, two)
        counted.append(one)
        measure = noisy.device("fake_manila")().target["measure"]
        errors = np.array([measure[qubit,].error for qubit in template.layout])
        assert np.abs(np.array(done.readout.errors) - errors[:, None]).max() < 5 * np.sqrt(0.03 / 4000)
    expected = (counted[0] + counted[1]) / 2
    assert sum(((each - expected) ** 2 / expected).sum() for each in counted) < 41.0


def test_a_circuit_on_a_large_device_simulates_only_its_qubits() -> None:
    """Three qubits of a device of 133 are a program of three qubits, with just their errors."""
    backend = backends().get("aer:fake_torino")
    template = compiled(ZZ, ansatz(), "aer:fake_torino", 100)
    rows = template.angles.bind(points(2))
    done = backend.run(template, rows, shots=100, seed=0, calibrate=True)
    assert done.samples is not None
    assert template.circuits[0].num_qubits == backend.target.num_qubits == 133
    prepared: Any = template.prepared("calibrate=True", lambda: pytest.fail("it was prepared already"))
    assert prepared.num_qubits == 3
    errors = {(each["operations"][0], *each["gate_qubits"][0]) for each in prepared.noise["errors"]}
    assert {name for name, *_ in errors} <= {"cz", "sx", "x"}
    assert {qubit for _, *qubits in errors for qubit in qubits} == {0, 1, 2}


def test_a_circuit_that_spreads_too_far_for_exact_noise_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact noisy values need a density matrix of all qubits in use."""
    monkeypatch.setattr(noisy, "DENSITY", 2)
    template = compiled(ZZ, ansatz(), "aer:fake_manila")
    with pytest.raises(CircuitError, match="uses 3 qubits of aer:fake_manila; exact noisy values allow 2"):
        backends().get("aer:fake_manila").run(template, template.angles.bind(points(1)), shots=None, seed=0)


def test_a_circuit_too_large_for_a_device_is_an_error() -> None:
    """Six qubits do not fit on five."""
    with pytest.raises(CircuitError, match="cannot be compiled for this device"):
        compiled(chain(6), efficient_su2(6, reps=1), "aer:fake_manila")


@pytest.mark.parametrize("name", ["aer", "aer:fake_manila"])
def test_what_is_no_gate_is_an_error(name: str) -> None:
    """A reset in the middle makes every shot another state: the circuit is refused, not averaged."""
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.reset(0)
    circuit.ry(Parameter("t"), 0)
    with pytest.raises(CircuitError, match="the circuit contains reset; expected gates"):
        compiled(ZZ, circuit, name)


def test_a_prepared_state_is_made_of_gates() -> None:
    """A circuit may begin with any state."""
    circuit = QuantumCircuit(3)
    circuit.prepare_state("110")
    circuit.barrier()
    circuit.ry(Parameter("t"), 0)
    template = compiled(Energy(observable=[("ZII", 1.0), ("IIZ", 10.0)]), circuit, "aer")
    done = backends().get("aer").run(template, [[0.0]], shots=None, seed=0)
    assert done.values == pytest.approx([9.0])


def test_a_simulator_that_refuses_is_an_error() -> None:
    """What Aer reports becomes the error's text."""
    template = compiled(chain(4), efficient_su2(4, reps=1), "aer")
    prepared = assemble(template.circuits, template.parameters, method="stabilizer")
    rows = np.zeros((1, len(template.parameters)))
    with pytest.raises(CircuitError, match=r"the simulation failed: .*stabilizer"):
        list(prepared.run(rows, 10, 0))


def test_only_the_likeliest_outcomes_are_listed() -> None:
    """An exact run of a wide binary problem lists 16 outcomes per row, the likeliest, in ascending order."""
    edges = [(i, (i + 1) % 6, 1.0 + 0.1 * i) for i in range(6)]
    spec = RunSpec(problem=MaxCut(edges=edges))
    template = TemplatePool(MemoryStore()).of(spec, backends().get("aer"))
    done = backends().get("aer").run(template, template.angles.bind([[0.4, 0.3]]), shots=None, seed=0)
    assert done.samples is not None
    outcomes, weights = cell(done.samples, 0)
    state = Statevector(template.circuits[0].assign_parameters(template.angles.bind([[0.4, 0.3]])[0]))
    probabilities = state.probabilities()
    assert len(outcomes) == 16
    assert np.all(np.diff(outcomes.astype(int)) > 0)
    assert weights == pytest.approx(probabilities[outcomes.astype(int)])
    assert weights.min() >= np.delete(probabilities, outcomes.astype(int)).max() - 1e-12


def test_of_equally_likely_outcomes_the_lowest_are_listed() -> None:
    """Greater probabilities come first, wherever they are; zeros never."""
    table = np.array([0.0] + [0.01] * 30 + [0.7])
    assert aer._likeliest(table).tolist() == [*range(1, 16), 31]
    assert aer._likeliest(np.array([0.0, 0.5, 0.0, 0.5])).tolist() == [1, 3]


def test_every_basis_is_measured_on_the_same_qubits() -> None:
    """Wherever a circuit is placed on a device, all bases measure qubit i there into bit i."""
    target = backends().get("aer:fake_torino").target
    for level in range(4):
        done = compile_circuit(ansatz(), ["ZZZ", "XYX", "IIX"], target, level)
        for circuit in done.circuits:
            found = {
                circuit.find_bit(each.clbits[0]).index: circuit.find_bit(each.qubits[0]).index
                for each in circuit.data
                if each.name == "measure"
            }
            assert tuple(found[bit] for bit in range(3)) == done.layout


def test_qubits_are_placed_for_their_readout_too() -> None:
    """fake_cusco has qubits that read nothing: a state with ⟨ZZ⟩ = 1 is not put there, at any level that looks."""
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("p"), 0)
    circuit.cx(0, 1)
    backend = backends().get("aer:fake_cusco")
    for level in (2, 3):
        spec = RunSpec(
            problem=Energy(observable=[("ZZ", 1.0)]),
            circuit=spec_of(circuit),
            backend=backend.name,
            optimization_level=level,
        )
        template = TemplatePool(MemoryStore()).of(spec, backend)
        done = backend.run(template, template.angles.bind([[0.0]]), shots=None, seed=0)
        assert done.values is not None
        assert done.values[0] > 0.9


def test_no_gate_before_a_measurement_is_dropped() -> None:
    """Compiled with measurements of Z, a circuit keeps what only X and Y can tell: phases and swaps at its end."""
    circuit = QuantumCircuit(3)
    circuit.h(range(3))
    circuit.rz(Parameter("p"), 0)
    circuit.cz(0, 1)
    circuit.rzz(0.7, 1, 2)
    circuit.swap(0, 2)
    circuit.t(1)
    observable = [("XXX", 1.0), ("YIX", 0.5), ("IYZ", 0.3), ("ZII", 0.2), ("XIY", -0.7)]
    ideal = Statevector(circuit.assign_parameters([0.4])).expectation_value(
        SparsePauliOp.from_list(observable)
    )
    backend = backends().get("aer:fake_torino")
    for level in range(4):
        spec = RunSpec(
            problem=Energy(observable=observable),
            circuit=spec_of(circuit),
            backend=backend.name,
            optimization_level=level,
        )
        template = TemplatePool(MemoryStore()).of(spec, backend)
        for number, group in enumerate(template.groups):
            row = dict(zip(template.parameters, template.angles.bind([[0.4]])[0], strict=True))
            bare = noisy._crop(
                template.circuits[number].remove_final_measurements(inplace=False), template.layout
            )
            state = Statevector(bare.assign_parameters({each: row[each.name] for each in bare.parameters}))
            for term in group.terms:
                label, _ = template.objective.observable.to_list()[term]
                turned = "".join("I" if letter == "I" else "Z" for letter in label)
                want = Statevector(circuit.assign_parameters([0.4])).expectation_value(Pauli(label))
                assert state.expectation_value(Pauli(turned)) == pytest.approx(want, abs=1e-9)
        done = backend.run(template, template.angles.bind([[0.4]]), shots=None, seed=0)
        assert done.values == pytest.approx([ideal.real], abs=0.5)


def test_exact_values_of_a_device_are_those_of_many_shots() -> None:
    """GHZ on fake_torino: readout errors count in exact values as they do in shots.

    Within five standard errors of 400,000 shots: a correct backend misses with 6e-7.
    """
    circuit = QuantumCircuit(3)
    circuit.ry(Parameter("p"), 0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    problem, name = (
        Energy(observable=[("ZZZ", 1.0), ("IZZ", 1.0), ("XXX", 2.0), ("YYX", -2.0)]),
        "aer:fake_torino",
    )
    exact, sampled = (compiled(problem, circuit, name, shots) for shots in (None, 400_000))
    rows = exact.angles.bind([[np.pi / 2]])
    values = backends().get(name).run(exact, rows, shots=None, seed=0).values
    done = backends().get(name).run(sampled, rows, shots=400_000, seed=0)
    found = estimate(sampled, done, problem)
    assert values is not None
    assert abs(values[0] - found.values[0]) < 5 * found.errors[0]
    assert values[0] < 4.8  # 5 without noise


def test_an_exact_cvar_is_the_mean_of_the_best_share() -> None:
    """With ``cvar`` the exact objective averages the lowest share of the distribution."""
    spec = RunSpec(problem=MaxCut(edges=RING.edges, cvar=0.25))
    template = TemplatePool(MemoryStore()).of(spec, backends().get("aer"))
    rows = template.angles.bind([[0.4, 0.3]])
    done = backends().get("aer").run(template, rows, shots=None, seed=0)
    table = Statevector(template.circuits[0].assign_parameters(rows[0])).probabilities()
    order = np.argsort(template.objective.costs, kind="stable")
    left, total = 0.25, 0.0
    for k in order:
        total += min(left, table[k]) * template.objective.costs[k]
        left = max(0.0, left - table[k])
    assert done.values == pytest.approx([total / 0.25])


def test_slots_take_sums_of_angles() -> None:
    """A compiled gate may hold any linear expression of the angles."""
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.rx(2 * a - b / 2 + 0.3, 0)
    circuit.h(0)
    circuit.rz(b, 0)
    table = Slots.of(circuit, [0, 1, 2], {"a": 0, "b": 1}).fill(np.array([[1.0, 2.0], [0.0, 4.0]]))
    assert table == [((0, 0), [pytest.approx(1.3), pytest.approx(-1.7)]), ((2, 0), [2.0, 4.0])]


def test_slots_refuse_what_is_not_linear() -> None:
    """Curves are angles before a circuit is compiled; if compiling makes new ones, they are not run wrongly."""
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.rx(a * b, 0)
    with pytest.raises(CircuitError, match=r"a\*b is not linear in the angles"):
        Slots.of(circuit, [0], {"b": 0, "a": 1})


def test_misreading_acts_on_each_qubit_by_itself() -> None:
    """Reading errors are the tensor product of the qubits' assignment matrices, qubit 0 in the lowest bit."""
    rng = np.random.default_rng(0)
    errors, table = rng.uniform(0, 0.4, (3, 2)), rng.dirichlet(np.ones(8), 2)
    matrices = [np.array([[1 - up, down], [up, 1 - down]]) for up, down in errors]
    whole = np.kron(matrices[2], np.kron(matrices[1], matrices[0]))
    assert misread(table, errors) == pytest.approx(table @ whole.T)


def test_drawing_tolerates_rounding() -> None:
    """Probabilities that are slightly negative, or do not quite sum to one, are still drawn from."""
    samples = draw(np.array([[0.5, 0.5 + 1e-9, -1e-17, 0.0]]), 100, 1, (0,))
    outcomes, weights, _ = columns(samples)
    assert (outcomes.tolist(), weights.sum()) == ([0, 1], 100)
    assert isinstance(samples, Samples)


def test_an_unknown_backend_names_those_like_it() -> None:
    """A name that no backend has is a fault that tells the form and the devices of like names, few of them."""
    for name in ("ibm_torino", "aer:fake_nowhere", "aer:", ""):
        with pytest.raises(SpecError, match=rf"backend: unknown '{name}', expected aer or aer:fake_NAME"):
            Backends().get(name)
    for name in ("ibm_torino", "aer:fake_torrino", "aer:torino"):
        with pytest.raises(SpecError, match="such as aer:fake_torino"):
            Backends().get(name)


class Lab:
    """A family of somebody else's."""

    def open(self, name: str) -> Backend | None:
        """One device, which is the simulator under another name."""
        return Aer(name) if name == "lab:one" else None

    def expected(self, name: str) -> str:
        """That device's name."""
        return "lab:one"


LAB = Lab()


def test_others_bring_backends_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A family that is installed is found by its entry point, and an unknown name is answered by all of them."""
    lab = EntryPoint("lab", f"{__name__}:LAB", families.GROUP)
    installed = {**families._points(), "lab": lab}
    monkeypatch.setattr(families, "_points", lambda: installed)
    assert Backends().get("lab:one").name == "lab:one"
    assert Backends().get("aer").name == "aer"
    for name in ("lab", "lab:two", "mars"):
        with pytest.raises(
            SpecError, match=rf"unknown '{name}', expected aer or aer:fake_NAME.*; or lab:one"
        ):
            Backends().get(name)


def test_an_installation_without_backends_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without entry points the installation is at fault, not the spec's name."""
    monkeypatch.setattr(families, "_points", dict)
    with pytest.raises(SpecError, match="backend: this installation knows none; install varloop again"):
        Backends().get("aer")


def test_threads_get_one_backend() -> None:
    """Who asks at the same time gets the same object."""
    made = Backends()
    found: list[Backend] = []
    threads = [threading.Thread(target=lambda: found.append(made.get("aer"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(each is found[0] for each in found)


def test_without_its_extra_a_device_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorded device without qiskit-ibm-runtime is an error with the pip line, and aer still works."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtra, match=r"qiskit-ibm-runtime is not installed \(pip install 'qiskit-ibm-runtime>=\S+'\)"
    ):
        Backends().get("aer:fake_torino")
    assert Backends().get("aer").name == "aer"
    with pytest.raises(SpecError, match=r"aer:fake_NAME \(pip install 'qiskit-ibm-runtime>=\S+'\)"):
        Backends().get("nothing")


def test_a_backend_is_made_once() -> None:
    """The same name gives the same object."""
    made = Backends()
    assert made.get("aer") is made.get("aer")


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 6), ("nonsense", 6), ("900000 100000", 6)],
)
def test_cores_follow_the_quota(quota: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control group's quota limits the cores, and never to none; without one the affinity decides."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setattr("pathlib.Path.read_text", lambda _: quota)
    assert cores.__wrapped__() == expected


FORKING = """
import os, signal
import numpy as np
from qiskit.circuit.library import efficient_su2
from quantum.test_backends import chain
from varloop.quantum.backends import Backends, program
from varloop.quantum.circuits import spec_of
from varloop.quantum.pool import TemplatePool
from varloop.spec import RunSpec
from varloop.store.memory import MemoryStore

backend, program.cores, program.PARALLEL = Backends().get("aer"), lambda: 2, 0.0

def numbers():
    spec = RunSpec(problem=chain(16), circuit=spec_of(efficient_su2(16, reps=1)))
    template = TemplatePool(MemoryStore()).of(spec, backend)
    rows = np.random.default_rng(0).normal(size=(2, len(template.parameters)))
    return template.to_bytes(), backend.run(template, rows, shots=None, seed=0).values

there = numbers()
child = os.fork()
if not child:
    signal.alarm(60)
    os._exit(numbers() != there)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_computes_as_its_parent() -> None:
    """Threads of a parent are not in its child, which would wait for them: it does without, to the same bits."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "0"


def test_importing_backends_imports_no_qiskit() -> None:
    """The package of the backends costs nothing until one is asked for."""
    code = (
        "import varloop.quantum.templates, varloop.quantum.estimate, sys; sys.exit('qiskit' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("shots", [None, 50])
@pytest.mark.parametrize("name", ["aer", "aer:fake_manila"])
def test_large_tables_go_in_parts(name: str, shots: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that run in several native calls give what they give in one, the calibration at the end included."""
    for problem in (MIXED, RING):
        template = compiled(problem, ansatz(), name, shots)
        backend, rows = backends().get(name), template.angles.bind(points(7))
        arguments: dict[str, Any] = {"shots": shots, "seed": 3, "calibrate": shots is not None}
        whole = backend.run(template, rows, **arguments)
        with monkeypatch.context() as small:
            small.setattr(program, "NUMBERS", 20)
            parts = list(small_parts(template, rows, arguments))
            assert len(parts) > 2
            assert backend.run(template, rows, **arguments) == whole


def small_parts(template: Template, rows: Array, arguments: dict[str, Any]) -> Any:
    """The parts in which a program runs these rows."""
    prepared = template.prepared(f"calibrate={arguments['calibrate']}", lambda: pytest.fail("is prepared"))
    return prepared.run(rows, arguments["shots"], arguments["seed"])


def test_large_tables_of_real_shots_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts have random numbers of their own, and the same ones each time."""
    template = compiled(chain(17), ansatz_of(17), "aer", 20)
    backend, rows = backends().get("aer"), np.full((6, len(template.parameters)), 0.7)
    monkeypatch.setattr(program, "NUMBERS", 2 * 2 * len(template.parameters))
    first, again = (backend.run(template, rows, shots=20, seed=3) for _ in range(2))
    assert first == again
    assert first.samples is not None
    cells = [cell(first.samples, row, group) for row in range(6) for group in range(2)]
    seen = {tuple(outcomes.tolist()) for outcomes, _ in cells}
    assert len(seen) == 12
