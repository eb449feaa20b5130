"""A record can be run again, and says with what it was made."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import toy
import varloop
from varloop import MaxCut
from varloop.client import Run, embedded
from varloop.client.replay import Replayed, replay
from varloop.errors import UnknownRun
from varloop.journal import read_record, write_record
from varloop.store.layout import journal_prefix, step_key
from varloop.support.versions import versions

SPEC = varloop.build_spec(problem=MaxCut(edges=[(0, 1, 1.0), (1, 2, 1.0)]), shots=50, budget=4)


def a_run(spec: Any = SPEC, **options: Any) -> Run:
    """A run that has ended."""
    run = embedded("memory:").submit(spec, run="r", **options)
    run.result()
    return run


def again(run: Run) -> Replayed:
    """Its replay."""
    return replay(run.client.resources, run.id)  # type: ignore[attr-defined]


def test_a_record_runs_again_to_the_same_numbers() -> None:
    """Each iteration is the same, bit for bit, the final measurement included."""
    assert again(a_run()) == Replayed(
        run="r", compared=5, equal=5, difference=None, versions={}, calibration=None
    )


def test_the_first_difference_is_told() -> None:
    """Where an iteration, a field and both values are; and what else has another version."""
    run = a_run()
    store = run.client.resources.store  # type: ignore[attr-defined]
    key = journal_prefix("r") + step_key(2, "optimize")
    record = read_record(store.get(key))
    assert record.progress is not None
    progress = msgspec.structs.replace(record.progress, error=0.125)
    store.put(key, write_record(msgspec.structs.replace(record, progress=progress)))
    found = replay(embedded(store).resources, "r")

    assert (found.compared, found.equal, found.same) == (3, 2, False)
    assert found.difference is not None
    assert (found.difference.iteration, found.difference.field, found.difference.recorded) == (
        2,
        "error",
        0.125,
    )


def test_versions_and_calibration_are_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Python, varloop and what decides numbers; and of the device, what its calibration says of what is in use."""
    run = a_run(msgspec.structs.replace(SPEC, backend="aer:fake_manila"))
    encoded = run.stored.encoded()  # type: ignore[attr-defined]
    provenance = encoded.provenance

    assert {"Python", "varloop", "qiskit", "qiskit-aer", "numpy", "scipy"} <= provenance.versions.keys()
    qubits = [name for name in provenance.device if name.startswith("qubit ")]
    assert len(qubits) == 3
    assert all(1e-5 < provenance.device[name]["t1"] < 1e-3 for name in qubits)
    measures = {name: each for name, each in provenance.device.items() if name.startswith("measure ")}
    assert len(measures) == 3
    assert all(0 < each["error"] < 0.2 for each in measures.values())

    changed = {**versions(), "numpy": "1.0"}
    monkeypatch.setattr("varloop_functions.encode.step.versions", lambda: changed)
    assert again(run).versions == {"numpy": (versions()["numpy"], "1.0")}


def test_what_was_interrupted_is_compared_as_far_as_it_came() -> None:
    """A run that was stopped, or was not finished, has no final measurement that would come again."""
    run = embedded("memory:").submit(SPEC, run="r")
    for event in run.watch():
        if event.iteration == 2:
            break
    assert (again(run).compared, again(run).same) == (2, True)
    run.stop().result()

    assert again(run).same
    assert again(run).compared == run.state().iterations


def test_a_pipeline_of_ones_own_and_an_unknown_run() -> None:
    """Its app has to be given; a run that is not there is told as such."""
    client = embedded("memory:", apps=[toy.app])
    client.submit({**toy.SPEC, "shots": 100}, run="r", pipeline="toy").result()

    assert replay(client.resources, "r", [toy.app]).same
    with pytest.raises(UnknownRun):
        replay(client.resources, "none")
