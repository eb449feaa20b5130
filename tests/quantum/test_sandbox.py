"""The sandbox: what a circuit costs is paid by a process of its own, and the host outlives it."""

from __future__ import annotations

import base64
import io
import os
import signal
import struct
import subprocess
import sys
import threading
import zlib
from typing import Any

import msgspec
import pytest
from qiskit import qpy
from qiskit.circuit import Parameter, QuantumCircuit

from loop.cases import a_spec
from quantum.test_circuits import BUILDS, LIBRARY, nested_gates
from varloop.client import EmbeddedClient
from varloop.context import Resources
from varloop.errors import CircuitError, RunEnded, TemporaryError
from varloop.events import RunSubmitted
from varloop.host import load_pipelines
from varloop.host.embedded import EmbeddedHost
from varloop.host.knative import serve_function
from varloop.host.server.service import Service
from varloop.quantum.circuits import load, spec_of, to_qpy
from varloop.quantum.sandbox import Sandbox
from varloop.spec import CircuitSpec
from varloop.store.memory import MemoryStore
from varloop.testing import FakeClock, trial

MEMORY = 96 << 20


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    """A sandbox with little memory, so that what takes too much is seen soon."""
    return Sandbox(memory=MEMORY, seconds=5)


def qpy_with(offset: int, forged: bytes) -> CircuitSpec:
    """QPY of a circuit of three gates, its header forged at some byte."""
    circuit, buffer = QuantumCircuit(1), io.BytesIO()
    for name in "abc":
        circuit.rx(Parameter(name), 0)
    qpy.dump(circuit, buffer)
    raw = bytearray(buffer.getvalue())
    start = int.from_bytes(raw[20:28], "big")
    raw[start + offset : start + offset + len(forged)] = forged
    return CircuitSpec(qpy=base64.b64encode(zlib.compress(bytes(raw))).decode())


HUGE = struct.pack("!Q", 1 << 62)
ATTACKS = {
    "a library function of all pairs": CircuitSpec(
        library="zz_feature_map", options={"feature_dimension": 64, "reps": 4000}
    ),
    "a library function of all subsets": CircuitSpec(
        library="pauli_feature_map", options={"feature_dimension": 64, "paulis": ["ZZZZZZZZZ"]}
    ),
    "a product as a size": CircuitSpec(qasm="OPENQASM 3.0; qubit[20000*100000] q;"),
    "nested gates": CircuitSpec(qasm=nested_gates(8)),
    "a deep expression": CircuitSpec(qasm="OPENQASM 3.0; gate g q { U(" + "(" * 3_000),
    "metadata that is only claimed": qpy_with(13, HUGE),
    "registers that are only claimed": qpy_with(21, b"\xff\xff\xff\xff"),
    "instructions that are only claimed": qpy_with(25, HUGE),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_takes_too_much_is_refused(sandbox: Sandbox, attack: str) -> None:
    """The circuit is a CircuitError that fits on a line, and the next circuit is read."""
    with pytest.raises(CircuitError) as caught:
        sandbox.load(ATTACKS[attack])
    assert len(str(caught.value)) < 500
    assert sandbox.load(CircuitSpec(library="real_amplitudes", options={"num_qubits": 2})).num_qubits == 2


def test_limits_are_told(sandbox: Sandbox) -> None:
    """Who runs into a limit reads which one it was."""
    with pytest.raises(CircuitError, match=r"within 96 MiB of memory|MemoryError"):
        sandbox.load(ATTACKS["a library function of all pairs"])
    endless = CircuitSpec(library="pauli_feature_map", options={"feature_dimension": 64, "paulis": ["Z" * 9]})
    with pytest.raises(CircuitError, match="cannot be read within 1 s"):
        Sandbox(memory=64 << 30, seconds=1).load(endless)


@pytest.mark.parametrize("build", BUILDS)
def test_a_circuit_is_what_it_is_without_a_sandbox(sandbox: Sandbox, build: Any) -> None:
    """Bit for bit."""
    spec = spec_of(build())
    assert to_qpy(sandbox.load(spec)) == to_qpy(load(spec))


@pytest.mark.parametrize("name", LIBRARY)
def test_a_library_circuit_is_what_it_is_without_a_sandbox(sandbox: Sandbox, name: str) -> None:
    """Bit for bit, the seed included."""
    spec = CircuitSpec(library=name, options=LIBRARY[name])
    assert to_qpy(sandbox.load(spec, 3)) == to_qpy(load(spec, 3))


def test_a_refusal_is_what_it_is_without_a_sandbox(sandbox: Sandbox) -> None:
    """Detail and hint of the error are those of the reader."""
    for spec in (
        CircuitSpec(library="nothing"),
        CircuitSpec(qasm="OPENQASM 2.0; qreg"),
        CircuitSpec(qpy="!"),
    ):
        with pytest.raises(CircuitError) as outside:
            load(spec)
        with pytest.raises(CircuitError) as inside:
            sandbox.load(spec)
        assert str(inside.value) == str(outside.value)


def client(sandbox: Sandbox) -> EmbeddedClient:
    """A client whose host reads circuits in a sandbox."""
    pipelines = load_pipelines()
    resources = Resources(MemoryStore(), types=pipelines.types, load=sandbox.load)
    return EmbeddedClient(EmbeddedHost(pipelines, resources))


def test_a_run_is_what_it_is_without_a_sandbox(sandbox: Sandbox) -> None:
    """Template and result are the same; a stranger's attack fails its own run, with the reason."""
    spec, here = a_spec("cobyla", iterations=3), client(sandbox)
    good = here.submit(spec, run="good")
    attack = RunSubmitted(spec={**spec, "circuit": {"qasm": nested_gates(8)}})
    submitted = here.resources.submitted("good")
    here.host.publish(msgspec.structs.replace(submitted, run="bad", id="bad", data=attack))

    assert good.result() == trial(spec).end.data
    with pytest.raises(RunEnded, match=r"run bad: SpecError in encode: .* more than 131072 operations"):
        here.run("bad").result()


@pytest.mark.parametrize("host", ["serve", "knative"])
def test_hosts_that_take_specs_from_strangers_use_it(host: str) -> None:
    """What reads circuits there is a sandbox; the embedded host reads its user's own specs itself."""
    if host == "serve":
        resources = Service(load_pipelines(), MemoryStore(), FakeClock()).resources
    else:
        function = serve_function(*load_pipelines().apps, store="memory:")
        resources = function._receiver._invoker.resources
        function.stop()
    assert isinstance(getattr(resources.load, "__self__", None), Sandbox)
    assert Resources(MemoryStore()).load is load


def test_threads_share_it(sandbox: Sandbox) -> None:
    """Circuits of several threads are read side by side."""
    found: dict[int, int] = {}

    def read(qubits: int) -> None:
        spec = CircuitSpec(library="efficient_su2", options={"num_qubits": qubits})
        found[qubits] = sandbox.load(spec).num_qubits

    threads = [threading.Thread(target=read, args=(qubits,)) for qubits in range(2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {qubits: qubits for qubits in range(2, 8)}


def test_what_was_read_is_kept(sandbox: Sandbox) -> None:
    """A circuit that was read lately needs no process."""
    spec = CircuitSpec(library="efficient_su2", options={"num_qubits": 3, "reps": 5})
    first = to_qpy(sandbox.load(spec))
    sandbox._nursery, before = None, sandbox._nursery
    assert to_qpy(sandbox.load(spec)) == first
    assert sandbox._nursery is None
    sandbox._nursery = before


def test_a_dead_reader_is_replaced() -> None:
    """If the process that forks is killed, the next attempt starts another."""
    sandbox = Sandbox()
    small = [CircuitSpec(library="efficient_su2", options={"num_qubits": n}) for n in (2, 3, 4)]
    sandbox.load(small[0])
    assert sandbox._nursery is not None
    process = sandbox._nursery._process
    os.kill(process.pid, signal.SIGSTOP)
    threading.Timer(0.2, process.kill).start()
    with pytest.raises(TemporaryError, match="has died"):
        sandbox.load(small[1])
    process.wait()
    assert sandbox.load(small[1]).num_qubits == 3


def test_it_ends_with_its_host_and_has_none_of_its_secrets() -> None:
    """Nobody has to close it; and no credential is in its environment."""
    sandbox = Sandbox()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
        sandbox.load(CircuitSpec(library="efficient_su2", options={"num_qubits": 2}))
    assert sandbox._nursery is not None
    process = sandbox._nursery._process
    with open(f"/proc/{process.pid}/environ", encoding="utf-8") as environment:
        assert "hunter2" not in environment.read()
    del sandbox
    assert process.poll() is not None


EARLY = """
import os, sys
from varloop.errors import CircuitError
from varloop.quantum.sandbox import Sandbox
from varloop.spec import CircuitSpec
sandbox = Sandbox(memory=96 << 20)
sandbox.start()
with open(f"/proc/{sandbox._nursery._process._process.pid}/cmdline") as mine, open("/proc/self/cmdline") as other:
    print("fork", mine.read() == other.read())
try:
    sandbox.load(CircuitSpec(library="zz_feature_map", options={"feature_dimension": 64, "reps": 4000}))
except CircuitError as error:
    print("refused", "within 96 MiB" in str(error) or "MemoryError" in str(error))
print("alive", sandbox.load(CircuitSpec(library="efficient_su2", options={"num_qubits": 2})).num_qubits)
"""


def test_it_may_start_as_a_fork_of_its_host() -> None:
    """Before a host has threads, the process that forks can be a fork itself, with the same limits."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    program = [sys.executable, "-W", "error", "-c", EARLY]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["fork True", "refused True", "alive 2"]


def test_a_host_with_threads_does_not_fork() -> None:
    """The process that forks is then started with the first circuit, as a program of its own."""
    told = threading.Event()
    thread = threading.Thread(target=told.wait)
    thread.start()
    try:
        sandbox = Sandbox()
        sandbox.start()
        assert sandbox._nursery is None
    finally:
        told.set()
        thread.join()


HOST = """
import resource, sys
import quantum.test_sandbox as t
limit = t.qiskit_and(3 << 30)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sandbox = t.Sandbox(memory=t.MEMORY)
for attack in t.ATTACKS.values():
    try:
        sandbox.load(attack)
    except t.CircuitError as error:
        print(str(error)[:60])
print("alive", sandbox.load(t.CircuitSpec(library="efficient_su2", options={"num_qubits": 2})).num_qubits)
"""


def qiskit_and(memory: int) -> int:
    """Bytes of address space that this process has, and some more."""
    with open("/proc/self/statm", encoding="ascii") as numbers:
        return int(numbers.read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + memory


def test_a_host_with_limits_of_its_own_lives_on() -> None:
    """Under a memory limit, where each of these would abort the process that reads it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = [sys.executable, "-c", HOST]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    *refused, last = done.stdout.splitlines() or [done.stderr]
    assert last == "alive 2", done.stderr
    assert len(refused) == len(ATTACKS)
