"""How the command line writes iterations and solutions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from varloop.events import Solution
from varloop.runs import Iteration
from varloop.support.numbers import rounded, share, with_error

__all__ = ["ago", "line", "solution", "sparkline", "step"]

BARS = "▁▂▃▄▅▆▇█"


def line(it: Iteration) -> str:
    """One finished iteration."""
    shots = f"  shots {it.shots:,}" if it.shots else ""
    lowest = rounded(it.lowest, it.error)
    head = "final point   " if it.final else f"iteration {it.iteration + 1:4}"
    return f"{head}  value {with_error(it.value, it.error)}  lowest {lowest}{shots}"


def sparkline(values: Sequence[float], width: int) -> str:
    """At most ``width`` bars, the latest value last; the lowest value is the lowest bar."""
    count = len(values)
    if count > width:
        values = [values[(k + 1) * count // width - 1] for k in range(width)]
    values = [value for value in values if math.isfinite(value)]
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in values)


def step(total: int, lines: int = 25) -> int:
    """Every how many iterations to print a line, so that there are about ``lines``: 1, 2, 5, 10, …"""
    scale = 1
    while True:
        for factor in (1, 2, 5):
            if total <= factor * scale * lines:
                return factor * scale
        scale *= 10


def ago(seconds: float) -> str:
    """How long ago, roughly."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def solution(found: Solution) -> str:
    """An assignment with its quality and its bit order."""
    return f"{found.bits} (variable 0 first)  cost {found.cost:g}, {share(found.probability)} of the samples"
