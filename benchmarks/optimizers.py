"""What an iteration of `optimize` costs, from the first to the two thousandth: time must not grow with a run.

    python benchmarks/optimizers.py

Each optimizer minimises the chained Rosenbrock function, whose values cost nothing, by ask and tell as the optimize step
does it: the state is read from JSON and written to JSON each time. What is shown is the median of 100 iterations early and late
in the run, and their ratio; for the replayed ones beside what SciPy takes for the same iterations in one call of its own, which is
not the same throughout either.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from varloop.evaluation import Evaluation
from varloop.optimizers import NAMES, create
from varloop.optimizers.replay import Replay
from varloop.spec import OptimizerSpec

PARAMETERS, ITERATIONS, WINDOW = 40, 2000, 100
OPTIONS: dict[str, dict[str, Any]] = {
    "cobyla": {"tolerance": 1e-9, "first_step": 0.3},
    "l-bfgs-b": {"gradient_tolerance": 0.0, "value_tolerance": 0.0, "memory": 1},
    "adam": {"learning_rate": 1e-3},
    "gradient-descent": {"learning_rate": 1e-4},
    "spsa": {"learning_rate": 1e-5},
    "rotosolve": {"tolerance": 0.0},
}


START = [-1.2 + 0.01 * k for k in range(PARAMETERS)]


def rosenbrock(x: np.ndarray) -> float:
    """Σ 100·(x_{k+1} − x_k²)² + (1 − x_k)²."""
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def gradient(x: np.ndarray) -> list[float]:
    """Its gradient."""
    slope = np.zeros_like(x)
    slope[:-1] += -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    slope[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return slope.tolist()


def times(name: str) -> list[float]:
    """Milliseconds of each iteration, as many as the optimizer makes."""
    optimizer = create(OptimizerSpec(name=name, options=OPTIONS[name]), 0)
    state, found = optimizer.start(START), []
    while len(found) < ITERATIONS and (ask := optimizer.ask(state)) is not None:
        points = [np.array(point) for point in ask.points]
        slope = gradient(points[0]) if ask.gradient else None
        measured = Evaluation([rosenbrock(x) for x in points], [0.0] * len(points), slope)
        memory = msgspec.json.encode(state)
        began = time.perf_counter()
        told = optimizer.tell(msgspec.json.decode(memory), measured)
        optimizer.ask(told)
        msgspec.json.encode(told)
        found.append(1000 * (time.perf_counter() - began))
        state = told
    return found


class _Enough(BaseException):
    """Leaves SciPy."""


def alone(name: str, iterations: int) -> list[float]:
    """Milliseconds between two values that SciPy asks for in a single call; nothing for what is not replayed."""
    optimizer = create(OptimizerSpec(name=name, options=OPTIONS[name]), 0)
    if not isinstance(optimizer, Replay):
        return []
    marks: list[float] = []

    def value(x: np.ndarray) -> float:
        marks.append(time.perf_counter())
        if len(marks) > iterations:
            raise _Enough
        return rosenbrock(x)

    jac = {"jac": lambda x: np.array(gradient(x))} if optimizer.needs_gradient else {}
    with suppress(_Enough):
        optimizer.minimize(value, np.array(START), **jac)
    return [1000 * (b - a) for a, b in itertools.pairwise(marks)]


def early_and_late(found: list[float]) -> tuple[float, float]:
    """Medians."""
    return statistics.median(found[WINDOW : 2 * WINDOW]), statistics.median(found[-WINDOW:])


def main() -> None:
    print(
        f"| optimizer, {PARAMETERS} parameters | iterations | early, ms | late, ms | late ÷ early | SciPy's own |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for name in sys.argv[1:] or NAMES:
        found = times(name)
        early, late = early_and_late(found)
        own = early_and_late(scipy) if (scipy := alone(name, len(found))) else None
        beside = f"{own[0]:.3f}, {own[1]:.3f}" if own else ""
        print(
            f"| {name} | {len(found)} | {early:.3f} | {late:.3f} | {late / early:.2f} | {beside} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
