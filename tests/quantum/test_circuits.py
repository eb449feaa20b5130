"""Circuits on the wire: equal bytes for equal circuits, and no surprise from bytes of others."""

from __future__ import annotations

import base64
import hashlib
import inspect
import io
import os
import re
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import qpy
from qiskit.circuit import (
    AnnotatedOperation,
    Parameter,
    ParameterVector,
    PowerModifier,
    QuantumCircuit,
    library,
)
from qiskit.circuit.library import PauliEvolutionGate, efficient_su2
from qiskit.quantum_info import Operator, SparsePauliOp

from varloop.errors import CircuitError
from varloop.quantum import circuits
from varloop.quantum.circuits import MAX_QUBITS, from_qpy, load, spec_of, to_qpy
from varloop.spec import CircuitSpec


def vectors() -> QuantumCircuit:
    """Elements of one vector, two per expression."""
    circuit, names = QuantumCircuit(2), ParameterVector("t", 12)
    for k in range(12):
        circuit.rx(names[k] + 2 * names[11 - k] - 1, k % 2)
    return circuit


def plain() -> QuantumCircuit:
    """Single parameters, one of them in a sine."""
    circuit, x, y = QuantumCircuit(2), Parameter("x"), Parameter("y")
    circuit.crx(x * 2, 0, 1)
    circuit.rzz(y.sin() + x, 0, 1)
    return circuit


def many() -> QuantumCircuit:
    """Expressions over several vectors, which come up in an expression first."""
    circuit = QuantumCircuit(2)
    a, b, c = (ParameterVector(name, 7) for name in ("a", "a_", "c"))
    x = Parameter("c[7]_")
    circuit.rx(c[5] - 2 * a[3] + b[2] / x, 0)
    circuit.u(a[1] + a[0] + a[6] * a[4], x, b[2] - c[5] - x, 1)
    return circuit


def sparse() -> QuantumCircuit:
    """Uses two elements of a vector of five."""
    circuit, names = QuantumCircuit(1), ParameterVector("w", 5)
    circuit.rx(names[3], 0)
    circuit.ry(names[1], 0)
    return circuit


def nested() -> QuantumCircuit:
    """Sub-circuits, whose names Qiskit takes from a counter."""
    inner = QuantumCircuit(2)
    inner.rx(Parameter("x"), 0)
    inner.cx(0, 1)
    circuit = QuantumCircuit(3)
    circuit.append(inner.to_gate(), [2, 0])
    circuit.append(inner.to_gate().control(1, annotated=False), [0, 1, 2])
    circuit.append(inner.to_instruction(), [1, 2])
    return circuit


def evolution() -> QuantumCircuit:
    """Gates that are more than a name: a Pauli evolution and a matrix."""
    circuit = QuantumCircuit(2)
    circuit.append(PauliEvolutionGate(SparsePauliOp(["XX", "ZZ"], [0.5, 2]), time=Parameter("t")), [0, 1])
    circuit.unitary(np.eye(4)[::-1], [0, 1])
    return circuit


BUILDS: list[Callable[[], QuantumCircuit]] = [
    vectors,
    plain,
    many,
    sparse,
    nested,
    evolution,
    lambda: efficient_su2(4),
]
SAMPLE = to_qpy(vectors())


def bound(circuit: QuantumCircuit) -> Operator:
    """The circuit's matrix at some point."""
    point = np.linspace(0.1, 1.7, circuit.num_parameters)
    flat = circuit.decompose("PauliEvolution")
    return Operator(flat.assign_parameters(dict(zip(circuit.parameters, point, strict=True))))


@pytest.mark.parametrize("build", BUILDS)
def test_two_builds_give_the_same_bytes(build: Callable[[], QuantumCircuit]) -> None:
    """Parameters of other identity, another name, other metadata: the bytes are the same."""
    circuits = [build() for _ in range(8)]
    circuits[1].name, circuits[1].metadata = "another", {"made": "later"}
    assert len(set(map(to_qpy, circuits))) == 1


@pytest.mark.parametrize("build", BUILDS)
def test_a_round_trip_changes_nothing(build: Callable[[], QuantumCircuit]) -> None:
    """What is read is the circuit that was written, parameter order included, and is written the same again."""
    circuit = build()
    again = from_qpy(to_qpy(circuit))
    names = [parameter.name for parameter in circuit.parameters]
    assert [parameter.name for parameter in again.parameters] == names
    assert bound(again) == bound(circuit)
    assert again.metadata == {}
    assert to_qpy(again) == to_qpy(circuit)


def test_another_process_gives_the_same_bytes() -> None:
    """Nothing of a process (hash seeds, counters) is in the bytes."""
    code = "import test_circuits as t; print(*(t.to_qpy(build()).hex() for build in t.BUILDS))"
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "12345"}
    there = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True
    )
    assert there.stdout.split() == [to_qpy(build()).hex() for build in BUILDS]


def test_qpy_of_others() -> None:
    """QPY that was not written by varloop is read as it is."""
    buffer, circuit = io.BytesIO(), many()
    circuit.metadata = {"parameters": 5}
    qpy.dump(circuit, buffer)
    again = from_qpy(zlib.compress(buffer.getvalue()))
    assert bound(again) == bound(many())


def test_other_circuits_give_other_bytes() -> None:
    """A changed number, qubit or scale changes the bytes."""
    written = set()
    for angle, qubit, scale in [(0.1, 0, 1), (0.2, 0, 1), (0.1, 1, 1), (0.1, 0, 2)]:
        circuit = QuantumCircuit(2)
        circuit.rx(angle, qubit)
        circuit.ry(scale * Parameter("x"), 0)
        written.add(to_qpy(circuit))
    assert len(written) == 4


def test_writing_leaves_the_circuit_alone() -> None:
    """The circuit keeps its name, metadata and parameters."""
    circuit = nested()
    circuit.name, circuit.metadata = "mine", {"a": 1}
    copy = circuit.copy()
    to_qpy(circuit)
    assert circuit == copy
    assert (circuit.name, circuit.metadata) == ("mine", {"a": 1})


def test_what_qpy_cannot_write() -> None:
    """A circuit that is no circuit is a CircuitError that names the cause."""
    with pytest.raises(CircuitError, match="cannot be written as QPY: AttributeError"):
        to_qpy("h 0")


@pytest.mark.parametrize("keep", range(0, len(SAMPLE), 7))
def test_truncated_bytes(keep: int) -> None:
    """A prefix of a circuit is no circuit."""
    with pytest.raises(CircuitError):
        from_qpy(SAMPLE[:keep])


@settings(deadline=None, derandomize=True, database=None)
@given(position=st.integers(0, len(SAMPLE) - 1), change=st.integers(1, 255))
def test_corrupt_bytes(position: int, change: int) -> None:
    """One wrong byte anywhere is noticed: zlib's check sum covers all of them."""
    data = bytearray(SAMPLE)
    data[position] ^= change
    with pytest.raises(CircuitError):
        from_qpy(bytes(data))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
    keep=st.integers(0, 10_000),
)
def test_forged_bytes(changes: list[tuple[int, int]], keep: int) -> None:
    """Wrong QPY under a right check sum is a CircuitError or some other circuit, never anything else."""
    raw = bytearray(zlib.decompress(SAMPLE))
    for position, value in changes:
        raw[position % len(raw)] = value
    forged = raw if keep > len(raw) else raw[:keep]
    with suppress(CircuitError):
        assert isinstance(from_qpy(zlib.compress(bytes(forged))), QuantumCircuit)


def test_trailing_bytes() -> None:
    """Data after the circuit is refused."""
    with pytest.raises(CircuitError, match="followed by other data"):
        from_qpy(SAMPLE + b"x")


def test_a_bomb_does_not_go_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that inflates beyond the limit is refused before it takes the memory."""
    monkeypatch.setattr(circuits, "MAX_BYTES", 1 << 20)
    bomb = zlib.compress(bytes(64 << 20), 9)
    tracemalloc.start()
    try:
        with pytest.raises(CircuitError, match="more than 1048576 bytes"):
            from_qpy(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("offset", [0, 4])
def test_a_size_that_is_only_claimed(offset: int) -> None:
    """A header that claims four billion qubits or bits is refused before anything is allocated for them."""
    raw = bytearray(zlib.decompress(SAMPLE))
    start = int.from_bytes(raw[20:28], "big")
    raw[start + 5 + offset : start + 9 + offset] = b"\xff\xff\xff\xff"
    with pytest.raises(CircuitError, match=f"4294967295 .* at most {MAX_QUBITS}"):
        from_qpy(zlib.compress(bytes(raw)))


def test_parameters_that_are_only_claimed() -> None:
    """Names of parameters that claim a vector of a billion elements are refused before it is made."""
    buffer, circuit = io.BytesIO(), QuantumCircuit(1, metadata={"varloop.parameters": [["t", 0, 10**9]]})
    circuit.rx(Parameter("x"), 0)
    qpy.dump(circuit, buffer)
    with pytest.raises(CircuitError, match="1000000000 parameters, expected at most"):
        from_qpy(zlib.compress(buffer.getvalue()))


def test_old_formats_are_refused() -> None:
    """QPY before version 13 keeps expressions as source text, which is not read from strangers."""
    raw = bytearray(zlib.decompress(SAMPLE))
    raw[6] = 12
    with pytest.raises(CircuitError, match="version 13 or later"):
        from_qpy(zlib.compress(bytes(raw)))


def test_one_circuit_at_a_time() -> None:
    """QPY data with two circuits is refused."""
    buffer = io.BytesIO()
    qpy.dump([plain(), plain()], buffer)
    with pytest.raises(CircuitError, match="one circuit"):
        from_qpy(zlib.compress(buffer.getvalue()))


def test_a_spec_of_a_circuit() -> None:
    """A circuit goes through its spec unchanged."""
    circuit = vectors()
    assert bound(load(spec_of(circuit))) == bound(circuit)


def test_final_measurements_are_dropped() -> None:
    """Measurements at the end do not count, as varloop measures in bases of its own."""
    circuit = vectors()
    circuit.measure_all()
    assert load(spec_of(circuit)).count_ops() == {"rx": 12}
    assert load(spec_of(circuit)).num_clbits == 0


def nested_gates(levels: int) -> str:
    """Each gate is ten of the one before: 10ⁿ gates from some hundred bytes."""
    gates = "".join(f"gate g{k} a {{{f'g{k - 1} a;' * 10}}}" for k in range(1, levels))
    return f"OPENQASM 2.0; gate g0 a {{{'U(0,0,0) a;' * 10}}} {gates} qreg q[1]; g{levels - 1} q[0];"


QASM2 = (
    'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2]; rx(0.3) q[0]; cx q[0],q[1]; measure q -> c;'
)
QASM3 = """// a comment
OPENQASM 3.0;
include "stdgates.inc";
input float[64] theta;
qubit[2] q;
rx(theta) q[0];
ry(2 * theta) q[1];
"""


def test_openqasm() -> None:
    """Version 2 and version 3 are read, inputs of version 3 as parameters."""
    assert load(CircuitSpec(qasm=QASM2)).count_ops() == {"rx": 1, "cx": 1}
    circuit = load(CircuitSpec(qasm=QASM3))
    assert [parameter.name for parameter in circuit.parameters] == ["theta"]
    assert circuit.count_ops() == {"rx": 1, "ry": 1}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("OPENQASM 2.0; qreg q[1]; y q[0];", "QASM2ParseError"),
        ("OPENQASM 3.0; qubit[1] q; y q[0];", "cannot be read: "),
        ("OPENQASM 2.0; qreg q[9999999999];", "9999999999 bits in its registers, expected at most"),
        ("OPENQASM 3.0; qubit[1_000_000] q;", "1000000 bits in its registers, expected at most"),
        ("OPENQASM 2.0; qreg q[// c\n3000000];", "3000000 bits in its registers, expected at most"),
        ("OPENQASM 3.0; qubit[/* c */ 3000000] q;", "3000000 bits in its registers, expected at most"),
        ("OPENQASM 3.0; qubit[100*100] q;", "10000 qubits, expected at most"),
        (
            "OPENQASM 2.0;" + "".join(f"qreg q{k}[4096];" for k in range(200)),
            "819200 bits in its registers, expected at most",
        ),
        (nested_gates(8), "more than 131072 operations"),
    ],
)
def test_bad_openqasm(source: str, message: str) -> None:
    """Source that is wrong, too large or reads files is a CircuitError that says so."""
    with pytest.raises(CircuitError, match=message):
        load(CircuitSpec(qasm=source))


def test_a_parser_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """What is wrong with a source is in the error, not on the screen."""
    with pytest.raises(CircuitError, match="token recognition error"):
        load(CircuitSpec(qasm='OPENQASM 3.0; include /* c */ "stdgates.inc"; qubit[1] q;'))
    assert capfd.readouterr() == ("", "")


def test_a_version_behind_comments() -> None:
    """Comments before the version line, and within it, do not hide it."""
    source = "// OPENQASM 3.0;\nOPENQASM // here\n2.0; qreg q[1]; U(0, 0, 0) q[0];"
    assert load(CircuitSpec(qasm=source)).num_qubits == 1


@pytest.mark.parametrize(
    "source",
    [
        'OPENQASM 2.0; include "FILE"; qreg q[1];',
        'OPENQASM 2.0; include"FILE"; qreg q[1];',
        "OPENQASM 2.0; include 'FILE'; qreg q[1];",
        'OPENQASM 2.0; include // c\n "FILE"; qreg q[1];',
        'OPENQASM 2.0; include // "qelib1.inc"\n\t"FILE"; qreg q[1];',
        'OPENQASM 2.0; include "qelib1.inc"; include\r\n"FILE"; opaque g a; qreg q[1];',
        'OPENQASM 2.0; include "./../../../../../../..FILE"; qreg q[1];',
        'OPENQASM 3.0; include "FILE"; qubit[1] q;',
        'OPENQASM 3.0; include /* c */ "FILE"; qubit[1] q;',
        'OPENQASM 3.0; defcalgrammar "FILE"; qubit[1] q;',
        'OPENQASM 3.0; cal { include "FILE"; } qubit[1] q;',
        'OPENQASM 3.0; pragma include "FILE"\n qubit[1] q;',
    ],
)
def test_no_source_opens_a_file(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However an include is written, nothing of the file gets into the circuit or into the error."""
    secret = tmp_path / "secret.inc"
    secret.write_text("PASSWORD is hunter2;")
    monkeypatch.chdir(tmp_path)
    for name in (str(secret), "secret.inc"):
        with pytest.raises(CircuitError, match="the OpenQASM source cannot be read") as caught:
            load(CircuitSpec(qasm=source.replace("FILE", name)))
        assert not re.search("PASSWORD|hunter2|capital", str(caught.value))


def test_a_unitary_counts_as_the_gates_it_takes() -> None:
    """Nine qubits would take some 4⁹ gates; nobody waits for them to be found."""
    circuit = QuantumCircuit(9)
    circuit.unitary(np.eye(512), range(9))
    with pytest.raises(CircuitError, match="more than 131072 operations"):
        load(spec_of(circuit))


def test_a_power_counts_as_often_as_it_repeats() -> None:
    """A modifier that repeats a gate is counted, not written out."""
    circuit, inner = QuantumCircuit(2), QuantumCircuit(2, name="inner")
    inner.cx(0, 1)
    circuit.append(AnnotatedOperation(inner.to_gate(), PowerModifier(10**9)), [0, 1])
    with pytest.raises(CircuitError, match="more than 131072 operations"):
        circuits.check_operations(circuit)


def test_the_library() -> None:
    """A library circuit is built with the spec's options."""
    options = {"num_qubits": 3, "reps": 2, "entanglement": "linear"}
    circuit = load(CircuitSpec(library="real_amplitudes", options=options))
    assert (circuit.num_qubits, circuit.num_parameters) == (3, 9)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("no_such", {}, "no function 'no_such'"),
        ("EfficientSU2", {"num_qubits": 2}, "no function 'EfficientSU2'"),
        ("__getattr__", {}, "no function"),
        ("efficient_su2", {"qubits": 2}, "cannot be built with .* TypeError"),
        ("efficient_su2", {"num_qubits": 10**9}, "1000000000 num_qubits, expected at most"),
        ("zz_feature_map", {"feature_dimension": 20_000}, "20000 feature_dimension, expected at most 64"),
        ("efficient_su2", {"num_qubits": 2, "reps": 10**9}, "1000000000 reps, expected at most"),
        ("get_standard_gate_name_mapping", {}, "makes a dict, not a circuit"),
    ],
)
def test_bad_library_circuits(name: str, options: dict[str, object], message: str) -> None:
    """A name that is no function, options it does not take, a result that is no circuit: each is said."""
    with pytest.raises(CircuitError, match=message):
        load(CircuitSpec(library=name, options=options))


LIBRARY: dict[str, dict[str, Any]] = {
    "efficient_su2": {"num_qubits": 3},
    "excitation_preserving": {"num_qubits": 3},
    "fourier_checking": {"f": [1, -1, -1, -1], "g": [1, 1, -1, -1]},
    "hidden_linear_function": {"adjacency_matrix": [[1, 1], [1, 0]]},
    "iqp": {"interactions": [[6, 5], [5, 4]]},
    "n_local": {"num_qubits": 3, "rotation_blocks": ["ry", "rz"], "entanglement_blocks": "cz"},
    "pauli_feature_map": {"feature_dimension": 3, "paulis": ["Z", "YY"]},
    "pauli_two_design": {"num_qubits": 3},
    "quantum_volume": {"num_qubits": 4},
    "random_iqp": {"num_qubits": 4},
    "real_amplitudes": {"num_qubits": 3, "entanglement": "full"},
    "z_feature_map": {"feature_dimension": 3},
    "zz_feature_map": {"feature_dimension": 3},
}
"""options for each function that makes a circuit from plain data"""
UNBUILT = {
    *("evolved_operator_ansatz", "grover_operator", "hamiltonian_variational_ansatz", "phase_estimation"),
    *("qaoa_ansatz", "unitary_overlap"),  # of operators and circuits, which a spec cannot give them
    *("get_standard_gate_name_mapping", "random_bitwise_xor"),  # make no circuit
}


def test_every_function_of_the_library_is_known() -> None:
    """A new version's new function is looked at: whether it draws at random, and by what."""
    known = LIBRARY.keys() | UNBUILT
    plain = {name for name, _ in inspect.getmembers(library, inspect.isfunction)} - known
    assert all(re.match("clifford_|template_nct_|rzx_", name) for name in plain), plain


def test_the_library_draws_from_the_seed() -> None:
    """Another process builds the same circuit of every function; another seed another one of those that draw."""
    code = "import test_circuits as t; print(*t.of_the_library(7))"
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "54321"}
    there = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True
    )
    here, other = of_the_library(7), of_the_library(8)
    assert there.stdout.split() == here
    changed = [name for name, mine, its in zip(LIBRARY, here, other, strict=True) if mine != its]
    assert changed == ["pauli_two_design", "quantum_volume", "random_iqp"]


def of_the_library(seed: int) -> list[str]:
    """Digests of a circuit of each function."""
    built = [
        to_qpy(load(CircuitSpec(library=name, options=options), seed)) for name, options in LIBRARY.items()
    ]
    return [hashlib.sha256(each).hexdigest() for each in built]


def test_a_seed_of_its_own_comes_first() -> None:
    """The options' seed is taken; one that is null is none."""
    fixed, null = ({"num_qubits": 3, "seed": seed} for seed in (5, None))
    one, two = (load(CircuitSpec(library="pauli_two_design", options=fixed), seed) for seed in (1, 2))
    assert to_qpy(one) == to_qpy(two)
    three, four = (load(CircuitSpec(library="pauli_two_design", options=null), seed) for seed in (5, 6))
    assert to_qpy(three) == to_qpy(one) != to_qpy(four)


def test_bad_base64() -> None:
    """QPY that is not base64, or base64 of something else, is a CircuitError."""
    with pytest.raises(CircuitError, match="not base64"):
        load(CircuitSpec(qpy="!!"))
    with pytest.raises(CircuitError, match="not zlib of QPY"):
        load(CircuitSpec(qpy=base64.b64encode(b"hello").decode()))
