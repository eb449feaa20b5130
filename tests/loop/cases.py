"""Small runs of every kind, each a few iterations long."""

from __future__ import annotations

from typing import Any

__all__ = ["ENERGY", "EXACT", "RUNS", "SAMPLED", "a_spec"]

ENERGY: dict[str, Any] = {
    "problem": {"kind": "energy", "observable": [["ZZ", 1.0], ["XI", -0.5], ["IX", -0.5], ["II", 0.25]]},
    "circuit": {"library": "real_amplitudes", "options": {"num_qubits": 2, "reps": 1}},
}
RING: dict[str, Any] = {
    "problem": {"kind": "maxcut", "edges": [[0, 1, 1.0], [1, 2, 2.0], [2, 3, 1.0], [3, 0, 0.5]], "layers": 1}
}


def a_spec(
    optimizer: str = "spsa", *, iterations: int = 4, options: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """A spec of the small energy problem, with changes."""
    return {
        **ENERGY,
        "optimizer": {"name": optimizer, "options": options or {}},
        "seed": 11,
        "budget": {"iterations": iterations},
        **fields,
    }


def _ring(optimizer: str = "spsa", **fields: Any) -> dict[str, Any]:
    cvar = fields.pop("cvar", 1.0)
    return a_spec(optimizer, circuit=None, **{**RING, **fields}) | {
        "problem": {**RING["problem"], "cvar": cvar}
    }


EXACT: dict[str, dict[str, Any]] = {
    "spsa": a_spec("spsa"),
    "adam": a_spec("adam", gradient="parameter-shift"),
    "gradient-descent": a_spec("gradient-descent", gradient="finite-difference"),
    "rotosolve": a_spec("rotosolve", iterations=5),
    "cobyla": a_spec("cobyla", iterations=7),
    "l-bfgs-b": a_spec("l-bfgs-b", iterations=5),
    "maxcut": _ring("cobyla", iterations=6),
}
SAMPLED: dict[str, dict[str, Any]] = {
    "spsa, 64 shots": a_spec("spsa", shots=64),
    "adam, 64 shots": a_spec("adam", shots=64),
    "cobyla, 64 shots": a_spec("cobyla", shots=64, iterations=6),
    "readout mitigation": a_spec("spsa", shots=64, mitigation="readout"),
    "maxcut, CVaR": _ring("spsa", shots=64, cvar=0.25),
    "budget of shots": a_spec(
        "spsa", options={"calibration": 10}, shots=64, budget={"iterations": 99, "shots": 8_000}
    ),
}
RUNS = EXACT | SAMPLED
