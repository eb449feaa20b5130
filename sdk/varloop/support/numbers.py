"""Numbers for people: pure functions from numbers to text."""

from __future__ import annotations

import math
from datetime import datetime

__all__ = ["count", "duration", "rounded", "share", "stamp", "with_error"]


def rounded(value: float, error: float) -> str:
    """A value, to the digits that its standard error leaves it; to six if it is exact."""
    if not math.isfinite(value):
        return str(value)
    if error > 0 and math.isfinite(error):
        return f"{value:.{_digits(error)}f}"
    return f"{value:.6f}" if 1e-3 <= abs(value) < 1e6 or value == 0 else f"{value:.6g}"


def with_error(value: float, error: float) -> str:
    """A value and its standard error, if it has one."""
    if error > 0 and math.isfinite(error) and math.isfinite(value):
        return f"{rounded(value, error)} ± {error:.{_digits(error)}f}"
    return rounded(value, error)


def _digits(error: float) -> int:
    """Digits after the point for an error of two significant ones."""
    return max(0, 1 - math.floor(math.log10(error)))


def duration(seconds: float) -> str:
    """A duration in the unit it is told in."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} μs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def share(probability: float) -> str:
    """A probability in percent."""
    return f"{100 * probability:.3g} %"


def stamp(time: float) -> str:
    """A moment in local time."""
    return datetime.fromtimestamp(time).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def count(number: int, one: str, many: str = "") -> str:
    """A number of things."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
