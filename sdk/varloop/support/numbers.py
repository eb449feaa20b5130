"""Numbers for people: pure functions from numbers to text."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta

__all__ = ["count", "duration", "fixed", "rounded", "share", "stamp", "with_error"]


def rounded(value: float, error: float) -> str:
    """A value, to the digits that its standard error leaves it; to six if it is exact."""
    if not _has_error(value, error):
        return fixed(value, 6) if value == 0 or abs(value) >= 1e-3 else f"{value:.6g}"
    return f"{value:.{_digits(error)}f}" if _readable(value, error) else f"{value:.6g}"


def with_error(value: float, error: float) -> str:
    """A value and its standard error, if it has one."""
    text = rounded(value, error)
    if not _has_error(value, error):
        return text
    return f"{text} ± {error:.{_digits(error)}f}" if _readable(value, error) else f"{text} ± {error:.2g}"


def fixed(value: float, digits: int) -> str:
    """A value with so many digits after the point, or a power of ten if it is large."""
    return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.{digits}g}"


def _has_error(value: float, error: float) -> bool:
    return math.isfinite(value) and math.isfinite(error) and error > 0


def _readable(value: float, error: float) -> bool:
    """Whether both can be read without a power of ten."""
    return abs(value) < 1e12 and 1e-12 < error < 1e12


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
    """A moment in local time; in UTC at the ends of the calendar, where the local time is beyond them."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time)
    with suppress(OverflowError, ValueError):
        moment = moment.astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"


def count(number: int, one: str, many: str = "") -> str:
    """A number of things."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
