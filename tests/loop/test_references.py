"""Physics over the whole loop. Values: hydrogen in STO-3G at 0.735 Å, two qubits by parity mapping and tapering
(Peruzzo et al. 2014 made it the first example; the coefficients are Qiskit Nature's), and QAOA on rings: depth p
cuts (2p + 1) / (2p + 2) of the edges (Farhi et al., arXiv:1411.4028).
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import Statevector

from varloop.client import submit
from varloop.events import RunCompleted
from varloop.quantum.problems import ansatz
from varloop.spec import Budget, CircuitSpec, Ising, MaxCut, RunSpec

NUCLEAR = 0.7199689944
H2 = [
    ("II", -1.0523732458 + NUCLEAR),
    ("IZ", 0.3979374248),
    ("ZI", -0.3979374248),
    ("ZZ", -0.0112801043),
    ("XX", 0.1809311998),
]
GROUND = -1.1373060358
ANSATZ = CircuitSpec(library="efficient_su2", options={"num_qubits": 2, "reps": 1})


def energy(parameters: list[float]) -> float:
    """⟨H⟩ from the state vector, without any of varloop."""
    from qiskit.circuit.library import efficient_su2
    from qiskit.quantum_info import SparsePauliOp, Statevector

    state = Statevector(efficient_su2(2, reps=1).assign_parameters(parameters))
    return float(state.expectation_value(SparsePauliOp.from_list(H2)).real)


def hydrogen(optimizer: str, **fields: Any) -> RunCompleted:
    """The result of a run on hydrogen."""
    return submit(
        store="memory:", circuit=ANSATZ, observable=H2, optimizer=optimizer, seed=4, **fields
    ).result()


@pytest.mark.parametrize(
    ("optimizer", "budget", "within"),
    [("l-bfgs-b", 40, 1e-8), ("adam", 150, 1e-5), ("rotosolve", 150, 1e-4), ("cobyla", 60, 1e-3)],
)
def test_the_ground_state_of_hydrogen(optimizer: str, budget: int, within: float) -> None:
    """Exact runs reach the ground state's energy, each as fast as it can, at parameters that have it."""
    result = hydrogen(optimizer, budget=budget)

    assert -1e-9 < result.value - GROUND < within
    assert energy(result.parameters) == pytest.approx(result.value, abs=1e-9)


@pytest.mark.parametrize("offset", [1e6, 1e9, -(2.0**40)])
@pytest.mark.parametrize(
    "fields",
    [{"optimizer": "l-bfgs-b"}, {"optimizer": "cobyla"}, {"optimizer": "spsa", "shots": 64}],
    ids=lambda fields: fields["optimizer"],
)
def test_a_constant_changes_nothing_but_the_value(fields: dict[str, Any], offset: float) -> None:
    """No optimizer, tolerance or difference sees a problem's constant: it is added to what people see."""
    couplings = [(0, 1, 1.0), (1, 2, -0.7), (2, 3, 1.3), (3, 0, 0.4), (0, 2, 0.9)]

    def end(constant: float) -> RunCompleted:
        problem = Ising(couplings=couplings, fields=[0.3, -0.5], offset=constant)
        return submit(
            store="memory:", problem=problem, seed=1, budget=Budget(iterations=40, tolerance=1e-9), **fields
        ).result()

    plain, lifted = end(0.0), end(offset)
    assert lifted.parameters == plain.parameters
    assert (lifted.iterations, lifted.error, lifted.reason) == (plain.iterations, plain.error, plain.reason)
    assert lifted.value == pytest.approx(plain.value + offset, rel=1e-15)
    assert lifted.solution is not None
    assert plain.solution is not None
    assert lifted.solution.cost == pytest.approx(plain.solution.cost + offset, rel=1e-15)


@pytest.mark.parametrize("factor", [2.0**-10, 2.0**20])
@pytest.mark.parametrize(
    "fields",
    [{"optimizer": "spsa", "shots": 64}, {"optimizer": "spsa"}, {"optimizer": "cobyla"}],
    ids=["spsa, shots", "spsa", "cobyla"],
)
def test_a_problem_times_a_constant_is_the_same_run(fields: dict[str, Any], factor: float) -> None:
    """Weights times a power of two: the same parameters bit for bit, and the value and its error times that power."""
    edges = [(0, 1, 1.0), (1, 2, 0.7), (2, 3, 1.3), (3, 0, 0.4), (0, 2, 0.9)]

    def end(size: float) -> RunCompleted:
        problem = MaxCut(edges=[(i, j, size * weight) for i, j, weight in edges], layers=2)
        return submit(problem=problem, seed=1, budget=15, **fields).result()

    plain, larger = end(1.0), end(factor)
    assert larger.parameters == plain.parameters
    assert (larger.value, larger.error) == (factor * plain.value, factor * plain.error)


@pytest.mark.parametrize("start", [6.0, 0.5, -2.2])
def test_a_parameter_that_enters_squared(start: float) -> None:
    """ry(a²) has the energy cos(a²): L-BFGS-B converges where its slope −2a·sin(a²) is below the tolerance."""
    a = Parameter("a")
    circuit = QuantumCircuit(1)
    circuit.ry(a * a, 0)
    result = submit(circuit=circuit, observable="Z", optimizer="l-bfgs-b", initial=[start], seed=0).result()
    (found,) = result.parameters

    assert result.reason == "converged"
    assert abs(2 * found * math.sin(found**2)) < 1e-5
    assert result.value == pytest.approx(-1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("optimizer", "shots"),
    [("spsa", None), ("cobyla", None), ("l-bfgs-b", None), ("spsa", 3000), ("cobyla", 3000)],
)
def test_the_solution_has_its_probability_at_the_result(optimizer: str, shots: int | None) -> None:
    """Not that of the iteration which found it. By shots: its share in the fresh sample, within five deviations."""
    problem = MaxCut(edges=[(0, 1, 1.0), (1, 2, 0.7), (2, 3, 1.3), (3, 0, 0.4), (0, 2, 0.9)])
    result = submit(problem=problem, optimizer=optimizer, shots=shots, seed=5, budget=12).result()
    state = Statevector(ansatz(RunSpec(problem=problem)).assign_parameters(result.parameters))
    assert result.solution is not None
    exact = state.probabilities()[int(result.solution.bits[::-1], 2)]

    assert exact > 0.01
    spread = math.sqrt(exact * (1 - exact) / shots) if shots else 1e-12
    assert abs(result.solution.probability - exact) < 5 * spread


def test_hydrogen_by_shots() -> None:
    """A sampled run ends near the ground state, and its value ± error covers the energy at its parameters.

    The final value is one fresh measurement; five standard errors are missed once in 1.7 million.
    """
    result = hydrogen("spsa", shots=2000, budget=150)
    exact = energy(result.parameters)

    assert 0.001 < result.error < 0.02
    assert abs(result.value - exact) < 5 * result.error
    assert exact == pytest.approx(GROUND, abs=0.02)


def test_errors_are_standard_errors() -> None:
    """Over many seeds the deviation of a value in units of its error has variance 1.

    A single point measured by 200 seeds: 200·s² follows χ² with 200 degrees of freedom, within 130 … 290 but for
    one time in 10⁵ on either side.
    """
    point = [0.3, -0.7, 1.1, 0.2, 0.9, -0.4, 0.6, 0.1]
    exact = energy(point)
    total = 0.0
    for seed in range(200):
        run = submit(
            store="memory:",
            circuit=ANSATZ,
            observable=H2,
            optimizer="cobyla",
            shots=300,
            seed=seed,
            budget=1,
            initial=point,
        )
        first = run_first(run)
        total += ((first[0] - exact) / first[1]) ** 2

    assert 130 < total < 290


def run_first(run: Any) -> tuple[float, float]:
    """Value and error of a run's first iteration."""
    run.result()
    first = run.history()[0]
    return first.value, first.error


@pytest.mark.parametrize(("layers", "share"), [(1, 3 / 4), (2, 5 / 6)])
def test_a_ring_is_cut_as_theory_says(layers: int, share: float) -> None:
    """QAOA of depth p cuts (2p + 1) / (2p + 2) of a ring's edges, and samples the cut of all of them."""
    ring = MaxCut(edges=[(node, (node + 1) % 8, 1.0) for node in range(8)], layers=layers)
    # γ is negative of the published angles, which maximise the cut
    result = submit(
        store="memory:",
        problem=ring,
        optimizer="l-bfgs-b",
        budget=80,
        initial=[-0.6] * layers + [0.4] * layers,
    ).result()

    assert result.value == pytest.approx(-8 * share, abs=1e-4)
    assert result.solution is not None
    assert (result.solution.bits, result.solution.cost) in [("01010101", -8.0), ("10101010", -8.0)]
