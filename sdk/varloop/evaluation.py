"""What one iteration measured, as the optimizer sees it."""

from __future__ import annotations

import msgspec

__all__ = ["Evaluation"]


class Evaluation(msgspec.Struct, frozen=True):
    """The objective at the requested points, and its gradient at the first of them if it was asked for."""

    values: list[float]
    """without the offset, shape (n_points,)"""
    errors: list[float]
    """one standard error each, shape (n_points,); 0 when exact"""
    gradient: list[float] | None = None
    """at the first point, shape (n_parameters,), in the circuit's parameter order"""
    gradient_errors: list[float] | None = None
    """one standard error each, shape (n_parameters,); 0 when exact"""
    offset: float = 0.0
    """to be added to every value: the problem's constant, which no optimizer, difference or tolerance sees"""
