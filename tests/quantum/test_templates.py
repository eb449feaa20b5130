from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import Pauli, Statevector

from quantum.backend_contract import MIXED, RING, ZZ, ansatz, backends, points
from varloop.errors import CircuitError, CorruptObject, MissingObject
from varloop.quantum.backends import Compiled
from varloop.quantum.backends.aer import Aer
from varloop.quantum.circuits import spec_of
from varloop.quantum.objective import Objective, mode_of
from varloop.quantum.pool import TemplatePool
from varloop.quantum.templates import Template
from varloop.spec import CircuitSpec, Energy, MaxCut, RunSpec
from varloop.store.folder import FolderStore
from varloop.store.memory import MemoryStore

SPEC = RunSpec(problem=MIXED, circuit=spec_of(ansatz()), shots=100)
H2 = RunSpec(
    problem=Energy(
        observable=[("IIIZ", 0.17), ("ZZII", 0.12), ("YYYY", 0.045), ("XXYY", 0.045), ("IIII", -0.8)]
    ),
    circuit=spec_of(efficient_su2(4, reps=1)),
)


class Recalibrated(Aer):
    """The simulator, as if its calibration were another."""

    @property
    def calibration(self) -> str:
        """Not that of Aer."""
        return "later"


class Counting(Aer):
    """The simulator, counting what it compiles."""

    compiled = 0

    def compile(self, circuit: QuantumCircuit, bases: Sequence[str], level: int) -> Compiled:
        """Count, and compile."""
        self.compiled += 1
        return super().compile(circuit, bases, level)


class Waiting(Aer):
    """The simulator, whose compiler says when it begins and waits until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()

    def compile(self, circuit: QuantumCircuit, bases: Sequence[str], level: int) -> Compiled:
        """Wait, and compile."""
        self.begun.set()
        assert self.go.wait(10)
        return super().compile(circuit, bases, level)


def pool() -> TemplatePool:
    """An empty pool over an empty store."""
    return TemplatePool(MemoryStore())


def replaced(**changes: Any) -> RunSpec:
    """The spec with other fields."""
    return msgspec.structs.replace(SPEC, **changes)


def test_a_template_is_compiled_once_and_then_remembered() -> None:
    """The first asker compiles, the second finds it in memory, another process in the store."""
    backend, objects = Counting(), MemoryStore()
    first, second = TemplatePool(objects), TemplatePool(objects)
    template = first.of(SPEC, backend)
    assert first.of(SPEC, backend) is template
    assert first.get(template.key, SPEC, backend) is template
    assert (first.compiles, first.store_hits, first.hits) == (1, 0, 2)
    assert second.of(SPEC, backend).key == template.key
    assert (second.compiles, second.store_hits, second.hits) == (0, 1, 0)
    assert second.get(template.key, SPEC, backend) is second.of(SPEC, backend)
    assert backend.compiled == 1


def test_a_stored_template_is_the_same_template() -> None:
    """What comes back from bytes equals what was stored, and runs to the same bits."""
    backend = backends().get("aer")
    template = pool().of(SPEC, backend)
    again = Template.from_bytes(template.to_bytes(), Objective(SPEC.problem))
    for name in ("key", "mode", "qpy", "layout", "parameters", "groups", "num_qubits"):
        assert getattr(again, name) == getattr(template, name), name
    assert np.array_equal(again.angles.matrix, template.angles.matrix)
    assert np.array_equal(again.angles.offset, template.angles.offset)
    assert again.angles.rules == template.angles.rules
    assert again.to_bytes() == template.to_bytes()
    rows = template.angles.bind(points(2))
    first, second = (backend.run(each, rows, shots=100, seed=1) for each in (template, again))
    assert first.samples == second.samples


def test_the_key_depends_on_all_that_the_circuits_depend_on() -> None:
    """Another structure, basis, mode, level, device or calibration is another template."""
    aer, store = backends().get("aer"), pool()
    doubled = ansatz()
    doubled.h(0)
    keys = [
        store.of(SPEC, aer).key,
        store.of(replaced(circuit=spec_of(doubled)), aer).key,
        store.of(replaced(problem=ZZ), aer).key,
        store.of(replaced(shots=None), aer).key,
        store.of(replaced(shots=None, problem=RING), aer).key,
        store.of(replaced(optimization_level=3), aer).key,
        store.of(replaced(backend="aer:fake_manila"), backends().get("aer:fake_manila")).key,
        store.of(SPEC, Recalibrated()).key,
    ]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 64 for key in keys)


def test_the_key_depends_on_nothing_else() -> None:
    """Coefficients, seed, shots and optimizer share a template; each spec still gets its own objective."""
    backend, store = Counting(), pool()
    scaled = Energy(observable=[(label, 2 * weight) for label, weight in MIXED.observable])
    specs = [SPEC, replaced(seed=5), replaced(shots=7), replaced(problem=scaled), replaced(initial=[0.0] * 6)]
    templates = [store.of(spec, backend) for spec in specs]
    assert len({template.key for template in templates}) == 1
    assert backend.compiled == 1
    assert templates[3].objective.coefficients == pytest.approx(2 * templates[0].objective.coefficients)
    rows = templates[0].angles.bind(points(1))
    exact = [replaced(shots=None), replaced(shots=None, problem=scaled)]
    one, two = (backend.run(store.of(spec, backend), rows, shots=None, seed=0).values for spec in exact)
    assert one is not None
    assert two == pytest.approx([2 * value for value in one])


def test_equal_bases_do_not_mix_up_terms() -> None:
    """Two observables measured in the same basis share circuits, and each keeps its own terms."""
    backend, store = Counting(), pool()
    pair = Energy(observable=[("ZZI", 1.0)])
    singles = Energy(observable=[("ZII", 1.0), ("IZI", 1.0)])
    one, two = (store.of(replaced(problem=problem), backend) for problem in (pair, singles))
    assert one.key == two.key
    assert backend.compiled == 1
    assert [group.terms for group in one.groups] == [(0,)]
    assert [group.terms for group in two.groups] == [(0, 1)]


def test_the_mode_follows_from_the_spec() -> None:
    """Shots count; without them an energy is exact, and a binary problem gives its distribution."""
    assert mode_of(SPEC) == "counts"
    assert mode_of(replaced(shots=None)) == "expectation"
    assert mode_of(RunSpec(problem=RING)) == "distribution"
    assert mode_of(RunSpec(problem=RING, shots=5)) == "counts"


def test_a_binary_problem_brings_its_own_circuit() -> None:
    """Without a circuit a binary problem compiles QAOA."""
    template = pool().of(RunSpec(problem=MaxCut(edges=RING.edges, layers=2)), backends().get("aer"))
    assert template.angles.matrix.shape == (12, 4)
    assert template.mode == "distribution"
    assert template.groups == ()


def test_supports_and_coefficients_are_those_of_the_terms() -> None:
    """Each term's support has a bit for every qubit it acts on, the lowest for the rightmost letter."""
    objective = Objective(Energy(observable=[("III", 0.25), *MIXED.observable]))
    assert objective.supports.tolist() == [0b001, 0b110, 0b100, 0b011]
    assert objective.coefficients.tolist() == [0.8, -0.5, 0.3, 0.4]
    assert objective.offset == 0.25
    cuts = Objective(RING)
    assert (cuts.costs + cuts.offset).tolist() == [0.0, -1.5, -3.0, -2.5, -2.5, -3.0, -1.5, 0.0]


def test_equal_terms_are_one_and_those_that_vanish_none() -> None:
    """An observable is measured for what is left once its terms are added up: nothing costs a basis in vain."""
    terms = [("XX", 0.0), ("ZZ", 1.0), ("II", 2.0), ("YY", 3.0), ("ZZ", 0.5), ("YY", -3.0), ("II", -0.5)]
    objective = Objective(Energy(observable=terms))
    assert objective.observable.to_list() == [("ZZ", 1.5)]
    assert [each.basis for each in objective.groups] == ["ZZ"]
    assert objective.offset == 1.5


def test_memory_is_bounded() -> None:
    """The least recently used template leaves memory first; the store still has it."""
    store = TemplatePool(MemoryStore(), capacity=2)
    backend = Counting()
    specs = [replaced(optimization_level=level) for level in range(3)]
    for spec in specs[:2]:
        store.of(spec, backend)
    store.of(specs[0], backend)
    store.of(specs[2], backend)
    store.of(specs[0], backend)
    assert (store.compiles, store.store_hits) == (3, 0)
    store.of(specs[1], backend)
    assert (store.compiles, store.store_hits) == (3, 1)


def test_threads_share_one_compilation() -> None:
    """Many threads that ask at once get one template, compiled once."""
    backend, store = Counting(), pool()
    found: list[Template] = []
    threads = [threading.Thread(target=lambda: found.append(store.of(SPEC, backend))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(each is found[0] for each in found)
    assert backend.compiled == 1


def test_threads_wait_for_no_other_template() -> None:
    """While one template is being compiled another is served: a slow circuit holds up its own run alone."""
    slow, store = Waiting(), pool()
    known = store.of(SPEC, backends().get("aer"))
    other = threading.Thread(target=lambda: store.of(replaced(optimization_level=0), slow))
    other.start()
    assert slow.begun.wait(10)
    assert store.of(SPEC, backends().get("aer")) is known
    assert store.get(known.key, SPEC, slow) is known
    slow.go.set()
    other.join()
    assert store.compiles == 2


def test_two_processes_compile_the_same_bytes() -> None:
    """Templates are deterministic: whoever wins the race to store one, it is the same object."""
    code = "from quantum import test_templates as other; print(other.fingerprint())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "7"}
    there = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == fingerprint()


def fingerprint() -> str:
    """Digest of templates compiled from nothing."""
    compiled = [pool().of(spec, Aer()).to_bytes() for spec in (SPEC, curved())]
    return hashlib.sha256(b"".join(compiled)).hexdigest()


def curved() -> RunSpec:
    """A spec whose angles are no linear functions of the parameters."""
    circuit, x, y, z = QuantumCircuit(3), Parameter("x"), Parameter("y"), Parameter("z")
    circuit.rx(x * y + z.sin() - 1, 0)
    circuit.cx(0, 1)
    circuit.ry(y.exp() * z / (2 + x * x), 1)
    circuit.rz(z, 2)
    return RunSpec(problem=MIXED, circuit=spec_of(circuit))


def test_a_stored_template_keeps_its_curves() -> None:
    """Angles and slopes of any expression come back from bytes to the same bits; false sizes are refused."""
    template = pool().of(curved(), backends().get("aer"))
    again = Template.from_bytes(template.to_bytes(), Objective(MIXED))
    point = np.array([0.3, -0.7, 1.9])
    for each in (template, again):
        expected = [0.3 * -0.7 + np.sin(1.9) - 1, np.exp(-0.7) * 1.9 / 2.09, 1.9]
        assert each.angles.bind([point])[0] == pytest.approx(expected)
    assert again.angles.bind([point]).tobytes() == template.angles.bind([point]).tobytes()
    assert again.angles.weights(point).tobytes() == template.angles.weights(point).tobytes()
    assert again.to_bytes() == template.to_bytes()
    stored = msgspec.msgpack.decode(template.to_bytes())
    for damage in ({"angles": [0, 7]}, {"columns": [0, 1, 3]}):
        stored["curves"] |= damage
        with pytest.raises(CorruptObject, match="are not a template: curves of angles"):
            Template.from_bytes(msgspec.msgpack.encode(stored), Objective(MIXED))


def test_a_lost_template_is_compiled_again() -> None:
    """A key whose object is gone is made again, if the backend still makes the same."""
    backend, objects = Counting(), MemoryStore()
    key = TemplatePool(objects).of(SPEC, backend).key
    objects.delete(f"templates/{key}")
    again = TemplatePool(objects)
    assert again.get(key, SPEC, backend).key == key
    assert (again.compiles, backend.compiled) == (1, 2)
    assert objects.find(f"templates/{key}") is not None


def test_a_lost_template_of_another_calibration_is_an_error() -> None:
    """A key that the backend would no longer make cannot be served."""
    objects = MemoryStore()
    key = TemplatePool(objects).of(SPEC, backends().get("aer")).key
    objects.delete(f"templates/{key}")
    with pytest.raises(
        MissingObject, match=f"template {key} is not in the store, and aer would compile another"
    ):
        TemplatePool(objects).get(key, SPEC, Recalibrated())


def test_a_run_keeps_its_template_when_the_device_is_recalibrated() -> None:
    """A stored template is found by its key whatever the backend says now."""
    objects = MemoryStore()
    key = TemplatePool(objects).of(SPEC, backends().get("aer")).key
    assert TemplatePool(objects).get(key, SPEC, Recalibrated()).key == key


def test_a_truncated_object_is_found(tmp_path: Path) -> None:
    """A file cut short in the store is an error that names the object."""
    store = TemplatePool(FolderStore(str(tmp_path)))
    key = store.of(SPEC, backends().get("aer")).key
    (path,) = (each for each in tmp_path.rglob("*") if each.is_file() and key in str(each))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CorruptObject, match=f"object templates/{key} .* does not match its digest"):
        TemplatePool(FolderStore(str(tmp_path))).of(SPEC, backends().get("aer"))


@pytest.mark.parametrize("data", [b"", b"no", b"\x80", b"\x93\x01\x02\x03"])
def test_bytes_that_are_no_template_are_an_error(data: bytes) -> None:
    """A sound object that holds something else is an error that says how large it is."""
    with pytest.raises(CorruptObject, match=f"these {len(data)} bytes are not a template"):
        Template.from_bytes(data, Objective(SPEC.problem))


def test_a_template_under_another_key_is_an_error() -> None:
    """An object that was copied to the wrong key is not served."""
    store, aer = MemoryStore(), backends().get("aer")
    one = TemplatePool(store).of(SPEC, aer)
    two = TemplatePool(store).of(replaced(optimization_level=3), aer)
    store.put(f"templates/{one.key}", two.to_bytes())
    with pytest.raises(CorruptObject, match=f"object templates/{one.key} holds the template {two.key}"):
        TemplatePool(store).get(one.key, SPEC, aer)


def test_a_template_for_other_bases_is_an_error() -> None:
    """A template that measures what this objective does not need cannot be used for it."""
    data = pool().of(SPEC, backends().get("aer")).to_bytes()
    with pytest.raises(CorruptObject, match="not what this spec needs"):
        Template.from_bytes(data, Objective(ZZ))


@pytest.mark.parametrize("damage", [b"", b"not qpy", None])
def test_corrupt_circuits_inside_are_an_error(damage: bytes | None) -> None:
    """Circuits are decoded late, and what cannot be decoded then names its template."""
    template = pool().of(SPEC, backends().get("aer"))
    stored = msgspec.msgpack.decode(template.to_bytes())
    stored["qpy"][0] = stored["qpy"][0][:-5] if damage is None else damage
    again = Template.from_bytes(msgspec.msgpack.encode(stored), template.objective)
    with pytest.raises(
        CorruptObject, match=rf"template {template.key} holds no circuits: (not zlib|truncated)"
    ):
        again.circuits  # noqa: B018


def test_a_matrix_outside_its_shape_is_an_error() -> None:
    """The angle matrix's entries must lie in it, and its shape must be one, that of what is there."""
    template = pool().of(SPEC, backends().get("aer"))
    sizes = len(template.parameters)
    for field, value in (
        ("matrix", [[99, 0, 1.0]]),
        ("matrix", [[-1, 0, 1.0]]),
        ("shape", [-1, 2]),
        ("shape", [sizes, -1]),
        ("shape", [10**6, 400_000]),
        ("shape", [sizes, 10**11]),
        ("offset", [0.0]),
        ("rules", ["six-term"] * sizes),
    ):
        stored = msgspec.msgpack.decode(template.to_bytes()) | {field: value}
        with pytest.raises(CorruptObject, match="are not a template"):
            Template.from_bytes(msgspec.msgpack.encode(stored), template.objective)


def test_a_constant_cannot_be_measured() -> None:
    """An observable of identities alone has no basis to measure in."""
    with pytest.raises(CircuitError, match="the observable is a constant: there is nothing to measure"):
        pool().of(replaced(problem=Energy(observable=[("III", 2.0)])), backends().get("aer"))


def test_a_circuit_that_cannot_be_read_is_an_error() -> None:
    """The circuit's fault comes through."""
    with pytest.raises(CircuitError, match="no_such_ansatz"):
        pool().of(replaced(circuit=CircuitSpec(library="no_such_ansatz")), backends().get("aer"))


def test_many_angles_keep_their_order() -> None:
    """Parameters are matched by name: the eleventh angle is not the second (a[10] sorts before a[2] as text)."""
    circuit = QuantumCircuit(1)
    for k in range(12):
        circuit.rx(Parameter(f"p{k:02}"), 0) if k % 2 else circuit.rz(Parameter(f"p{k:02}"), 0)
    spec = RunSpec(problem=Energy(observable=[("Z", 1.0)]), circuit=spec_of(circuit))
    backend = backends().get("aer")
    template = pool().of(spec, backend)
    assert template.parameters == tuple(f"a[{k}]" for k in range(12))
    point = np.linspace(0.1, 1.2, 12)
    values = backend.run(template, template.angles.bind([point]), shots=None, seed=0).values
    assert values == pytest.approx(
        [Statevector(circuit.assign_parameters(point)).expectation_value(Pauli("Z")).real]
    )


def test_hits_are_fast() -> None:
    """Four qubits: 1 ms from memory, 10 ms from the store with its circuits; the best of several tries."""
    backend, objects = backends().get("aer"), MemoryStore()
    store = TemplatePool(objects)
    for spec in (H2, msgspec.structs.replace(H2, shots=100)):
        key = store.of(spec, backend).key

        def from_store(spec: RunSpec = spec, key: str = key) -> None:
            assert TemplatePool(objects).get(key, spec, backend).circuits

        assert best(lambda spec=spec: store.of(spec, backend)) < 0.001
        assert best(lambda spec=spec, key=key: store.get(key, spec, backend)) < 0.001
        assert best(from_store) < 0.010


def best(call: Any) -> float:
    """Seconds of the quickest of ten calls: the others were disturbed."""
    times = []
    for _ in range(10):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
