"""What every contestant computes in an iteration, as three steps: SPSA on H2, 4 qubits, exact values from Aer.

A state is plain data; circuit and simulator are made once per process. The steps are kind to the tools: only
numbers travel, and what a step does besides simulating takes some 50 µs.
"""

from __future__ import annotations

import json
import time
from functools import lru_cache
from importlib.metadata import version
from typing import Any

State = dict[str, Any]

SEED = 11
RATE, REACH = 0.4, 0.1
PARAMETERS = 16
WARM_UP = 10
"""iterations that are not counted"""

H2 = {
    "IIII": -0.0905789861,
    "IZIZ": 0.1689275387,
    "ZIZI": 0.1746434307,
    **dict.fromkeys(("IIIZ", "IZII"), 0.1721839326),
    **dict.fromkeys(("IIZI", "ZIII"), -0.2257534922),
    **dict.fromkeys(("IIZZ", "ZZII"), 0.1209126326),
    **dict.fromkeys(("ZIIZ", "IZZI"), 0.1661454326),
    **dict.fromkeys(("YYYY", "XXYY", "YYXX", "XXXX"), 0.0452327999),
}


def start() -> State:
    """The first points."""
    import numpy as np

    return propose(np.random.default_rng(SEED).normal(0.0, 0.1, PARAMETERS).tolist(), 0)


def execute(state: State) -> State:
    """Simulate both points in one job; its seconds are no overhead of anybody."""
    begin = time.perf_counter()
    simulator, circuit, parameters = _prepared()
    binds = [dict(zip(parameters, zip(*state["points"], strict=True), strict=True))]
    result = simulator.run(circuit, parameter_binds=binds, shots=1).result()
    values = [float(entry.data.e) for entry in result.results]
    return {**state, "values": values, "seconds": time.perf_counter() - begin}


def postprocess(state: State) -> State:
    """The slope along the perturbation."""
    plus, minus = state["values"]
    reach = REACH / (state["iteration"] + 1) ** 0.101
    return {**state, "slope": (plus - minus) / (2 * reach)}


def optimize(state: State) -> State:
    """Step against the slope and propose the next points."""
    iteration = state["iteration"]
    rate = RATE / (iteration + 1) ** 0.602
    x = [
        value - rate * state["slope"] * sign for value, sign in zip(state["x"], signs(iteration), strict=True)
    ]
    return {**propose(x, iteration + 1), "values": state["values"], "seconds": state["seconds"]}


def propose(x: list[float], iteration: int) -> State:
    reach = REACH / (iteration + 1) ** 0.101
    delta = signs(iteration)
    points = [[value + way * reach * sign for value, sign in zip(x, delta, strict=True)] for way in (1, -1)]
    return {"x": x, "points": points, "iteration": iteration}


def signs(iteration: int) -> list[float]:
    import numpy as np

    drawn: list[float] = np.random.default_rng([SEED, iteration]).choice((-1.0, 1.0), PARAMETERS).tolist()
    return drawn


@lru_cache(maxsize=1)
def _prepared() -> tuple[Any, Any, list[Any]]:
    from qiskit import transpile
    from qiskit.circuit.library import efficient_su2
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_aer import AerSimulator

    simulator = AerSimulator(
        method="statevector", seed_simulator=SEED, runtime_parameter_bind_enable=True, max_parallel_threads=1
    )
    circuit = transpile(efficient_su2(4, reps=1), simulator, optimization_level=1)
    parameters = list(circuit.parameters)
    circuit.save_expectation_value(SparsePauliOp.from_list(list(H2.items())), range(4), label="e")
    return simulator, circuit, parameters


class Marks:
    """Collects iterations where the last step runs: (wall seconds, seconds of the simulation)."""

    def __init__(self) -> None:
        self._last = 0.0
        self.iterations: list[tuple[float, float]] = []

    def add(self, seconds: float) -> None:
        now = time.perf_counter()
        if self._last:
            self.iterations.append((now - self._last, seconds))
        self._last = now

    def report(self, packages: list[str], values: list[float]) -> None:
        """The one line that the benchmark reads."""
        print(
            json.dumps(
                {
                    "iterations": self.iterations[WARM_UP:],
                    "versions": {name: version(name) for name in packages},
                    "energy": sum(values) / len(values) if values else None,
                }
            ),
            flush=True,
        )
