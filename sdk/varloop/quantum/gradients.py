"""Gradients: which rows an iteration must run, and what they add up to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from varloop.evaluation import Evaluation
from varloop.quantum.angles import Angles

__all__ = ["Plan", "choose", "combine", "plan"]


@dataclass(frozen=True, eq=False)
class Plan:
    """The rows of one batch. The first ``n_points`` are the requested points."""

    rows: NDArray[np.float64]
    """shape (n_rows, n_angles), radians"""
    n_points: int
    weights: NDArray[np.float64] | None
    """shape (n_parameters, n_rows): gradient = weights @ row values; None if none was asked for"""


def plan(angles: Angles, points: ArrayLike, gradient: str = "none", seed: int = 0) -> Plan:
    """The rows to run for these points; the same arguments give the same rows, bit for bit."""
    raise NotImplementedError


def combine(plan: Plan, values: ArrayLike, variances: ArrayLike) -> Evaluation:
    """Row values and their variances, both (n_rows,), to values, gradient and their standard errors."""
    raise NotImplementedError


def choose(gradient: str, needs_gradient: bool, angles: Angles) -> str:
    """The gradient of a run: the spec's setting with "auto" resolved; "none" if the optimizer needs none."""
    raise NotImplementedError
