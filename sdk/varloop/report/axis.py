"""Scales: from numbers to places on paper, and the round numbers to write beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Gap", "Linear", "Log", "Time", "decimals", "ticks"]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers from ``low`` to ``high``."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * scale for factor in (1, 2, 2.5, 5, 10) if factor * scale >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def decimals(values: Sequence[float]) -> int:
    """Digits after the point that tell neighbours apart."""
    if len(values) < 2:
        return 4
    step = min(b - a for a, b in pairwise(values))
    return max(0, -math.floor(math.log10(step) + 1e-9) + (f"{step:.1e}"[:3] == "2.5"))


@dataclass(frozen=True)
class Linear:
    """``low`` … ``high`` to ``start`` … ``stop``."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.stop - self.start)


@dataclass(frozen=True)
class Log:
    """Powers of ten to places; what is not above ``low`` stands at ``low``."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        inner = Linear(math.log10(self.low), math.log10(self.high), self.start, self.stop)
        return inner(math.log10(max(value, self.low)))

    def powers(self, count: int = 6) -> list[float]:
        """At most ``count`` powers of ten inside."""
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        step = max(1, math.ceil((last - first + 1) / count))
        return [10.0**power for power in range(first, last + 1, step)]


@dataclass(frozen=True)
class Gap:
    """A time in which nothing ran, drawn shorter than it was."""

    begin: float
    end: float


class Time:
    """Times to places, with long gaps cut short.

    :param spans: (begin, end) of everything that ran.
    :param gap: a pause longer than this many seconds is cut.
    :param cut: width of a cut, less if there are many.
    """

    def __init__(
        self, spans: Iterable[tuple[float, float]], start: float, stop: float, gap: float, cut: float
    ) -> None:
        self.parts = _merged(sorted(spans), gap)
        self.gaps = [Gap(a[1], b[0]) for a, b in pairwise(self.parts)]
        ran = max(sum(end - begin for begin, end in self.parts), 1e-9)
        self.cut = min(cut, (stop - start) / 2 / max(len(self.gaps), 1))
        scale = (stop - start - self.cut * len(self.gaps)) / ran
        self._pieces: list[tuple[float, float, Callable[[float], float]]] = []
        place = start
        for begin, end in self.parts:
            width = (end - begin) * scale
            self._pieces.append((begin, end, Linear(begin, end, place, place + width)))
            place += width + self.cut

    def __call__(self, time: float) -> float:
        """The place of a time; inside a gap, its beginning."""
        place = self._pieces[0][2](self._pieces[0][0])
        for begin, end, scale in self._pieces:
            if time < begin:
                break
            place = scale(min(time, end))
        return place


def _merged(spans: list[tuple[float, float]], gap: float) -> list[tuple[float, float]]:
    """Spans with those joined between which there is no gap."""
    merged: list[tuple[float, float]] = []
    for begin, end in spans:
        if merged and begin - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged
