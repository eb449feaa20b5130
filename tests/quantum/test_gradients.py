"""Gradients: exact by parameter shift, honest about their errors, the same every time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.circuit.library import PauliEvolutionGate, get_standard_gate_name_mapping
from qiskit.quantum_info import SparsePauliOp, Statevector

from varloop.errors import CircuitError, SpecError
from varloop.quantum.angles import RULES, Angles, separate
from varloop.quantum.gradients import STEP, choose, combine, plan
from varloop.spec import Gradient, MaxCut, RunSpec

WIDTH, PARAMETERS = 3, 3
OBSERVABLE = SparsePauliOp(["XYZ", "ZIX", "IZZ", "YII"], [0.9, -0.7, 0.5, 0.3])
GATES = get_standard_gate_name_mapping()
STENCIL = ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))

CURVES: list[Callable[[Any], Any]] = [
    lambda each: each * each / 5,
    lambda each: each.sin(),
    lambda each: (0.3 * each).exp(),
    lambda each: each.arctan() - each.cos() * each,
    lambda each: 1 / (2 + each * each),
]
"""of what an angle may be, beside linear"""

Function = Callable[[NDArray[np.float64]], float]


def energy(circuit: QuantumCircuit) -> Function:
    """Exact expectation value as a function of the circuit's parameters."""
    names = list(circuit.parameters)

    def value(point: NDArray[np.float64]) -> float:
        state = Statevector(circuit.assign_parameters(dict(zip(names, point, strict=True))))
        return float(state.expectation_value(OBSERVABLE).real)

    return value


def derivative(function: Function, point: NDArray[np.float64], step: float = 0.02) -> NDArray[np.float64]:
    """Central differences of sixth order."""
    units = np.eye(len(point)) * step
    return np.array(
        [
            sum(w * (function(point + k * u) - function(point - k * u)) for k, w in STENCIL) / step
            for u in units
        ]
    )


def shifted(circuit: QuantumCircuit, point: NDArray[np.float64]) -> tuple[float, list[float]]:
    """Value and gradient as an iteration computes them."""
    separated, angles = separate(circuit)
    batch = plan(angles, [point], "parameter-shift")
    function = energy(separated)
    values = [function(row) for row in batch.rows]
    evaluation = combine(batch, values, np.zeros(len(values)))
    assert evaluation.gradient is not None
    return evaluation.values[0], evaluation.gradient


@st.composite
def circuits(draw: st.DrawFn) -> QuantumCircuit:
    """Random circuits whose parameters are repeated, scaled, shared, summed, and in other expressions."""
    names = ParameterVector("t", PARAMETERS)
    scale = st.sampled_from([-2.0, -1.0, -0.5, 1 / 3, 1.0, 1.5])
    circuit = QuantumCircuit(WIDTH)
    circuit.h(0)
    circuit.ry(0.7, 1)
    circuit.cx(0, 2)
    for _ in range(draw(st.integers(2, 5))):
        name = draw(st.sampled_from([*RULES, "evolution", "r", "xx_plus_yy"]))
        qubits = draw(st.permutations(range(WIDTH)))

        def argument() -> object:
            first = draw(scale) * names[draw(st.integers(0, PARAMETERS - 1))]
            second = draw(st.sampled_from([0.0, 1.0, -0.5])) * names[draw(st.integers(0, PARAMETERS - 1))]
            affine = first + second + draw(st.sampled_from([0.0, 0.3, math.pi]))
            return draw(st.sampled_from([*CURVES, *(lambda each: each,) * len(CURVES)]))(affine)

        if name == "evolution":
            operator = SparsePauliOp(draw(st.sampled_from([["XYZ"], ["ZZI", "IZZ"], ["IIX", "YZI"]])))
            gate = PauliEvolutionGate(draw(scale) * operator, time=argument())
            circuit.compose(gate.definition, qubits, inplace=True)
            continue
        kind = type(GATES[name])
        gate = kind(*(argument() for _ in GATES[name].params))
        circuit.append(gate, qubits[: gate.num_qubits])
    return circuit


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(circuit=circuits(), seed=st.integers(0, 2**16))
def test_parameter_shift_is_the_derivative(circuit: QuantumCircuit, seed: int) -> None:
    """Whatever gates parameters appear in, and how often, the shifted rows add up to the derivative."""
    point = np.random.default_rng(seed).uniform(-math.pi, math.pi, circuit.num_parameters)
    value, gradient = shifted(circuit, point)
    function = energy(circuit)
    assert value == pytest.approx(function(point), abs=1e-9)
    assert np.allclose(gradient, derivative(function, point), atol=2e-6)


@pytest.mark.parametrize("name", RULES)
def test_every_gate_has_the_right_rule(name: str) -> None:
    """By each argument of each gate alone, its rule gives the derivative."""
    prototype = GATES[name]
    names = ParameterVector("t", len(prototype.params))
    circuit = QuantumCircuit(WIDTH)
    circuit.h(range(WIDTH))
    circuit.u(0.4, 0.8, 0.2, 0)
    circuit.ry(0.9, 1)
    circuit.cz(0, 2)
    circuit.append(type(prototype)(*names), range(prototype.num_qubits))
    circuit.h(1)
    circuit.cx(1, 2)
    circuit.ry(0.6, 0)
    point = np.array([0.8, -0.3, 1.9, 0.5])[: len(names)]
    exact = derivative(energy(circuit), point)
    assert np.abs(exact).max() > 1e-3
    assert np.allclose(shifted(circuit, point)[1], exact, atol=1e-8)


def linear(n_angles: int, n_parameters: int) -> Angles:
    """Some angles of some parameters."""
    rng = np.random.default_rng(5)
    return Angles(
        rng.normal(size=(n_angles, n_parameters)), rng.normal(size=n_angles), ("four-term",) * n_angles
    )


@pytest.mark.parametrize("gradient", ["none", "parameter-shift", "finite-difference", "spsa"])
def test_points_come_first(gradient: str) -> None:
    """The first rows of any plan are the angles of the requested points."""
    angles, points = linear(4, 2), np.array([[0.1, 0.2], [0.3, -0.4], [1.0, 2.0]])
    batch = plan(angles, points, gradient, seed=3)
    extra = {"none": 0, "parameter-shift": 16, "finite-difference": 4, "spsa": 2}[gradient]
    assert batch.n_points == 3
    assert batch.rows.shape == (3 + extra, 4)
    assert np.array_equal(batch.rows[:3], angles.bind(points))
    if gradient == "none":
        assert batch.weights is None
    else:
        assert batch.weights is not None
        assert batch.weights.shape == (2, 3 + extra)
        assert not batch.weights[:, :3].any()


@pytest.mark.parametrize("gradient", ["none", "parameter-shift", "finite-difference", "spsa"])
def test_the_same_plan_twice(gradient: str) -> None:
    """The step that runs a plan and the step that reads it build it alike, bit for bit."""
    one, two = (plan(linear(5, 3), [[0.1, 0.2, 0.3]], gradient, seed=11) for _ in range(2))
    assert one.rows.tobytes() == two.rows.tobytes()
    if one.weights is None or two.weights is None:
        assert one.weights is two.weights
    else:
        assert one.weights.tobytes() == two.weights.tobytes()


@pytest.mark.parametrize("gradient", ["parameter-shift", "finite-difference"])
def test_the_gradient_is_at_the_first_point(gradient: str) -> None:
    """Of several points the first is where the gradient is taken."""
    angles = Angles(np.eye(2), np.zeros(2), ("two-term",) * 2)
    batch = plan(angles, [[0.4, 1.3], [2.0, 3.0], [-1.0, 0.5]], gradient)
    evaluation = combine(batch, np.sin(batch.rows).sum(axis=1), np.zeros(len(batch.rows)))
    assert evaluation.values == pytest.approx(np.sin(batch.rows[:3]).sum(axis=1))
    assert evaluation.gradient == pytest.approx(np.cos([0.4, 1.3]), rel=2e-3)


def test_finite_differences() -> None:
    """The central difference of a sine is its cosine times sin(STEP)/STEP."""
    angles = Angles(np.eye(2), np.zeros(2), ("none", "none"))
    batch = plan(angles, [[0.4, 1.3]], "finite-difference")
    evaluation = combine(batch, np.sin(batch.rows).sum(axis=1), np.zeros(len(batch.rows)))
    assert evaluation.gradient == pytest.approx(np.cos([0.4, 1.3]) * math.sin(STEP) / STEP, abs=1e-12)


@pytest.mark.parametrize("gradient", ["finite-difference", "spsa"])
def test_differences_of_exact_values_take_a_fine_step(gradient: str) -> None:
    """Where values have no shot noise, bias and rounding of a difference are below 1e-9; the step was 0.1."""
    angles = Angles(np.eye(2), np.zeros(2), ("none", "none"))
    batch = plan(angles, [[0.4, 30.0]], gradient, seed=3, exact=True)
    slopes = np.cos([0.4, 30.0])
    seen = combine(batch, np.sin(batch.rows).sum(axis=1), np.zeros(len(batch.rows))).gradient
    direction = np.sign(batch.rows[1] - batch.rows[0])
    expected = slopes if gradient == "finite-difference" else direction * (direction @ slopes)
    assert seen == pytest.approx(expected, abs=1e-9)


def test_spsa_sees_the_slope_along_one_direction() -> None:
    """Of a linear function with slopes c, SPSA returns d·(d·c), where d has entries ±1 from the seed."""
    slopes = np.array([1.0, -2.0, 0.5, 3.0])
    angles = Angles(np.eye(4), np.zeros(4), ("two-term",) * 4)
    directions = set()
    for seed in range(20):
        batch = plan(angles, [[0.1, 0.2, 0.3, 0.4]], "spsa", seed)
        direction = (batch.rows[1] - batch.rows[0]) / STEP
        assert np.abs(direction) == pytest.approx(np.ones(4))
        gradient = combine(batch, batch.rows @ slopes, np.zeros(3)).gradient
        assert gradient == pytest.approx(direction * (direction @ slopes))
        directions.add(tuple(direction.round()))
    assert len(directions) > 5


@pytest.mark.parametrize("gradient", ["parameter-shift", "finite-difference", "spsa"])
def test_errors_are_the_spread_of_repeated_runs(gradient: str) -> None:
    """Standard errors of values and gradient equal the spread over many runs with independent row noise."""
    batch = plan(linear(3, 2), [[0.1, 0.2], [0.3, 0.4]], gradient, seed=1)
    rng = np.random.default_rng(0)
    variances = rng.uniform(0.1, 2.0, len(batch.rows))
    noise = rng.normal(size=(20_000, len(batch.rows))) * np.sqrt(variances)
    evaluation = combine(batch, noise[0], variances)
    assert batch.weights is not None
    assert evaluation.errors == pytest.approx(noise[:, :2].std(axis=0), rel=0.03)
    assert evaluation.gradient_errors == pytest.approx((noise @ batch.weights.T).std(axis=0), rel=0.03)


def test_exact_values_have_no_error() -> None:
    """Without variance every standard error is 0, and all numbers are plain floats."""
    batch = plan(linear(2, 2), [[0.0, 0.0]], "parameter-shift")
    evaluation = combine(batch, np.ones(len(batch.rows)), np.zeros(len(batch.rows)))
    assert evaluation.errors == [0.0]
    assert evaluation.gradient_errors == [0.0, 0.0]
    assert all(type(number) is float for number in (*evaluation.values, *(evaluation.gradient or ())))


def test_values_alone() -> None:
    """Without a gradient an evaluation has none."""
    evaluation = combine(plan(linear(2, 2), [[0, 1], [2, 3]]), [1.0, 2.0], [4.0, 9.0])
    assert (evaluation.values, evaluation.errors) == ([1.0, 2.0], [2.0, 3.0])
    assert evaluation.gradient is evaluation.gradient_errors is None


def test_faults_are_refused() -> None:
    """Rows missing, a rule missing, no point, an unknown gradient: each says what was expected."""
    angles = linear(2, 2)
    with pytest.raises(CircuitError, match="the batch has 9 rows"):
        combine(plan(angles, [[0, 0]], "parameter-shift"), np.zeros(8), np.zeros(9))
    with pytest.raises(CircuitError, match="2 of 2 have none"):
        plan(Angles(np.eye(2), np.zeros(2), ("none", "none")), [[0, 0]], "parameter-shift")
    with pytest.raises(CircuitError, match="expected at least one"):
        plan(angles, np.empty((0, 2)), "spsa")
    with pytest.raises(CircuitError, match="unknown gradient 'adjoint'"):
        plan(angles, [[0, 0]], "adjoint")


@pytest.mark.parametrize(
    ("value", "variance"), [(math.nan, 0.0), (math.inf, 0.0), (1.0, math.nan), (-math.inf, math.inf)]
)
def test_what_is_not_finite_goes_no_further(value: float, variance: float) -> None:
    """Such a row is named where it was computed: on its way through JSON it would become null."""
    batch = plan(linear(2, 2), [[0, 1], [2, 3]])
    with pytest.raises(
        CircuitError, match=f"row 1 has the value {value} and the variance {variance}: expected"
    ):
        combine(batch, [1.0, value], [4.0, variance])


def asking(gradient: Gradient, cvar: float = 1.0) -> RunSpec:
    """A spec with this setting."""
    return RunSpec(problem=MaxCut(edges=[(0, 1, 1.0)], cvar=cvar), gradient=gradient)


def test_choice_of_the_gradient() -> None:
    """Auto is parameter shift where it is exact, else finite differences; nothing is measured for nothing."""
    exact, opaque = linear(2, 2), Angles(np.eye(2), np.zeros(2), ("two-term", "none"))
    auto, cvar = asking("auto"), asking("auto", cvar=0.5)
    assert choose(auto, True, exact) == "parameter-shift"
    assert choose(auto, True, opaque) == choose(cvar, True, exact) == "finite-difference"
    assert choose(asking("spsa"), True, opaque) == "spsa"
    assert choose(auto, False, exact) == choose(asking("parameter-shift"), False, opaque) == "none"
    with pytest.raises(SpecError, match="1 of 2 have none"):
        choose(asking("parameter-shift"), True, opaque)
    with pytest.raises(SpecError, match="the optimizer needs one"):
        choose(asking("none"), True, exact)


def test_a_gradient_of_more_rows_than_memory_is_refused() -> None:
    """A hundred thousand angles would need 160 GB of rows; the remedy is told before they are made."""
    many = Angles(np.ones((100_000, 1)), np.zeros(100_000), ("two-term",) * 100_000)
    with pytest.raises(SpecError, match=r"200000 rows of 100000 angles each.* finite-difference or spsa"):
        choose(asking("auto"), True, many)
    assert choose(asking("finite-difference"), True, many) == "finite-difference"
