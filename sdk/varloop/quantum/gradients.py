"""Gradients: which rows an iteration must run, and what they add up to.

Law: pure functions of numbers. The step that runs the rows and the step that reads the values each build the
same plan. Qiskit is never imported here: this runs in every iteration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from varloop.errors import CircuitError, SpecError
from varloop.evaluation import Evaluation
from varloop.quantum.angles import Angles
from varloop.quantum.problems import cvar_share
from varloop.spec import RunSpec

__all__ = ["MAX_SHIFTED", "STEP", "Plan", "choose", "combine", "plan"]

STEP = 0.1
"""radians, of finite differences and SPSA with shots: small against a gate's period, large against shot noise"""
FINE = 2.0**-17
"""radians, of the same in exact runs: near the cube root of the rounding, where that and the bias are 1e-10 both"""

MAX_SHIFTED = 1 << 26
"""numbers in the rows of a parameter-shift gradient: 512 MiB"""


@dataclass(frozen=True, eq=False)
class Plan:
    """The rows of one batch. The first ``n_points`` are the requested points, the others serve the gradient."""

    rows: NDArray[np.float64]
    """shape (n_rows, n_angles), radians"""
    n_points: int
    weights: NDArray[np.float64] | None
    """shape (n_parameters, n_rows): gradient = weights @ row values; None if none was asked for"""


def plan(
    angles: Angles, points: ArrayLike, gradient: str = "none", seed: int = 0, *, exact: bool = False
) -> Plan:
    """The rows to run for these points; the same arguments give the same plan, bit for bit.

    :param points: shape (n_points, n_parameters); the gradient is taken at the first.
    :param gradient: one of

        - none: only the points.
        - parameter-shift: exact for any number of appearances of a parameter; 2 or 4 rows per angle
          (formulas: :data:`varloop.quantum.angles.SHIFTS`).
        - finite-difference: central, 2 rows per parameter, relative bias about (m·step)²/6 for a parameter
          that appears m times.
        - spsa: one random direction of ±1, 2 rows in all; unbiased up to O(step²) only in the mean over
          directions (Spall, IEEE Trans. Autom. Control 37, 332 (1992)).
    :param seed: of the direction; only spsa uses it.
    :param exact: the rows' values will have no shot noise: the step is FINE, not STEP.
    :raises CircuitError: points of another shape, parameter-shift where an angle has no rule, or an angle that has
        no value or derivative where it is needed.
    """
    points = np.asarray(points, dtype=np.float64)
    base = angles.bind(points)
    if gradient == "none":
        return Plan(base, len(base), None)
    if not len(base):
        raise CircuitError(f"no point to take the {gradient} gradient at: expected at least one")
    if gradient == "parameter-shift":
        if not angles.shiftable:
            raise CircuitError(_unshiftable(angles))
        weights, shifted = angles.weights(points[0]), angles.shifted(base[0])
    else:
        steps, weights = _steps(gradient, points.shape[1], seed, FINE if exact else STEP)
        shifted = angles.bind(points[0] + steps)
    padded = np.zeros((weights.shape[0], len(base) + len(shifted)))
    padded[:, len(base) :] = weights
    return Plan(np.concatenate((base, shifted)), len(base), padded)


def combine(
    plan: Plan, values: ArrayLike, variances: ArrayLike, shared: NDArray[np.float64] | None = None
) -> Evaluation:
    """What the rows' values say about the points and the gradient.

    :param values: shape (n_rows,), in the order of the plan's rows.
    :param variances: shape (n_rows,), squared standard error of each value; 0 when exact. Rows are measured
        independently, so a weighted sum's variance is the sum of weight² · variance. The spread of SPSA's
        random directions is not part of its error.
    :param shared: shape (n_rows, n_causes): what one standard deviation of each cause of error that the rows have
        in common does to their values. It adds up with its sign: in a difference much of it cancels.
    :raises CircuitError: another number of rows, or one that is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    variances = np.asarray(variances, dtype=np.float64)
    expected = (len(plan.rows),)
    if values.shape != expected or variances.shape != expected:
        raise CircuitError(
            f"got values of shape {values.shape} and variances of shape {variances.shape}, "
            f"the batch has {len(plan.rows)} rows"
        )
    finite = np.isfinite(values) & np.isfinite(variances)
    if not finite.all():
        row = int(np.argmin(finite))
        raise CircuitError(
            f"row {row} has the value {values[row]} and the variance {variances[row]}: expected finite numbers"
        )
    shared = np.zeros((len(values), 0)) if shared is None else shared
    n = plan.n_points
    errors = np.sqrt(variances[:n] + (shared[:n] ** 2).sum(axis=1))
    if plan.weights is None:
        return Evaluation(values[:n].tolist(), errors.tolist())
    gradient = plan.weights @ values
    spread = np.sqrt(plan.weights**2 @ variances + ((plan.weights @ shared) ** 2).sum(axis=1))
    return Evaluation(values[:n].tolist(), errors.tolist(), gradient.tolist(), spread.tolist())


def choose(spec: RunSpec, needs_gradient: bool, angles: Angles) -> str:
    """How a run measures gradients: none if the optimizer needs none, else the spec's setting.

    "auto" is parameter-shift where that is exact, else finite-difference: every angle must have a rule, and the
    objective must be an expectation value, which a CVaR is not.

    :raises SpecError: the setting cannot serve this optimizer or this circuit.
    """
    if not needs_gradient:
        return "none"
    gradient = spec.gradient
    if gradient == "none":
        raise SpecError(["gradient: none, but the optimizer needs one; expected auto"])
    if gradient == "auto":
        exact = angles.shiftable and cvar_share(spec.problem) == 1.0
        gradient = "parameter-shift" if exact else "finite-difference"
    if gradient == "parameter-shift":
        if not angles.shiftable:
            raise SpecError([f"gradient: {_unshiftable(angles)}"])
        rows, columns = angles.n_shifts, len(angles.rules)
        if rows * columns > MAX_SHIFTED:
            raise SpecError(
                [
                    f"gradient: parameter-shift needs {rows} rows of {columns} angles each, more than "
                    f"{MAX_SHIFTED} numbers; expected finite-difference or spsa"
                ]
            )
    return gradient


def _steps(
    gradient: str, n_parameters: int, seed: int, step: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps (n_steps, n_parameters) from the point, and weights (n_parameters, n_steps) of the values."""
    if gradient == "finite-difference":
        directions: NDArray[np.float64] = np.eye(n_parameters)
    elif gradient == "spsa":
        signs = np.random.default_rng(seed).integers(0, 2, (1, n_parameters))
        directions = np.asarray(2.0 * signs - 1.0, dtype=np.float64)
    else:
        raise CircuitError(
            f"unknown gradient {gradient!r}: expected none, parameter-shift, finite-difference or spsa"
        )
    both = np.concatenate((directions, -directions))
    return step * both, np.divide(both.T, 2 * step)


def _unshiftable(angles: Angles) -> str:
    count = angles.rules.count("none")
    return (
        f"parameter-shift needs a shift rule for every angle; {count} of {len(angles.rules)} have none "
        "(a parameter in an expression without a derivative, or in an opaque gate): expected auto, "
        "finite-difference or spsa"
    )
