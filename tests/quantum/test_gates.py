"""What varloop runs of a circuit: its gates, whatever else a circuit carries."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import qpy, transpile
from qiskit.circuit import (
    AncillaRegister,
    AnnotatedOperation,
    ClassicalRegister,
    Clbit,
    ControlModifier,
    Gate,
    Instruction,
    InverseModifier,
    Parameter,
    ParameterVector,
    PowerModifier,
    QuantumCircuit,
    QuantumRegister,
    Qubit,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import (
    GlobalPhaseGate,
    LinearFunction,
    MCXGate,
    MSGate,
    PauliEvolutionGate,
    PermutationGate,
    QFTGate,
    RXGate,
    RZGate,
    SXGate,
    UCRZGate,
    XXPlusYYGate,
    efficient_su2,
)
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import Clifford, Operator, Pauli, SparsePauliOp, Statevector, random_clifford
from qiskit.transpiler import CouplingMap

from quantum.backend_contract import backends
from varloop.errors import CircuitError
from varloop.quantum.circuits import from_qpy, load, spec_of, to_qpy
from varloop.quantum.gates import plain
from varloop.quantum.pool import TemplatePool
from varloop.quantum.samples import cell
from varloop.quantum.templates import Template
from varloop.spec import CircuitSpec, Energy, RunSpec
from varloop.store.memory import MemoryStore

Array = NDArray[np.float64]
P = Parameter("p")


class Twice(Gate):
    """A gate of a user's own, with a definition that QPY does not know."""

    def __init__(self, angle: object) -> None:
        super().__init__("rx", 1, [angle])

    def _define(self) -> None:
        self.definition = QuantumCircuit(1)
        self.definition.ry(2 * self.params[0], 0)


class Fixed(Gate):
    """Gates of one name that do different things."""

    def __init__(self, angle: float) -> None:
        super().__init__("fixed", 1, [])
        self.angle = angle

    def _define(self) -> None:
        self.definition = QuantumCircuit(1)
        self.definition.ry(self.angle, 0)


class Matrix(Gate):
    """A gate that is its matrix."""

    def __init__(self) -> None:
        super().__init__("mine", 1, [])

    def __array__(self, dtype: object = None, copy: object = None) -> NDArray[np.complex128]:
        return np.array([[0.6, 0.8], [0.8, -0.6]], dtype=complex)


def template_of(
    circuit: QuantumCircuit, observable: list[tuple[str, float]], name: str, shots: int | None = None
) -> Template:
    """A circuit and an observable, compiled."""
    spec = RunSpec(problem=Energy(observable=observable), circuit=spec_of(circuit), backend=name, shots=shots)
    return TemplatePool(MemoryStore()).of(spec, backends().get(name))


def value(
    circuit: QuantumCircuit, observable: list[tuple[str, float]], point: list[float], name: str = "aer"
) -> float:
    """The exact value of an observable at a point."""
    template = template_of(circuit, observable, name)
    done = backends().get(name).run(template, template.angles.bind([point]), shots=None, seed=0)
    assert done.values is not None
    return done.values[0]


def paulis(qubits: int) -> list[tuple[str, float]]:
    """An observable that tells all qubits apart."""
    labels = ["".join(letters) for k in range(qubits) for letters in _letters(qubits, k)]
    return [(label, 0.1 + 0.37 * k) for k, label in enumerate(labels)]


def _letters(qubits: int, k: int) -> list[list[str]]:
    found = []
    for letter in "XYZ":
        label = ["I"] * qubits
        label[k] = letter
        found.append(label)
    return found


def expected(circuit: QuantumCircuit, observable: list[tuple[str, float]], point: list[float]) -> float:
    """The same by Qiskit's state vectors."""
    bare = circuit.remove_final_measurements(inplace=False)
    state = Statevector(bare.assign_parameters(point))
    return float(state.expectation_value(SparsePauliOp.from_list(observable)).real)


# ------------------------------------------------------------------ registers, bits, labels, layouts


def in_registers() -> QuantumCircuit:
    """Qubits split over registers, one of them of ancillas, and classical registers called as ours are."""
    a, b = QuantumRegister(2, "c"), AncillaRegister(1, "meas")
    return QuantumCircuit(b, a, ClassicalRegister(2, "c0"), ClassicalRegister(1, "a"))


def in_loose_bits() -> QuantumCircuit:
    """No register at all, and one bit in two registers."""
    bit = Clbit()
    return QuantumCircuit(
        [Qubit() for _ in range(3)], [bit], ClassicalRegister(bits=[bit], name="x"), name="c"
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: QuantumCircuit(3),
        lambda: QuantumCircuit(3, 1),
        lambda: QuantumCircuit(3, 7),
        lambda: QuantumCircuit(QuantumRegister(3, "q"), ClassicalRegister(2, "c")),
        lambda: QuantumCircuit(QuantumRegister(3, "q"), ClassicalRegister(2, "meas")),
        in_registers,
        in_loose_bits,
        lambda: QuantumCircuit(3, global_phase=P, metadata={"varloop.parameters": [["z"]]}),
    ],
)
@pytest.mark.parametrize("measure", [False, True])
@pytest.mark.parametrize(
    ("name", "shots"), [("aer", None), ("aer", 200), ("aer:fake_manila", None), ("aer:fake_manila", 200)]
)
def test_registers_change_no_outcome(
    build: Callable[[], QuantumCircuit], measure: bool, name: str, shots: int | None
) -> None:
    """Whatever registers and bits a circuit has, qubit i is bit i of the outcome and nothing else is measured."""
    circuit, plainly = build(), QuantumCircuit(3)
    for each in (circuit, plainly):
        each.ry(P, 0)
        each.x(2)
    if measure:
        circuit.measure_all()
    seen, right = (
        template_of(each, [("IZZ", 1.0), ("ZII", 0.5)], name, shots) for each in (circuit, plainly)
    )
    assert seen.qpy == right.qpy
    done = backends().get(name).run(seen, seen.angles.bind([[0.0]]), shots=shots, seed=1)
    if shots is not None:
        assert done.samples is not None
        outcomes, weights = cell(done.samples, 0)
        assert outcomes[weights.argmax()] == 0b100


def test_a_leftover_register_on_many_qubits() -> None:
    """Beyond what is tabulated Aer's own counts are read, and bits of the user's would shift them."""
    circuit = QuantumCircuit(QuantumRegister(17, "q"), ClassicalRegister(2, "x"))
    circuit.ry(P, 0)
    circuit.x(3)
    observable = [("I" * 13 + "Z" + "III", 1.0), ("I" * 16 + "Z", 0.0001)]
    template = template_of(circuit, observable, "aer", 100)
    done = backends().get("aer").run(template, template.angles.bind([[0.0]]), shots=100, seed=0)
    assert done.samples is not None
    assert cell(done.samples, 0)[0].tolist() == [0b1000]


def test_a_leftover_register_in_trajectories() -> None:
    """The same on a device, beyond density matrices."""
    circuit = QuantumCircuit(QuantumRegister(11, "q"), ClassicalRegister(3, "x"))
    circuit.ry(P, 0)
    circuit.x(3)
    template = template_of(circuit, [("I" * 7 + "Z" + "III", 1.0)], "aer:fake_torino", 200)
    done = backends().get("aer:fake_torino").run(template, template.angles.bind([[0.0]]), shots=200, seed=0)
    assert done.samples is not None
    outcomes, weights = cell(done.samples, 0)
    assert outcomes[weights.argmax()] == 0b1000


def test_labels_hide_no_noise() -> None:
    """Aer finds noise by label: a gate with a label of its own would be a perfect one."""
    values = []
    for label in (None, "mine"):
        circuit = QuantumCircuit(1)
        circuit.rx(P, 0)
        for _ in range(200):
            circuit.append(SXGate(label=label), [0])
            circuit.barrier()
        values.append(value(circuit, [("Z", 1.0)], [0.0], "aer:fake_torino"))
    assert values[0] == values[1] < 0.97


def test_a_layout_of_an_earlier_compilation_is_forgotten() -> None:
    """A circuit that was routed elsewhere is a circuit like any other: its qubits are those it has now."""
    circuit = QuantumCircuit(3)
    circuit.ry(P, 0)
    circuit.x(1)
    for pair in [(0, 1), (1, 2), (0, 2)]:
        circuit.cx(*pair)
    routed = transpile(
        circuit, coupling_map=CouplingMap.from_line(5), initial_layout=[4, 2, 0], seed_transpiler=1
    )
    assert routed.layout is not None
    observable = paulis(5)
    for name, tolerance in (("aer", 1e-12), ("aer:fake_manila", 2.0)):
        assert value(routed, observable, [0.4], name) == pytest.approx(
            expected(routed, observable, [0.4]), abs=tolerance
        )


# ------------------------------------------------------------------ gates


def composites() -> list[Instruction]:
    """Operations that are more than a name and numbers."""
    inner = QuantumCircuit(2, name="cx", global_phase=0.3)
    inner.rx(P, 0)
    inner.cx(0, 1)
    pair = SparsePauliOp(["XY", "ZZ"], [0.5, 2])
    return [
        MSGate(2, P),
        MSGate(3, 0.4),
        AnnotatedOperation(RXGate(P), [InverseModifier()]),
        AnnotatedOperation(RXGate(2 * P), [ControlModifier(1, 0)]),
        AnnotatedOperation(RXGate(0.3), [PowerModifier(3), InverseModifier()]),
        AnnotatedOperation(inner.to_gate(), [ControlModifier(1)]),
        RXGate(P).control(2, annotated=True, ctrl_state=1),
        inner.to_gate(),
        inner.to_instruction(),
        inner.to_gate().inverse(),
        inner.to_gate().control(1, annotated=False, ctrl_state=0),
        Twice(P),
        Fixed(0.3),
        Matrix(),
        Matrix().control(1, annotated=True),
        Twice(P).control(1, annotated=True),
        MCXGate(3, ctrl_state=5),
        MCXGate(4, label="mine"),
        PermutationGate([2, 0, 1]),
        LinearFunction([[1, 1, 0], [0, 1, 0], [1, 0, 1]]),
        QFTGate(3),
        Clifford(random_clifford(3, seed=4)),
        PauliEvolutionGate(pair, time=P),
        PauliEvolutionGate(pair, time=0.7),
        XXPlusYYGate(P, 0.3),
        UCRZGate([0.3, -0.2, 1.0, 0.1]),
        RZGate(P, label="here"),
    ]


@pytest.mark.parametrize("number", range(len(composites())))
def test_gates_arrive_as_they_were(number: int) -> None:
    """What QPY drops is taken apart before: the circuit that is read does what the circuit given does."""
    operation = composites()[number]
    circuit = QuantumCircuit(5)
    circuit.ry(0.4, range(5))
    circuit.append(operation, [4, 1, 3, 0, 2][: operation.num_qubits])
    circuit.append(Fixed(-0.8), [0])
    circuit.ry(0.1 + P, 1)
    again, circuit = load(spec_of(circuit)), circuit.decompose("PauliEvolution")
    assert Operator(again.assign_parameters([0.37])) == Operator(circuit.assign_parameters([0.37]))
    observable = paulis(5)
    assert value(circuit, observable, [0.37]) == pytest.approx(
        expected(circuit, observable, [0.37]), abs=1e-12
    )


@pytest.mark.parametrize("seed", range(12))
def test_random_circuits(seed: int) -> None:
    """Random circuits of Qiskit's, nested, labelled and in odd registers, have the values of their state."""
    rng = np.random.default_rng(seed)
    circuit, angles = (
        QuantumCircuit(QuantumRegister(1, "c"), QuantumRegister(3, "a"), [Clbit()]),
        ParameterVector("t", 4),
    )
    for angle in angles:
        part = random_circuit(3, 2, max_operands=3, seed=int(rng.integers(1 << 30)))
        part.ry(rng.choice([1, -2]) * angle + 0.1, 0)
        circuit.append(part.to_gate(label="part"), rng.permutation(4)[:3].tolist())
        circuit.barrier()
    point, observable = rng.uniform(-3, 3, 4).tolist(), paulis(4)
    want = expected(circuit, observable, point)
    assert value(circuit, observable, point) == pytest.approx(want, abs=1e-10)
    template = template_of(circuit, observable, "aer", 20_000)
    assert value(load(CircuitSpec(qpy=spec_of(circuit).qpy)), observable, point) == pytest.approx(
        want, abs=1e-10
    )
    assert template.num_qubits == 4


def test_a_definition_that_fails() -> None:
    """What a gate of the user's raises is told, with the circuit as its place."""

    class Broken(Gate):
        def _define(self) -> None:
            raise IndexError("no such angle")

    circuit = QuantumCircuit(1)
    circuit.append(Broken("broken", 1, []), [0])
    with pytest.raises(CircuitError, match="cannot be taken apart: IndexError: no such angle"):
        spec_of(circuit)


def test_parameters_of_a_phase_keep_their_place() -> None:
    """A parameter that only a phase has is a parameter all the same: first points have a number for it."""
    circuit = QuantumCircuit(1)
    circuit.append(GlobalPhaseGate(Parameter("a")), [])
    inner = QuantumCircuit(1, global_phase=Parameter("b"))
    inner.rx(P, 0)
    circuit.append(inner.to_gate(), [0])
    again = load(spec_of(circuit))
    assert [each.name for each in again.parameters] == ["a", "b", "p"]
    assert value(circuit, [("Z", 1.0)], [0.1, 0.2, 0.3]) == pytest.approx(np.cos(0.3))


# ------------------------------------------------------------------ what is refused


def looped() -> QuantumCircuit:
    """A loop."""
    circuit = QuantumCircuit(1)
    with circuit.for_loop(range(3)):
        circuit.rx(P, 0)
    return circuit


def conditional() -> QuantumCircuit:
    """A gate that depends on an outcome."""
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.rx(P, 0)
    return circuit


def boxed() -> QuantumCircuit:
    """A box."""
    circuit = QuantumCircuit(1)
    with circuit.box():
        circuit.rx(P, 0)
    return circuit


def with_variable() -> QuantumCircuit:
    """A classical variable."""
    circuit = QuantumCircuit(1)
    circuit.add_var("v", expr.lift(1, types.Uint(8)))
    circuit.rx(P, 0)
    return circuit


def saving() -> QuantumCircuit:
    """A state that is saved."""
    circuit = QuantumCircuit(1)
    circuit.rx(P, 0)
    circuit.append(Instruction("save_statevector", 1, 0, []), [0])
    return circuit


def resetting(nested: bool) -> QuantumCircuit:
    """A reset, perhaps inside an instruction."""
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.reset(0)
    circuit.rx(P, 0)
    outer = QuantumCircuit(1)
    outer.append(circuit.to_instruction(), [0])
    return outer if nested else circuit


def measured_before_its_end() -> QuantumCircuit:
    """A measurement, then a gate."""
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    circuit.rx(P, 0)
    return circuit


def initialized() -> QuantumCircuit:
    """A state set by resets."""
    circuit = QuantumCircuit(1)
    circuit.initialize("1")
    circuit.rx(P, 0)
    return circuit


def opaque() -> QuantumCircuit:
    """A gate nobody knows."""
    circuit = QuantumCircuit(1)
    circuit.append(Gate("mystery", 1, [P]), [0])
    return circuit


def stretched() -> QuantumCircuit:
    """A delay without a length."""
    circuit = QuantumCircuit(1)
    circuit.rx(P, 0)
    circuit.delay(circuit.add_stretch("s"), 0)
    return circuit


def waiting() -> QuantumCircuit:
    """A delay of any length."""
    circuit = QuantumCircuit(1)
    circuit.delay(P, 0, "us")
    return circuit


@pytest.mark.parametrize(
    ("circuit", "what", "hint"),
    [
        (looped(), "contains for_loop", "write its body out"),
        (conditional(), "contains if_else, measure", "controlled gates in place of conditions"),
        (boxed(), "contains box", "write its body without the box"),
        (with_variable(), "contains store", "make the variable a qiskit.circuit.Parameter"),
        (saving(), "contains save_statevector", "varloop reads what the observable"),
        (resetting(nested=False), "contains reset", "use a fresh qubit"),
        (resetting(nested=True), "contains reset", "use a fresh qubit"),
        (measured_before_its_end(), "contains measure", "before the end"),
        (initialized(), "contains initialize", "prepare_state"),
        (opaque(), "contains mystery", "a definition or a matrix"),
        (stretched(), "delay whose duration is", "give it a number"),
        (waiting(), "delay whose duration is p", "give it a number"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_refused_and_what_to_do(circuit: QuantumCircuit, what: str, hint: str) -> None:
    """What varloop does not run is named when the spec is made, with its own remedy and no other."""
    with pytest.raises(CircuitError, match=what) as caught:
        spec_of(circuit)
    assert hint in caught.value.hint
    assert ("prepare_state" in caught.value.hint) == (what == "contains initialize")


def test_a_gate_may_be_called_anything() -> None:
    """Names alone refuse nothing: a gate that is called box or reset is a gate."""
    circuit = QuantumCircuit(1)
    for name in ("boxer", "reset_all", "stored", "my_measure"):
        inner = QuantumCircuit(1, name=name)
        inner.ry(P, 0)
        circuit.append(inner.to_gate(), [0])
    assert plain(circuit).count_ops() == {"ry": 4}


# ------------------------------------------------------------------ delays


@pytest.mark.parametrize(
    "duration", [(100, "us"), (0.5, "ns"), (3, "s"), (100, "dt"), (2.5, "ms"), (7, "ps")]
)
def test_delays_keep_their_unit(duration: tuple[float, str]) -> None:
    """Qiskit's QPY forgets the unit of a delay (its issue 8293); varloop's does not."""
    circuit = QuantumCircuit(1)
    circuit.rx(P, 0)
    circuit.delay(duration[0], 0, duration[1])
    (delay,) = (each.operation for each in load(spec_of(circuit)).data if each.name == "delay")
    assert (delay.duration, delay.unit) == duration
    assert to_qpy(from_qpy(to_qpy(circuit))) == to_qpy(circuit)


def test_a_delay_that_lost_its_unit_is_refused() -> None:
    """In QPY of others 100 µs look like 100 dt, but for a number that is no integer."""
    circuit, buffer = QuantumCircuit(1), io.BytesIO()
    circuit.delay(100, 0, "us")
    circuit.rx(P, 0)
    qpy.dump(circuit, buffer)
    spec = CircuitSpec(qpy=base64.b64encode(zlib.compress(buffer.getvalue())).decode())
    with pytest.raises(CircuitError, match="a delay has lost its unit in Qiskit's QPY") as caught:
        load(spec)
    assert "varloop.submit" in caught.value.hint


def test_a_delay_of_a_constant_expression() -> None:
    """Qiskit's expressions for durations are numbers too."""
    from qiskit.circuit import Duration

    circuit = QuantumCircuit(1)
    circuit.rx(P, 0)
    circuit.delay(expr.lift(Duration.us(12.0)), 0)
    (delay,) = (each.operation for each in load(spec_of(circuit)).data if each.name == "delay")
    assert (delay.duration, delay.unit) == (12, "us")


@pytest.mark.parametrize("name", ["fake_torino", "fake_manila", "fake_burlington"])
@pytest.mark.parametrize("duration", [(500, "us"), (33.3, "us"), (1e-4, "s"), (7777, "ns"), (4000, "dt")])
def test_a_delay_decays_as_on_the_device(name: str, duration: tuple[float, str]) -> None:
    """Excited or in superposition, a qubit that waits relaxes as ``AerSimulator.from_backend`` has it.

    fake_burlington does not tell its dt: delays are in seconds there, and one in dt is refused.
    """
    circuit = QuantumCircuit(2)
    circuit.rx(P, 0)
    circuit.h(1)
    circuit.delay(duration[0], 0, duration[1])
    circuit.delay(20.0, 1, "us")
    circuit.h(1)
    observable = [("IZ", 1.0), ("ZI", 10.0)]
    if (name, duration[1]) == ("fake_burlington", "dt"):
        with pytest.raises(CircuitError, match="4000 dt, and this device does not tell how long its dt is"):
            template_of(circuit, observable, f"aer:{name}")
        return
    template = template_of(circuit, observable, f"aer:{name}")
    seen = value(circuit, observable, [np.pi], f"aer:{name}")
    assert seen == pytest.approx(reference(template, observable, name), abs=1e-7)


def reference(template: Template, observable: list[tuple[str, float]], name: str) -> float:
    """An observable of Z at p = π from the device's public simulator, with its readout errors by hand."""
    from qiskit_aer import AerSimulator
    from qiskit_aer.library import SaveProbabilities

    from varloop.quantum.backends.noisy import device

    backend, (circuit,) = device(name)(), template.circuits
    used = sorted({circuit.find_bit(qubit).index for each in circuit.data for qubit in each.qubits})
    bare = QuantumCircuit(backend.num_qubits)
    for each in circuit.data:
        if each.name != "measure":
            bare.append(each.operation, [circuit.find_bit(qubit).index for qubit in each.qubits])
    bare = bare.assign_parameters(template.angles.bind([[np.pi]])[0])
    bare.append(SaveProbabilities(len(template.layout)), template.layout)
    simulator = AerSimulator.from_backend(backend, method="density_matrix", max_parallel_threads=1)
    probabilities = simulator.run(bare).result().data()["probabilities"]
    for bit, qubit in enumerate(template.layout):
        error = backend.target["measure"][qubit,].error
        split = probabilities.reshape(-1, 2, 1 << bit)
        probabilities = ((1 - error) * split + error * split[:, ::-1]).reshape(-1)
    assert len(used) == 2
    return float(
        sum(w * (probabilities @ Pauli(label).to_matrix().diagonal().real) for label, w in observable)
    )


def test_trajectories_decay_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shot by shot a delay has the effect it has on a density matrix: five standard deviations, missed with 6e-7."""
    from varloop.quantum.backends import noisy

    circuit = QuantumCircuit(2)
    circuit.rx(P, 0)
    circuit.delay(90, 0, "us")
    exact = value(circuit, [("IZ", 1.0)], [np.pi], "aer:fake_torino")
    monkeypatch.setattr(noisy, "DENSITY", 0)
    template = template_of(circuit, [("IZ", 1.0)], "aer:fake_torino", 20_000)
    done = (
        backends().get("aer:fake_torino").run(template, template.angles.bind([[np.pi]]), shots=20_000, seed=4)
    )
    assert done.samples is not None
    outcomes, weights = cell(done.samples, 0)
    mean = float((weights * (1.0 - 2.0 * (outcomes & np.uint64(1)))).sum() / 20_000)
    assert abs(mean - exact) < 5 / np.sqrt(20_000)
    assert -0.8 < exact < 0.8


def test_delays_do_nothing_without_noise() -> None:
    """On the ideal simulator a qubit that waits stays as it is, in whatever unit."""
    circuit = QuantumCircuit(1)
    circuit.rx(P, 0)
    circuit.delay(100, 0, "dt")
    circuit.delay(1.5, 0, "us")
    assert value(circuit, [("Z", 1.0)], [0.3]) == pytest.approx(np.cos(0.3))


def test_ansatz_of_the_library_is_unchanged() -> None:
    """A circuit of plain gates goes through as it is."""
    circuit = efficient_su2(3, reps=1)
    assert plain(circuit).data == circuit.data
