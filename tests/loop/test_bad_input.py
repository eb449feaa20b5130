from __future__ import annotations

import base64
import json
import math
import zlib
from typing import Any

import pytest

from loop.cases import ENERGY, a_spec
from varloop.client import EmbeddedClient, embedded, submission
from varloop.errors import ConflictError, RunEnded, SchemaError
from varloop.events import RunFailed
from varloop.store.memory import MemoryStore
from varloop.testing import trial
from varloop.wire.codec import MAX_BYTES, from_http, from_json, to_json

GOOD = a_spec("cobyla", iterations=3)


def library(name: str = "real_amplitudes", **options: Any) -> dict[str, Any]:
    """A circuit of Qiskit's library."""
    return {"library": name, "options": options}


def energy(*terms: tuple[str, float]) -> dict[str, Any]:
    """An energy problem."""
    return {"kind": "energy", "observable": list(terms)}


def ring(**fields: Any) -> dict[str, Any]:
    """A spec of a graph."""
    problem = {"kind": "maxcut", "edges": [[0, 1, 1.0], [1, 2, 1.0]], **fields}
    return a_spec(circuit=None, problem=problem)


def qpy(raw: bytes) -> dict[str, Any]:
    """A circuit as compressed QPY."""
    return {"qpy": base64.b64encode(zlib.compress(raw)).decode()}


def good_qpy() -> bytes:
    """QPY of a circuit that is all right."""
    from qiskit.circuit.library import real_amplitudes

    from varloop.client.builder import build_spec

    spec = build_spec(circuit=real_amplitudes(2, reps=1), observable=[("ZZ", 1.0)])
    assert spec.circuit is not None
    assert spec.circuit.qpy is not None
    return zlib.decompress(base64.b64decode(spec.circuit.qpy))


FAULTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "not a number": (a_spec(initial=[math.nan] * 4), ["initial: every parameter must be finite"]),
    "infinite coefficient": (a_spec(problem=energy(("ZZ", math.inf))), ["problem.observable[0]: coefficient inf"]),
    "too few parameters": (a_spec(initial=[0.1] * 3), ["initial: has 3 numbers, the circuit has 4 parameters"]),
    "wide observable": (a_spec(problem=energy(("ZZZ", 1.0))), ["circuit: has 2 qubits, the problem acts on 3"]),
    "no such Pauli": (a_spec(problem=energy(("AB", 1.0))), ["problem.observable[0]: 'AB' is not a Pauli label"]),
    "nothing to vary": (
        a_spec(circuit={"qasm": 'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; h q[0];'}),
        ["circuit: has no parameters"],
    ),
    "QASM cut off": (a_spec(circuit={"qasm": "OPENQASM 2.0; qreg q[2"}), ["circuit: the OpenQASM source cannot be"]),
    "QASM reads files": (
        a_spec(circuit={"qasm": 'OPENQASM 2.0; include "/etc/passwd"; qreg q[2];'}),
        ["circuit: the OpenQASM source cannot be read: QASM2ParseError"],
    ),
    "no base64": (a_spec(circuit={"qpy": "!!!"}), ["circuit: not base64"]),
    "no zlib": (a_spec(circuit={"qpy": "AAAA"}), ["circuit: not zlib of QPY"]),
    "no QPY": (a_spec(circuit=qpy(b"QISKIT" + bytes(50))), ["circuit: "]),
    "QPY cut off": (a_spec(circuit=qpy(good_qpy()[:-20])), ["circuit: "]),
    "QPY altered": (a_spec(circuit=qpy(good_qpy().replace(b"RYGate", b"RQGate"))), ["circuit: "]),
    "a bomb of QPY": (a_spec(circuit=qpy(bytes(100_000_000))), ["circuit: the circuit has more than 67108864 bytes"]),
    "no such circuit": (a_spec(circuit=library("__import__")), ["circuit: qiskit.circuit.library has no function"]),
    "a circuit's options": (a_spec(circuit=library(num_qubits=2, rep=1)), ["circuit: real_amplitudes"]),
    "endless circuit": (a_spec(circuit=library(num_qubits=2, reps=10**9)), ["circuit: the circuit has 1000000000"]),
    "enormous circuit": (
        a_spec(circuit=library(num_qubits=20, reps=1000), problem=energy(("Z" * 20, 1.0))),
        ["circuit: has 20020 parameters, expected at most 4096"],
    ),
    "endless layers": (ring(layers=10**9), ["problem.layers: Expected `int` <= 1000, got 1000000000"]),
    "enormous graph": (ring(edges=[[0, 10**9, 1.0]]), ["problem: acts on 1000000001 qubits"]),
    "wide label": (a_spec(problem=energy(("Z" * 10**5, 1.0))), ["problem: acts on 100000 qubits"]),
    "enormous shots": (a_spec(shots=2**63), ["shots: Expected `int` <= 2147483647, got 9223372036854775808"]),
    "no such backend": (a_spec(backend="mars"), ["backend: unknown 'mars', expected aer or"]),
    "no such device": (a_spec(backend="aer:fake_../../x"), ["backend: "]),
    "no such optimizer": (a_spec("best"), ["optimizer.name: got 'best', expected one of spsa, adam"]),
    "no such option": (a_spec("adam", options={"speed": 1}), ["optimizer.options.speed: unknown option"]),
    "endless option": (a_spec("spsa", options={"resamplings": 10**9}), ["optimizer.options.resamplings: Expected"]),
    "small budget": (a_spec(shots=100, budget={"shots": 10}), ["budget.shots: 10, but the first iteration and"]),
    "several": (
        {
            **a_spec("best", options={"x": 1}, initial=[1.0], backend="mars", problem=energy(("ZZZ", 1.0))),
            "seed": -1,
            "shots": 0,
        },
        [
            "shots: Expected `int` >= 1",
            "seed: Expected `int` >= 0",
            "optimizer.name: got 'best'",
            "backend: unknown 'mars'",
            "circuit: has 2 qubits, the problem acts on 3",
            "initial: has 1 numbers, the circuit has 4 parameters",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_spec_says_all_that_is_wrong(name: str) -> None:
    """A run of a faulty spec fails at once, before anything large is built, with every fault named."""
    spec, expected = FAULTS[name]
    end = trial(spec).end.data

    assert isinstance(end, RunFailed)
    assert (end.error, end.function) == ("SpecError", "encode"), end.detail
    assert len(end.faults) == len(expected), end.faults
    for found, begins in zip(end.faults, expected, strict=True):
        assert found.startswith(begins)
    assert "Traceback" not in end.detail


def publish(client: EmbeddedClient, spec: dict[str, Any]) -> None:
    """Submit the run ``bad`` as any application may, without a check."""
    client.host.publish(submission(spec, "bad", "default", client.resources.clock))
    client.host.drain()


def test_who_waits_for_it_gets_all_faults() -> None:
    """The application gets every fault with the error it raises."""
    client = embedded("memory:")
    publish(client, FAULTS["several"][0])

    with pytest.raises(RunEnded, match="run bad: SpecError in encode: the spec has 6 faults") as caught:
        client.run("bad").result()
    assert len(caught.value.faults) == 6


def neighbours(bad: Any) -> EmbeddedClient:
    """A client in which something bad happens between two good runs, which end as if it had not."""
    client = embedded(MemoryStore())
    before, straight = client.submit(GOOD), trial(GOOD).end.data
    bad(client)
    after = client.submit(GOOD)

    assert before.result() == after.result() == straight
    return client


@pytest.mark.parametrize("name", ["several", "a bomb of QPY", "not a number", "endless circuit"])
def test_a_faulty_run_harms_no_other(name: str) -> None:
    """Runs beside a faulty one end as they would alone."""
    client = neighbours(lambda client: publish(client, FAULTS[name][0]))

    assert client.run("bad").state().state == "failed"


def test_a_taken_run_id_harms_nobody() -> None:
    """Another spec under the id of a run is refused, by the client and as a raw event; the run goes on."""

    def steal(client: EmbeddedClient) -> None:
        run = client.submit(GOOD, run="mine")
        with pytest.raises(ConflictError, match="run mine: this run id belongs to another spec"):
            client.submit({**GOOD, "seed": 99}, run="mine")
        wire = json.loads(to_json(client.resources.submitted("mine")))
        wire["data"]["spec"]["seed"] = 99
        client.host.publish(from_json(json.dumps(wire).encode()))
        assert run.result() == trial(GOOD).end.data

    client = neighbours(steal)
    (letter,) = client.host.dead_letters
    assert letter.error == "ConflictError"


def test_a_lost_template_ends_its_run_only() -> None:
    """If a stored object is truncated, the run that needs it fails and says which; others do not notice."""

    def truncate(client: EmbeddedClient) -> None:
        other = {**GOOD, "circuit": library(num_qubits=2, reps=3)}
        client.submit(other, run="bad")
        for event in client.host.run():
            if event.run == "bad" and event.type.endswith("encoded"):
                store = client.resources.store
                assert isinstance(store, MemoryStore)
                key = f"templates/{event.data.template}"
                store._objects[key] = store._objects[key][:100]
                client.resources.templates.__init__(store)  # type: ignore[misc]
        end = client.run("bad").state().outcome
        assert isinstance(end, RunFailed)
        assert (end.error, end.function) == ("CorruptObject", "execute")
        assert "does not match its digest (100 bytes read)" in end.detail

    neighbours(truncate)


def test_an_event_of_a_hundred_megabytes() -> None:
    """An event of 100 MB is refused unread, in every form."""
    huge = b'{"spec":{"x":"' + b"y" * 100_000_000 + b'"}}'
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "huge",
        "ce-source": "app",
        "ce-type": "dev.varloop.run.submitted",
        "content-type": "application/json",
    }

    for read in (lambda: from_json(huge), lambda: from_http(headers, huge)):
        with pytest.raises(SchemaError, match=rf"has {len(huge)} bytes, at most {MAX_BYTES} are accepted"):
            read()


def test_a_large_but_lawful_spec() -> None:
    """A spec of thousands of terms is too large for an event, and runs all the same."""
    terms = [("ZZ", 0.001 * number) for number in range(4000)]
    end = trial({**ENERGY, "problem": energy(*terms), "budget": {"iterations": 1}}).end

    assert end.type.endswith("run.completed")
