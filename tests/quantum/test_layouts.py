"""Circuits that were compiled for a device already."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import transpile
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit.transpiler import CouplingMap

import varloop
from quantum.backend_contract import backends
from varloop.client.builder import build_spec
from varloop.errors import UsageError
from varloop.quantum.circuits import load
from varloop.quantum.layouts import without_idle
from varloop.quantum.pool import TemplatePool
from varloop.quantum.problems import num_qubits
from varloop.quantum.samples import cell
from varloop.spec import Energy, MaxCut, RunSpec
from varloop.store.memory import MemoryStore

OBSERVABLE = SparsePauliOp(["ZIII", "IXII", "IIYI", "ZZXX", "IIIZ"], [1.0, 0.5, -0.3, 0.7, 0.2])


def ansatz(seed: int = 0) -> QuantumCircuit:
    """Four qubits that are all entangled."""
    angles, circuit = ParameterVector("t", 4), QuantumCircuit(4)
    for qubit in range(4):
        circuit.ry(angles[qubit], qubit)
    circuit.compose(random_circuit(4, 3, max_operands=2, seed=seed), inplace=True)
    circuit.cx(0, 3)
    circuit.cx(1, 2)
    circuit.cx(3, 1)
    return circuit


def exact(spec: RunSpec, point: list[float]) -> float:
    """Its value on the ideal simulator, the constant aside."""
    backend = backends().get("aer")
    template = TemplatePool(MemoryStore()).of(spec, backend)
    (value,) = backend.run(template, template.angles.bind([point]), shots=None, seed=0).values or ()
    return value


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("level", [0, 2, 3])
def test_a_compiled_circuit_and_its_observable(seed: int, level: int) -> None:
    """Whether the observable had the layout applied or not, the value is that of the circuit before."""
    circuit, point = ansatz(seed), np.random.default_rng(seed).uniform(-3, 3, 4).tolist()
    right = Statevector(circuit.assign_parameters(point)).expectation_value(OBSERVABLE).real
    compiled = transpile(
        circuit,
        target=backends().get("aer:fake_torino").target,
        optimization_level=level,
        seed_transpiler=seed,
    )
    measured = compiled.copy()
    measured.measure_all()
    laid_out = OBSERVABLE.apply_layout(compiled.layout)
    for given, observable in [(compiled, OBSERVABLE), (compiled, laid_out), (measured, laid_out)]:
        spec = build_spec(circuit=given, observable=observable)
        assert exact(spec, point) == pytest.approx(right, abs=1e-9)
        assert spec.circuit is not None
        assert load(spec.circuit).num_qubits == num_qubits(spec.problem) < 12


def test_a_compiled_run_ends_as_the_circuit_before_it() -> None:
    """What every user of Qiskit's runtime has at hand is submitted as it is: 133 qubits are three."""
    circuit = QuantumCircuit(3)
    circuit.ry(Parameter("p"), 0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    observable = SparsePauliOp(["ZZZ", "IXX"], [1.0, 0.4])
    compiled = transpile(circuit, target=backends().get("aer:fake_torino").target, seed_transpiler=0)
    settings = {"optimizer": "rotosolve", "seed": 1, "budget": 4, "store": "memory:"}
    before = varloop.submit(circuit=circuit, observable=observable, **settings).result()
    after = varloop.submit(
        circuit=compiled, observable=observable.apply_layout(compiled.layout), **settings
    ).result()
    assert after.value == pytest.approx(before.value, abs=1e-9)


def test_idle_qubits_are_left_out_on_both_sides() -> None:
    """A qubit stays if a gate or a term acts on it; barriers and delays alone do nothing."""
    circuit = QuantumCircuit(6, 6)
    circuit.ry(Parameter("p"), 4)
    circuit.barrier()
    circuit.delay(3.0, 0, "us")
    circuit.cx(4, 2)
    circuit.measure(range(6), range(6))
    problem = Energy(observable=[("IIZIII", 1.0), ("IZIIXI", 0.5), ("IIIIII", 2.0)])
    bare, narrow = without_idle(circuit, problem)
    assert isinstance(narrow, Energy)
    assert narrow.observable == [("IZII", 1.0), ("ZIIX", 0.5), ("IIII", 2.0)]
    assert [(each.name, [bare.find_bit(q).index for q in each.qubits]) for each in bare.data] == [
        ("ry", [3]),
        ("barrier", [0, 1, 2, 3]),
        ("cx", [3, 1]),
    ]


def test_a_circuit_without_idle_qubits_is_left_alone() -> None:
    """Nothing is rebuilt where there is nothing to leave out."""
    circuit, problem = ansatz(), Energy(observable=[("ZIII", 1.0)])
    assert without_idle(circuit, problem) == (circuit, problem)
    nothing = QuantumCircuit(4)
    assert without_idle(nothing, Energy(observable=[("IIII", 1.0)]))[0] is nothing


def test_variables_of_a_compiled_circuit() -> None:
    """Variable i of a binary problem is qubit i of the circuit before it was compiled."""
    circuit = QuantumCircuit(3)
    circuit.rx(Parameter("p"), 0)
    circuit.x(1)
    circuit.cx(1, 2)
    circuit.x(2)
    compiled = transpile(circuit, coupling_map=CouplingMap.from_line(9), initial_layout=[7, 3, 4])
    spec = build_spec(circuit=compiled, problem=MaxCut(edges=[(0, 1, 1.0), (1, 2, 1.0)]))
    backend = backends().get("aer")
    template = TemplatePool(MemoryStore()).of(spec, backend)
    done = backend.run(template, template.angles.bind([[np.pi]]), shots=None, seed=0)
    assert done.samples is not None
    outcomes, weights = cell(done.samples, 0)
    assert outcomes[weights.argmax()] == 0b011


def test_what_a_layout_cannot_tell() -> None:
    """An observable of neither size, and a binary problem on a circuit with further qubits, are errors with a way out."""
    circuit = ansatz()
    compiled = transpile(
        circuit, coupling_map=CouplingMap.from_line(7), initial_layout=[6, 0, 3, 1], seed_transpiler=2
    )
    with pytest.raises(
        UsageError, match="acts on 3 qubits; the circuit was compiled from 4 qubits to 7"
    ) as caught:
        build_spec(circuit=compiled, observable=[("ZZZ", 1.0)])
    assert "apply_layout(circuit.layout)" in caught.value.hint
    with pytest.raises(UsageError, match="qubits that are no variables") as caught:
        build_spec(circuit=compiled, problem=MaxCut(edges=[(0, 1, 1.0), (2, 3, 1.0)]))
    assert "before it was transpiled" in caught.value.hint
