"""Problems: costs, observables and QAOA agree with their definitions and with published numbers."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import real_amplitudes
from qiskit.quantum_info import SparsePauliOp, Statevector
from scipy.linalg import expm
from scipy.optimize import minimize

from varloop.errors import SpecError
from varloop.quantum.circuits import spec_of, to_qpy
from varloop.quantum.problems import Binary, ansatz, costs, is_binary, num_qubits, observable, varying
from varloop.spec import Energy, Ising, MaxCut, Qubo, RunSpec

WEIGHTS = st.floats(-5, 5, allow_nan=False, allow_subnormal=False)
NODES = st.integers(0, 5)
PAIRS = st.tuples(NODES, NODES, WEIGHTS)
EDGES = PAIRS.filter(lambda edge: edge[0] != edge[1])

QUBOS = st.builds(Qubo, terms=st.lists(PAIRS, min_size=1, max_size=12), offset=WEIGHTS)
ISINGS = st.builds(
    Ising,
    couplings=st.lists(EDGES, min_size=1, max_size=12),
    fields=st.lists(WEIGHTS, max_size=7),
    offset=WEIGHTS,
)
CUTS = st.builds(MaxCut, edges=st.lists(EDGES, min_size=1, max_size=12))

HEAWOOD = [(i, (i + 1) % 14) for i in range(14)] + [(i, (i + 5) % 14) for i in range(0, 14, 2)]
CUBE = [(i, i ^ bit) for i in range(8) for bit in (1, 2, 4) if i < i ^ bit]
RING = [(i, (i + 1) % 8) for i in range(8)]


def definition(problem: Binary, bits: list[int]) -> float:
    """The cost as the spec's docstrings define it."""
    match problem:
        case Qubo():
            return problem.offset + sum(w * bits[i] * bits[j] for i, j, w in problem.terms)
        case MaxCut():
            return -sum(w for i, j, w in problem.edges if bits[i] != bits[j])
        case Ising():
            spins = [1 - 2 * bit for bit in bits]
            pairs = sum(w * spins[i] * spins[j] for i, j, w in problem.couplings)
            return problem.offset + pairs + sum(h * s for h, s in zip(problem.fields, spins, strict=False))


@settings(deadline=None, derandomize=True, database=None)
@given(problem=QUBOS | ISINGS | CUTS)
def test_costs_are_the_definition_and_the_diagonal(problem: Binary) -> None:
    """The cost of outcome k is the definition's on bits of k, and entry k of the observable's diagonal."""
    width = num_qubits(problem)
    outcomes = np.arange(2**width, dtype=np.uint64)
    result = costs(problem, outcomes)
    expected = [definition(problem, [k >> i & 1 for i in range(width)]) for k in range(2**width)]
    assert np.allclose(result, expected, atol=1e-9)
    operator = observable(problem)
    assert operator.num_qubits == width
    assert set("".join(operator.paulis.to_labels())) <= set("IZ")
    assert np.allclose(result, operator.to_matrix(sparse=True).diagonal().real, atol=1e-9)


def test_costs_keep_the_shape_and_ignore_idle_bits() -> None:
    """Costs come in the outcomes' shape, and bits beyond the problem's variables do not matter."""
    problem = MaxCut(edges=[(0, 1, 2.0)])
    outcomes = np.array([[0, 1], [2 | 1 << 63, 3 | 1 << 40]], dtype=np.uint64)
    assert np.array_equal(costs(problem, outcomes), [[0, -2], [-2, 0]])
    assert costs(problem, np.array([], dtype=np.uint64)).shape == (0,)


def test_many_outcomes_are_costed_in_pieces() -> None:
    """A batch longer than one piece gives the same costs as its parts."""
    problem = Ising(couplings=[(0, 1, 1.0), (1, 2, -0.5)], fields=[0.1, 0.2, 0.3])
    outcomes = np.arange(2**17 + 3, dtype=np.uint64)
    assert np.array_equal(costs(problem, outcomes), np.resize(costs(problem, outcomes[:8]), len(outcomes)))


def test_widths() -> None:
    """A problem has a qubit for each variable up to the largest that is named, or each letter of a label."""
    assert num_qubits(Qubo(terms=[(4, 1, 1.0)])) == 5
    assert num_qubits(MaxCut(edges=[(0, 7, 1.0)])) == 8
    assert num_qubits(Ising(couplings=[(0, 1, 1.0)], fields=[0.0] * 6)) == 6
    assert num_qubits(Ising(couplings=[], fields=[1.0, 2.0])) == 2
    assert num_qubits(Energy(observable=[("XYZ", 1.0)])) == 3


def test_energies_are_not_binary() -> None:
    """Only the problems over bit strings are binary."""
    assert not is_binary(Energy(observable=[("Z", 1.0)]))
    assert is_binary(MaxCut(edges=[(0, 1, 1.0)]))


def test_repeated_pairs_are_one_term() -> None:
    """Weights of one pair add up, in either order, and a pair that cancels leaves no gate and no term."""
    problem = Ising(couplings=[(0, 1, 1.0), (1, 0, 2.0), (1, 2, 1.0), (2, 1, -1.0)])
    assert observable(problem).to_list() == [("III", 0), ("IZZ", 3)]
    assert ansatz(RunSpec(problem=problem)).count_ops()["rzz"] == 1


H2 = """IIII -.8105479805; IIIZ .1721839326; IIZI -.2257534922; IZII .1721839326; ZIII -.2257534922
IIZZ .1209126326; ZZII .1209126326; IZIZ .1689275387; ZIIZ .1661454326; IZZI .1661454326; ZIZI .1746434307
YYYY .0452327999; XXYY .0452327999; YYXX .0452327999; XXXX .0452327999"""
H2_PARITY = "II -1.0523732458; IZ .3979374248; ZI -.3979374248; ZZ -.0112801043; XX .1809311998"


@pytest.mark.parametrize("table", [H2, H2_PARITY], ids=["jordan-wigner", "parity"])
def test_hydrogen(table: str) -> None:
    """H2 at 0.735 Å in STO-3G has the electronic energy of full configuration interaction."""
    terms = [(label, float(number)) for label, number in map(str.split, table.replace("\n", ";").split(";"))]
    matrix = observable(Energy(observable=terms)).to_matrix()
    assert np.linalg.eigvalsh(matrix)[0] == pytest.approx(-1.8572750302, abs=1e-8)


@pytest.mark.parametrize(
    ("sites", "periodic", "energy"),
    [
        (4, False, -4.7587704831),
        (8, False, -9.8379514475),
        (4, True, -5.2262518595),
        (8, True, -10.2516617910),
    ],
)
def test_transverse_field_ising(sites: int, periodic: bool, energy: float) -> None:
    """The critical chain's ground energy: labels are read with qubit 0 rightmost, signs kept."""
    bonds = sites if periodic else sites - 1
    letters = [{i: "Z", (i + 1) % sites: "Z"} for i in range(bonds)] + [{i: "X"} for i in range(sites)]
    labels = ["".join(term.get(q, "I") for q in reversed(range(sites))) for term in letters]
    operator = observable(Energy(observable=[(label, -1.0) for label in labels]))
    assert operator.paulis.to_labels() == labels
    assert np.linalg.eigvalsh(operator.to_matrix())[0] == pytest.approx(energy, abs=1e-9)


def test_the_spec_brings_its_circuit() -> None:
    """A circuit in the spec is the ansatz, for a binary problem too; an energy has to bring one."""
    mine, problem = real_amplitudes(2, reps=1), MaxCut(edges=[(0, 1, 1.0)])
    assert ansatz(RunSpec(problem=problem, circuit=spec_of(mine))).count_ops() == mine.count_ops()
    with pytest.raises(SpecError, match="needs an ansatz"):
        ansatz(RunSpec(problem=Energy(observable=[("Z", 1.0)])))


def test_qaoa_is_its_formula() -> None:
    """The state is Π exp(−iβΣX)·exp(−iγC/2w)|+⟩ with γ in the first half of the parameters, β in the second."""
    problem = Ising(couplings=[(0, 1, 0.7), (2, 1, -1.1)], fields=[0.3, 0.0, -0.4], offset=5.0, layers=2)
    circuit = ansatz(RunSpec(problem=problem))
    names = [parameter.name for parameter in circuit.parameters]
    assert names == ["cost[0]", "cost[1]", "mixer[0]", "mixer[1]"]
    gammas, betas = [0.3, -0.8], [0.5, 1.2]
    state = np.full(8, 8**-0.5, dtype=complex)
    mixer = SparsePauliOp(["IIX", "IXI", "XII"]).to_matrix()
    weight = math.sqrt((0.7**2 + 1.1**2 + 0.3**2 + 0.4**2) / 4)
    diagonal = costs(problem, np.arange(8)) / (2 * weight)
    for gamma, beta in zip(gammas, betas, strict=True):
        state = expm(-1j * beta * mixer) @ (np.exp(-1j * gamma * diagonal) * state)
    prepared = Statevector(circuit.assign_parameters([*gammas, *betas]))
    assert prepared.equiv(Statevector(state))


@pytest.mark.parametrize("factor", [2.0**-30, 1024.0, 1e-7, 1e200])
def test_qaoa_does_not_depend_on_the_size_of_the_weights(factor: float) -> None:
    """A problem times a constant has the same circuit; times a power of two, bit for bit."""
    couplings, fields = [(0, 1, 0.7), (2, 1, -1.1)], [0.3, 0.0, -0.4]
    larger = Ising(
        couplings=[(i, j, w * factor) for i, j, w in couplings], fields=[h * factor for h in fields]
    )
    one, other = (
        ansatz(RunSpec(problem=each)) for each in (Ising(couplings=couplings, fields=fields), larger)
    )
    point = [0.4, -0.7]
    states = [Statevector(circuit.assign_parameters(point)).data for circuit in (one, other)]
    assert np.allclose(*states, atol=1e-14)
    if math.frexp(factor)[0] == 0.5:
        assert to_qpy(one) == to_qpy(other)


def test_weights_of_zero_do_not_count() -> None:
    """A coupling that vanishes, alone or in sum, changes no angle."""
    plain = Ising(couplings=[(0, 1, 1.0)], fields=[0.5])
    padded = Ising(couplings=[(0, 1, 1.0), (0, 1, 0.0), (1, 0, 2.0), (0, 1, -2.0)], fields=[0.5, 0.0])
    assert to_qpy(ansatz(RunSpec(problem=plain))) == to_qpy(ansatz(RunSpec(problem=padded)))


@pytest.mark.parametrize("factor", [1.0, 3.0, 0.7])
def test_weights_that_vanish_but_for_rounding_are_none(factor: float) -> None:
    """0.1 + 0.2 − 0.3 leaves 6e-17, times 3 nothing: neither is a gate, a basis, or part of a scale."""
    parts = [0.1 * factor, 0.2 * factor, -0.3 * factor]
    problem = Ising(couplings=[(0, 1, factor), *((0, 2, part) for part in parts)], fields=[0.0, 0.0, factor])
    circuit = ansatz(RunSpec(problem=problem))
    assert circuit.count_ops()["rzz"] == 1
    assert [label for label, _ in observable(problem).to_list()] == ["III", "ZII", "IZZ"]
    turns = [each.params[0] for each in circuit.data if each.name in ("rz", "rzz")]
    assert all(str(each) in ("cost[0]", "1.0*cost[0]", "1*cost[0]") for each in turns)
    energy = Energy(observable=[("XX", part) for part in parts] + [("ZZ", factor)])
    assert varying(observable(energy)).to_list() == [("ZZ", factor)]


def test_gates_on_other_qubits_run_side_by_side() -> None:
    """A ring's couplings are laid out in two rounds and a star's in as many as it has rays."""
    ring = ansatz(RunSpec(problem=MaxCut(edges=[(i, (i + 1) % 20, 1.0) for i in range(20)])))
    assert ring.depth(lambda instruction: instruction.name == "rzz") == 2
    star = ansatz(RunSpec(problem=MaxCut(edges=[(0, i, 1.0) for i in range(1, 6)])))
    assert star.depth(lambda instruction: instruction.name == "rzz") == 5


def ratio(circuit: QuantumCircuit, problem: MaxCut, point: list[float]) -> float:
    """Expected share of the edges that are cut."""
    probabilities = Statevector(circuit.assign_parameters(point)).probabilities()
    return float(-(probabilities @ costs(problem, np.arange(len(probabilities)))) / len(problem.edges))


def cut(edges: list[tuple[int, int]], layers: int) -> tuple[QuantumCircuit, MaxCut]:
    """QAOA of a graph, and the problem."""
    problem = MaxCut(edges=[(i, j, 1.0) for i, j in edges], layers=layers)
    return ansatz(RunSpec(problem=problem)), problem


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_qaoa_on_a_ring(layers: int) -> None:
    """On the ring of 8 the best p layers cut (2p + 1)/(2p + 2) of the edges (Farhi et al. 2014)."""
    circuit, problem = cut(RING, layers)
    ramp = (np.arange(layers) + 0.5) / layers
    start = np.concatenate((-0.6 * ramp, 0.6 * (1 - ramp)))
    best = minimize(lambda point: -ratio(circuit, problem, point), start, method="BFGS", tol=1e-7)
    assert -best.fun == pytest.approx((2 * layers + 1) / (2 * layers + 2), abs=1e-6)


def test_qaoa_on_a_triangle_free_cubic_graph() -> None:
    """One layer at γ = arctan(1/√2), β = π/8 cuts 0.692450 of the cube's edges; γ is negated, we minimise."""
    circuit, problem = cut(CUBE, 1)
    gamma, beta = math.atan(1 / math.sqrt(2)), math.pi / 8
    assert ratio(circuit, problem, [-gamma, beta]) == pytest.approx(0.692450, abs=1e-6)
    assert ratio(circuit, problem, [gamma, -beta]) == pytest.approx(0.692450, abs=1e-6)


def test_qaoa_on_a_cubic_graph_of_girth_6() -> None:
    """Two layers at the published angles cut 0.75591 of the Heawood graph's edges."""
    circuit, problem = cut(HEAWOOD, 2)
    assert ratio(circuit, problem, [-0.488, -0.898, 0.555, 0.293]) == pytest.approx(0.75591, abs=1e-5)


def test_no_colouring_is_lost() -> None:
    """Whatever the graph, every edge gets its gate exactly once per layer."""
    edges = [(i, j) for i, j in product(range(6), range(6)) if i < j and (i + j) % 4]
    circuit, _ = cut(edges, 3)
    pairs = [
        tuple(sorted(circuit.find_bit(qubit).index for qubit in instruction.qubits))
        for instruction in circuit.data
        if instruction.name == "rzz"
    ]
    assert sorted(pairs) == sorted(edges * 3)
