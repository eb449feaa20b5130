"""Angles: what separating a circuit keeps, and when a rule is known."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.circuit import Gate, Parameter, ParameterVector, QuantumCircuit
from qiskit.circuit.library import CRXGate, PauliEvolutionGate, PhaseGate, RXGate, XXPlusYYGate
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector

from varloop.errors import CircuitError
from varloop.quantum.angles import RULES, SHIFTS, Angles, separate

X, Y = Parameter("x"), Parameter("y")


def bound(circuit: QuantumCircuit, values: Sequence[float] | NDArray[np.float64]) -> QuantumCircuit:
    """The circuit at these values of its parameters, in their order."""
    return circuit.assign_parameters(dict(zip(circuit.parameters, values, strict=True)))


def same_state(circuit: QuantumCircuit, point: list[float]) -> bool:
    """Whether the circuit and its separated form prepare one state, up to the global phase."""
    separated, angles = separate(circuit)
    before = Statevector(bound(circuit, point).decompose("PauliEvolution"))
    return bool(before.equiv(Statevector(bound(separated, angles.bind([point])[0]))))


def test_every_occurrence_gets_an_angle() -> None:
    """A parameter in three gates, scaled and shifted, is three angles with those slopes and offsets."""
    circuit = QuantumCircuit(2)
    circuit.rx(X, 0)
    circuit.ry(2 * X - 1, 1)
    circuit.rzz(Y / 4 - 3 * X + math.pi, 0, 1)
    separated, angles = separate(circuit)
    assert [parameter.name for parameter in separated.parameters] == ["a[0]", "a[1]", "a[2]"]
    assert np.allclose(angles.matrix, [[1.0, 0.0], [2.0, 0.0], [-3.0, 0.25]])
    assert np.allclose(angles.offset, [0, -1, math.pi])
    assert angles.rules == ("two-term",) * 3
    assert np.allclose(angles.bind([[1, 2], [0, 0]]), [[1, 1, -2.5 + math.pi], [0, -1, math.pi]])


def test_parameters_are_in_the_order_of_the_angles() -> None:
    """Beyond ten angles the separated circuit's parameters still follow the gates, not the alphabet."""
    vector = ParameterVector("t", 12)
    circuit = QuantumCircuit(1)
    for k in range(12):
        circuit.rx((k + 1) * vector[11 - k], 0)
    separated, angles = separate(circuit)
    gates = [instruction.operation.params[0] for instruction in separated.data]
    assert gates == list(separated.parameters)
    assert np.array_equal(angles.matrix, np.diag(np.arange(1.0, 13))[:, ::-1])


def test_arguments_of_a_gate_are_apart() -> None:
    """Each argument of U is an angle of its own; numbers stay in the circuit."""
    circuit = QuantumCircuit(1)
    circuit.u(X, 0.5, Y + X, 0)
    separated, angles = separate(circuit)
    assert np.array_equal(angles.matrix, [[1, 0], [1, 1]])
    assert separated.data[0].operation.params[1] == 0.5


@pytest.mark.parametrize(
    "gate",
    [
        XXPlusYYGate(X, Y),
        RXGate(X).control(2, annotated=True),
        PhaseGate(X).control(2, annotated=False, ctrl_state=1),
        CRXGate(X, ctrl_state=0),
        PauliEvolutionGate(SparsePauliOp(["XZY"], [0.7]), time=X),
        PauliEvolutionGate(SparsePauliOp(["IZZ", "ZZI", "ZIZ"], [1, 0.5, -2]), time=2 * X),
    ],
    ids=lambda gate: gate.name,
)
def test_other_gates_are_taken_apart(gate: Gate) -> None:
    """A parametrised gate without a rule is decomposed into gates with rules, and prepares the same state."""
    circuit = QuantumCircuit(3)
    circuit.ry(0.4, 0)
    circuit.h([1, 2])
    circuit.append(gate, range(gate.num_qubits))
    separated, angles = separate(circuit)
    named = {instruction.name for instruction in separated.data if instruction.is_parameterized()}
    assert named <= set(RULES)
    assert angles.shiftable
    if "annotated" not in gate.name and not gate.name.startswith("ccrx"):
        assert same_state(circuit, [0.3, -1.1][: circuit.num_parameters])


def test_a_pauli_evolution_is_a_rotation_by_twice_the_time() -> None:
    """exp(−i·t·c·P) for one Pauli string becomes one angle 2·c·t, compared with the matrix itself."""
    pauli = SparsePauliOp(["XZY"])
    circuit = QuantumCircuit(3)
    circuit.append(PauliEvolutionGate(0.7 * pauli, time=X), range(3))
    separated, angles = separate(circuit)
    assert np.allclose(angles.matrix, [[1.4]])
    expected = math.cos(0.7) * np.eye(8) - 1j * math.sin(0.7) * pauli.to_matrix()
    assert Operator(bound(separated, angles.bind([[1.0]])[0])).equiv(Operator(expected))


def test_nested_circuits_keep_their_qubits() -> None:
    """A gate made of a circuit is taken apart onto the qubits it was put on, in its order."""
    inner = QuantumCircuit(2)
    inner.rx(X, 0)
    inner.crz(2 * X, 0, 1)
    circuit = QuantumCircuit(3)
    circuit.h([0, 1, 2])
    circuit.append(inner.to_gate(), [2, 0])
    circuit.append(inner.to_gate().inverse(), [1, 2])
    assert same_state(circuit, [0.7])


def test_what_is_not_affine_is_a_curve() -> None:
    """An angle of any expression keeps its gate's rule; its value and its slopes are those of the expression."""
    circuit = QuantumCircuit(2)
    circuit.rx(X * Y, 0)
    circuit.ry(2 * Y, 1)
    circuit.rzz(X.sin() + 1, 0, 1)
    _, angles = separate(circuit)
    assert angles.rules == ("two-term",) * 3
    assert np.array_equal(angles.matrix, [[0, 0], [0, 2], [0, 0]])
    assert angles.shiftable
    assert angles.sinusoidal.tolist() == [False, False]
    assert np.allclose(angles.bind([[0.3, 1.7]]), [[0.51, 3.4, math.sin(0.3) + 1]])
    assert np.allclose(
        angles.weights(np.array([0.3, 1.7]))[:, ::2], [[0.85, 0, math.cos(0.3) / 2], [0.15, 1, 0]]
    )
    assert same_state(circuit, [0.3, 1.7])


def test_an_angle_without_a_derivative_has_no_rule() -> None:
    """A sign has values and no slope."""
    circuit = QuantumCircuit(1)
    circuit.rx(X.sign() * Y, 0)
    circuit.ry(Y, 0)
    _, angles = separate(circuit)
    assert angles.rules == ("none", "two-term")
    assert not angles.shiftable
    assert angles.bind([[-2.0, 0.5]]).tolist() == [[-0.5, 0.5]]


def test_an_expression_that_has_no_value_at_zero() -> None:
    """x² / x is x everywhere but at 0: there it is refused by name, and its slope is 1."""
    circuit = QuantumCircuit(1)
    circuit.rx(X * X / X, 0)
    _, angles = separate(circuit)
    assert np.allclose(angles.bind([[0.3], [-1.2]]), [[0.3], [-1.2]])
    assert angles.weights(np.array([0.3])).tolist() == [[0.5, -0.5]]
    with pytest.raises(CircuitError, match=r"the angle x\*x/x has no real value at x = 0: "):
        angles.bind([[0.0]])


def test_where_an_angle_has_no_real_value_or_derivative() -> None:
    """Which angle, and where; the parameters have the names the circuit gave them."""
    circuit = QuantumCircuit(1)
    circuit.rx(Y + X**0.5, 0)
    _, angles = separate(circuit)
    with pytest.raises(CircuitError, match=r"the angle .*x\*\*0.5.* has no real value at .*x = -1"):
        angles.bind([[-1.0, 0.0]])
    assert angles.bind([[0.0, 1.0]]).tolist() == [[1.0]]
    with pytest.raises(CircuitError, match=r"the angle .* has no real derivative at .*x = 0"):
        angles.weights(np.array([0.0, 1.0]))


def test_no_rule_for_an_opaque_gate() -> None:
    """A gate without a definition keeps its parameter, as an angle without a rule."""
    circuit = QuantumCircuit(1)
    circuit.append(Gate("mystery", 1, [X]), [0])
    assert separate(circuit)[1].rules == ("none",)


def test_a_phase_that_nothing_depends_on_is_dropped() -> None:
    """A parameter of the global phase alone is no angle, and its column is zero."""
    circuit = QuantumCircuit(1, global_phase=X)
    circuit.rx(Y, 0)
    separated, angles = separate(circuit)
    assert separated.global_phase == 0
    assert np.array_equal(angles.matrix, [[0, 1]])


def test_clashing_names_do_not_matter() -> None:
    """A circuit whose parameters are called like the angles is separated all the same."""
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a[1]") * 2, 0)
    circuit.ry(Parameter("a[0]_[0]") * Parameter("a[1]_[0]"), 0)
    separated, angles = separate(circuit)
    assert [parameter.name for parameter in separated.parameters] == ["a[0]", "a[1]"]
    assert separate(separated)[1].matrix.shape == (2, 2)
    assert angles.bind([[2.0, 3.0, 5.0]]).tolist() in ([[6.0, 10.0]], [[4.0, 15.0]], [[10.0, 6.0]])


def test_the_circuit_is_left_alone() -> None:
    """Separating changes nothing in the circuit it was given."""
    circuit = QuantumCircuit(1, name="mine", metadata={"a": 1}, global_phase=X)
    circuit.rx(2 * X, 0)
    copy = circuit.copy()
    separate(circuit)
    assert circuit == copy
    assert (circuit.name, circuit.metadata) == ("mine", {"a": 1})


def test_a_circuit_without_parameters() -> None:
    """No parameters, no angles: one row of nothing for the empty point."""
    circuit = QuantumCircuit(1)
    circuit.h(0)
    _, angles = separate(circuit)
    assert angles.matrix.shape == (0, 0)
    assert angles.bind([[]]).shape == (1, 0)


def test_sinusoidal_parameters() -> None:
    """A parameter is sinusoidal in one rotation, negated or not, beside others or not; else it may not be."""
    a, b, shared, scaled, controlled, square = map(Parameter, ("a", "b", "c", "d", "e", "f"))
    circuit = QuantumCircuit(2)
    circuit.rx(a - b, 0)
    circuit.rz(shared + 0.3, 0)
    circuit.rz(shared, 1)
    circuit.rzz(scaled / 2, 0, 1)
    circuit.crx(controlled, 0, 1)
    circuit.ry(square**2, 1)
    evolution, time = QuantumCircuit(2), Parameter("t")
    evolution.append(PauliEvolutionGate(SparsePauliOp("XY"), time=time / 2), range(2))

    assert separate(circuit)[1].sinusoidal.tolist() == [True, True, False, False, False, False]
    assert separate(evolution)[1].sinusoidal.tolist() == [True]


def test_twice_the_gates_take_twice_the_time() -> None:
    """Each gate is dealt with by itself, however many came before it."""
    circuit, shared = QuantumCircuit(1), Parameter("p")
    for _ in range(8000):
        circuit.rx(shared, 0)
    started = time.process_time()
    angles = separate(circuit)[1]
    assert time.process_time() - started < 2.5  # 0.3 s; 7 s as it was
    assert angles.matrix.shape == (8000, 1)


def test_angles_times_parameters_have_a_limit() -> None:
    """A matrix of gigabytes is refused before it is made."""
    circuit, names = QuantumCircuit(1), ParameterVector("p", 4200)
    for name in names:
        circuit.rx(name, 0)
    with pytest.raises(CircuitError, match="angles times parameters, expected at most 16777216"):
        separate(circuit)


def test_points_of_another_width() -> None:
    """A point with too many numbers is refused with both shapes."""
    angles = Angles(np.eye(2), np.zeros(2), ("two-term",) * 2)
    with pytest.raises(CircuitError, match=r"shape \(1, 3\), the circuit has 2 parameters"):
        angles.bind([[1, 2, 3]])


@pytest.mark.parametrize("rule", SHIFTS)
def test_rules_are_exact_for_their_frequencies(rule: str) -> None:
    """Each rule differentiates the sines and cosines that its generator can produce, and constants."""
    frequencies = {"two-term": [1.0], "four-term": [0.5, 1.0]}[rule]
    for frequency in frequencies:
        for phase in (0.0, 0.3, 1.9):
            value = sum(weight * math.sin(frequency * shift + phase) for shift, weight in SHIFTS[rule])
            assert value == pytest.approx(frequency * math.cos(phase), abs=1e-14)
    assert sum(weight for _, weight in SHIFTS[rule]) == 0


@pytest.mark.parametrize("module", ["angles", "gradients"])
def test_no_qiskit_in_every_iteration(module: str) -> None:
    """What runs in every iteration imports neither Qiskit nor SciPy."""
    code = f"import sys, varloop.quantum.{module}; sys.exit(bool({{'qiskit', 'scipy'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
