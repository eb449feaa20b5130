"""What a store knows about a run, gathered for the page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from varloop.context import Resources
from varloop.errors import VarloopError
from varloop.events import CircuitEncoded, CircuitExecuted, Job, Provenance, Request
from varloop.journal import Call
from varloop.runs import Iteration, RunState, StoredRun
from varloop.spec import digest
from varloop.store.layout import function_of, iteration_prefix, template_key
from varloop.support.masking import mask
from varloop.support.versions import versions
from varloop.wire.codec import encode_body

__all__ = ["Facts", "Ran", "TemplateFacts", "gather"]


class Cost(msgspec.Struct):
    """What a job's measurement took."""

    circuits: int
    shots: int


class Ran(msgspec.Struct, frozen=True):
    """One job, as the function that ran it saw it: times in seconds since the epoch."""

    iteration: int
    job: Job
    cost: Cost
    started: float
    ended: float


class TemplateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled circuit."""

    key: str
    mode: str
    qubits: int
    parameters: int
    angles: int
    bases: list[str]
    """measurement bases, rightmost letter = qubit 0; empty when exact"""
    depth: int
    """of the deepest circuit"""
    two_qubit_gates: int
    """of the circuit that has most"""
    gates: dict[str, int]
    """of the first circuit, by name"""
    bytes: int
    """as it lies in the store"""
    jobs: int
    """of this run that used it"""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the page shows."""

    state: RunState
    spec: dict[str, Any]
    iterations: list[Iteration]
    calls: list[Call]
    jobs: list[Ran]
    templates: list[TemplateFacts]
    parameters: list[str]
    """names of the parameters, in their order; empty if they are not known"""
    ended: float | None
    """seconds since the epoch; None if the run has not ended"""
    digests: dict[str, str]
    versions: dict[str, str]
    """of the process that gathered this"""
    provenance: Provenance | None
    """what the run's numbers depend on besides its spec"""
    store: str
    notes: list[str] = []
    """what could not be read"""


def gather(resources: Resources, run: str) -> Facts:
    """Read everything about a run.

    :raises UnknownRun: if there is no such run.
    """
    notes: list[str] = []
    stored = StoredRun(resources, run)
    state = stored.state()
    spec = stored.submitted().data.spec
    end, iterations = stored.ending(), stored.history()
    return Facts(
        state=state,
        spec=spec,
        iterations=iterations,
        calls=stored.calls(),
        jobs=sorted(_jobs(resources, run, notes), key=lambda each: each.started),
        templates=list(_templates(resources, run, notes)),
        parameters=iterations.names,
        ended=end.time if end else None,
        digests=_digests(resources, state, notes),
        versions=versions(),
        provenance=encoded.provenance if (encoded := stored.encoded()) else None,
        store=mask(resources.store.url),
        notes=notes,
    )


class _Executed(msgspec.Struct):
    """The part of circuit.executed that the page needs; samples are not decoded."""

    job: Job
    request: Request
    measurement: Cost


class _Emitted(msgspec.Struct):
    """The part of a recorded event that the page needs."""

    type: str
    time: str
    iteration: int = 0
    dataref: str = ""
    data: msgspec.Raw = msgspec.Raw()


def _emitted(resources: Resources, run: str, prefix: str = "") -> Iterator[_Emitted]:
    """The recorded events of a run, or of the records whose keys begin so."""
    for _, record in StoredRun(resources, run).records(prefix):
        for raw in record.events:
            yield msgspec.json.decode(raw, type=_Emitted)


def _jobs(resources: Resources, run: str, notes: list[str]) -> Iterator[Ran]:
    for event in _emitted(resources, run):
        if event.type != CircuitExecuted.type:
            continue
        try:
            data = resources.store.get(event.dataref) if event.dataref else event.data
            found = msgspec.json.decode(data, type=_Executed)
        except (VarloopError, msgspec.MsgspecError) as error:
            notes.append(mask(f"the job of iteration {event.iteration} could not be read: {error}"))
            continue
        ended = datetime.fromisoformat(event.time).timestamp()
        yield Ran(event.iteration, found.job, found.measurement, ended - found.job.seconds, ended)


def _templates(resources: Resources, run: str, notes: list[str]) -> Iterator[TemplateFacts]:
    used = _template_keys(resources, run)
    jobs = len({key for key in resources.journal(run).keys() if function_of(key) == "execute"})
    for key in used:
        try:
            facts = _template(resources, run, key, jobs)
        except (VarloopError, msgspec.MsgspecError) as error:
            notes.append(mask(f"template {key[:12]} could not be read: {error}"))
            continue
        if facts is not None:
            yield facts


class _Encoded(msgspec.Struct):
    template: str = ""


def _template_keys(resources: Resources, run: str) -> list[str]:
    """Templates that a run's first events name."""
    events = [
        event for event in _emitted(resources, run, iteration_prefix(0)) if event.type == CircuitEncoded.type
    ]
    bodies = [resources.store.get(event.dataref) if event.dataref else event.data for event in events]
    keys = [msgspec.json.decode(body, type=_Encoded).template for body in bodies]
    return [key for key in dict.fromkeys(keys) if key]


def _template(resources: Resources, run: str, key: str, jobs: int) -> TemplateFacts | None:
    data = resources.store.find(template_key(key))
    if data is None:
        return None
    from varloop.quantum.objective import Objective
    from varloop.quantum.templates import Template

    template = Template.from_bytes(data, Objective(resources.spec(run).problem))
    circuits = template.circuits
    return TemplateFacts(
        key=key,
        mode=template.mode,
        qubits=template.num_qubits,
        parameters=template.angles.matrix.shape[1],
        angles=len(template.parameters),
        bases=[group.basis for group in template.groups],
        depth=max(circuit.depth() for circuit in circuits),
        two_qubit_gates=max(circuit.num_nonlocal_gates() for circuit in circuits),
        gates=dict(circuits[0].count_ops()),
        bytes=len(data),
        jobs=jobs,
    )


def _digests(resources: Resources, state: RunState, notes: list[str]) -> dict[str, str]:
    """What the same spec gives again, and what proves it."""
    import hashlib

    found = {}
    try:
        found["spec"] = digest(resources.spec(state.run))
    except VarloopError as error:
        notes.append(mask(f"the spec has faults: {error}"))
    if state.outcome is not None:
        found["result"] = hashlib.sha256(encode_body(state.outcome)).hexdigest()
    return found
