"""SPSA: descends along random directions, from two values per step whatever the number of parameters.

J. C. Spall, *Implementation of the Simultaneous Perturbation Algorithm for Stochastic Optimization*,
IEEE Transactions on Aerospace and Electronic Systems 34 (1998) 817. With Δ drawn from {−1, +1}ⁿ:

    c_k = perturbation / (k + 1)^gamma          a_k = gain / (stability + k + 1)^alpha
    d = (f(x + c_k·Δ) − f(x − c_k·Δ)) / (2·c_k)           x ← x − a_k·d·Δ
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import msgspec
import numpy as np

from varloop.evaluation import Evaluation
from varloop.optimizers import checks
from varloop.optimizers import options as _options
from varloop.optimizers.protocol import Ask, State

__all__ = ["Options", "Spsa", "create"]

Directions = tuple[tuple[float, ...], ...]
Exponent = Annotated[float, msgspec.Meta(ge=0, le=1)]

STREAM = 0x73707361
"""names SPSA's own random numbers among all that derive from a run's seed ("spsa" in ASCII)"""
FLAT = 1e-12
"""differences below this share of the values are rounding: they say nothing about the slope"""


class Options(_options.Options, frozen=True):
    """Options of SPSA. The defaults need no tuning for angles within some hundred iterations."""

    learning_rate: _options.Positive | None = None
    """Spall's a, radians² per unit of the objective. Not set by default: the first iteration measures
    the slope and chooses it, as the right one depends on the objective's scale."""
    first_step: _options.Positive = 0.2
    """radians that a single pair would have moved each parameter by in the first step, which chooses the
    learning rate if that is not set. Larger than 0.4 overshoots beyond some twenty parameters."""
    calibration: _options.Repeats = 25
    """pairs of the first iteration if the learning rate is not set. All are in one batch, and their mean is
    also the first step. 25 know the slope's size to some 15 %."""
    perturbation: _options.Positive = 0.2
    """Spall's c, radians. He advises about the noise of a value; 0.2 is six times that of a thousand shots
    of a Pauli, and keeps the bias of a cosine's slope below 1 %."""
    stability: _options.NotNegative = 10.0
    """Spall's A, iterations: damps the early steps. He advises a tenth of all iterations (here 100)."""
    alpha: Exponent = 0.602
    """decay of the steps; Spall's practical value (1 is optimal for endless runs only)"""
    gamma: Exponent = 0.101
    """decay of the perturbation; Spall's practical value"""
    resamplings: _options.Repeats = 1
    """pairs averaged per step, all in one batch; more help where a job costs more than its shots"""


class Spsa:
    """Measures pairs (x + cΔ, x − cΔ) in this order; recommends x, which itself is never measured."""

    name = "spsa"
    needs_gradient = False

    def __init__(self, options: Options, seed: int) -> None:
        self._options = options
        self._seed = seed

    def start(self, x0: list[float]) -> State:
        return {"iteration": 0, "x": checks.first(x0), "gain": self._options.learning_rate}

    def ask(self, state: State) -> Ask:
        x, c = state["x"], self._perturbation(state)
        points = []
        for signs in self._directions(state):
            points.append([xi + c * s for xi, s in zip(x, signs, strict=True)])
            points.append([xi - c * s for xi, s in zip(x, signs, strict=True)])
        return Ask(points, False, calibrates=state["gain"] is None)

    def tell(self, state: State, evaluation: Evaluation) -> State:
        options, k, x = self._options, state["iteration"], state["x"]
        directions, scale = self._directions(state), 2 * self._perturbation(state)
        values = checks.values(state, evaluation, 2 * len(directions))
        slopes = [(up - down) / scale for up, down in zip(values[::2], values[1::2], strict=True)]
        gain = state["gain"]
        if gain is None:
            gain = (
                options.first_step * (options.stability + 1) ** options.alpha / _size(slopes, values, scale)
            )
        step = gain / (options.stability + k + 1) ** options.alpha / len(slopes)
        for slope, signs in zip(slopes, directions, strict=True):
            x = [xi - step * slope * s for xi, s in zip(x, signs, strict=True)]
        checks.finite(state, x, [gain])
        return {"iteration": k + 1, "x": x, "gain": gain}

    def best(self, state: State) -> list[float]:
        return list(state["x"])

    def _perturbation(self, state: State) -> float:
        return float(self._options.perturbation / (state["iteration"] + 1) ** self._options.gamma)

    def _directions(self, state: State) -> Directions:
        pairs = self._options.calibration if state["gain"] is None else self._options.resamplings
        return _directions(self._seed, state["iteration"], pairs, len(state["x"]))


@lru_cache(maxsize=16)  # ask and tell of an iteration are often in the same process
def _directions(seed: int, iteration: int, pairs: int, parameters: int) -> Directions:
    """Δ of each pair, entries ±1, from the raw bits of PCG64: a stream that NumPy keeps for good."""
    count = pairs * parameters
    seeds = np.random.SeedSequence(seed, spawn_key=(STREAM, iteration))
    words = np.random.PCG64(seeds).random_raw(-(-count // 64))
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), count=count, bitorder="little")
    return tuple(map(tuple, (2.0 * bits - 1.0).reshape(pairs, parameters).tolist()))


def _size(slopes: list[float], values: list[float], scale: float) -> float:
    """Mean absolute slope, or 1 where the objective is flat but for rounding."""
    size = sum(map(abs, slopes)) / len(slopes)
    return size if size * scale > FLAT * max(map(abs, values)) else 1.0


def create(options: Options, seed: int) -> Spsa:
    """SPSA with directions of its own for each seed and iteration."""
    return Spsa(options, seed)
