"""What is run while the world breaks: small problems, each with the result of a quiet run in this process."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from varloop import runs
from varloop.client import embedded
from varloop.context import Resources
from varloop.wire.codec import encode_body

__all__ = ["SPECS", "Outcome", "outcome", "quiet"]

_TWO_QUBITS = {"library": "real_amplitudes", "options": {"num_qubits": 2, "reps": 1}}

SPECS: dict[str, dict[str, Any]] = {
    "exact": {
        "problem": {"kind": "energy", "observable": [["ZZ", -1.0], ["XI", 0.5], ["IX", 0.5]]},
        "circuit": _TWO_QUBITS,
        "optimizer": {"name": "adam"},
        "seed": 11,
        "budget": {"iterations": 20},
    },
    "shots": {
        "problem": {"kind": "energy", "observable": [["ZZ", -1.0], ["XI", 0.5], ["IX", 0.5]]},
        "circuit": _TWO_QUBITS,
        "optimizer": {"name": "spsa"},
        "shots": 64,
        "seed": 12,
        "budget": {"iterations": 20},
    },
    "cut": {
        "problem": {"kind": "maxcut", "edges": [[0, 1, 1.0], [0, 2, 0.7]]},
        "optimizer": {"name": "cobyla"},
        "shots": 64,
        "seed": 13,
        "budget": {"iterations": 16},
    },
}


class Outcome(NamedTuple):
    """All that must not depend on what happens around a run."""

    end: bytes
    """the body of its last event"""
    history: list[runs.Iteration]
    """values of every iteration"""
    records: frozenset[str]
    """keys of its journal: one per iteration and step"""


def outcome(resources: Resources, run: str) -> Outcome:
    """The outcome of a run that ended."""
    end = runs.StoredRun(resources, run).ending()
    assert end is not None
    keys = frozenset(resources.journal(run).keys())
    return Outcome(encode_body(end.data), runs.StoredRun(resources, run).history(), keys)


@cache
def quiet(name: str) -> Outcome:
    """The outcome when nothing goes wrong."""
    client = embedded("memory:")
    run = client.submit(SPECS[name], run=f"quiet-{name}")
    run.result()
    return outcome(client.resources, run.id)
