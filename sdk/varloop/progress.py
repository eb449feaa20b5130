"""Progress: what a step reports of an iteration, for people to see.

Any step may report (:meth:`varloop.Context.progress`); what it remembers for itself stays its own.
"""

from __future__ import annotations

import msgspec

from varloop.events import Solution

__all__ = ["Iteration"]


class Iteration(msgspec.Struct, frozen=True, kw_only=True):
    """One finished iteration, as the step that finished it reports it."""

    iteration: int
    """index, from 0"""
    value: float
    """lowest value of its points"""
    error: float
    """standard error of value; 0 when exact"""
    lowest: float
    """lowest value so far. With shots it is biased: the lowest of many noisy values is lower than the objective"""
    shots: int = 0
    """used so far"""
    parameters: list[float] = []
    """where value was measured, shape (n_parameters,), in the circuit's parameter order; radians"""
    gradient: list[float] | None = None
    """at the first of its points, shape (n_parameters,), if it was measured"""
    gradient_errors: list[float] | None = None
    """one standard error each, shape (n_parameters,); 0 when exact"""
    solution: Solution | None = None
    """best assignment so far, for binary problems"""
    final: bool = False
    """not an iteration of its own: the final measurement"""
