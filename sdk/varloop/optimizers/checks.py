"""What enters an optimizer must fit its ask and be finite, and so must what it makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

from varloop.errors import PermanentError
from varloop.evaluation import Evaluation
from varloop.optimizers.protocol import State

__all__ = ["finite", "first", "gradient", "values"]


def first(x0: list[float]) -> list[float]:
    """The first parameters as plain floats.

    :raises PermanentError: if there are none or one is not finite.
    """
    if len(x0) == 0:
        raise PermanentError("there are no parameters to optimise", hint="the circuit must have at least one")
    x = [float(value) for value in x0]
    for k, value in enumerate(x):
        if not isfinite(value):
            raise PermanentError(f"initial[{k}] is {value}", hint="every first parameter must be finite")
    return x


def values(state: State, evaluation: Evaluation, points: int) -> list[float]:
    """The measured values, one per point, as plain floats.

    :param points: how many were asked for; 0 if nothing was.
    :raises PermanentError: if the evaluation has another shape or is not finite.
    """
    iteration = state["iteration"]
    if not points:
        raise PermanentError(f"iteration {iteration}: an evaluation came, but nothing was asked")
    _sized(iteration, "values", len(evaluation.values), points)
    _sized(iteration, "errors", len(evaluation.errors), points)
    for name in ("values", "errors", "gradient", "gradient_errors"):
        for k, value in enumerate(getattr(evaluation, name) or ()):
            if not isfinite(value):
                raise PermanentError(
                    f"iteration {iteration}: {name}[{k}] is {value}",
                    hint="an objective must be finite everywhere; look at the observable and the backend",
                )
    return [float(value) for value in evaluation.values]


def gradient(state: State, evaluation: Evaluation, parameters: int) -> list[float]:
    """The measured gradient as plain floats, shape (parameters,).

    :raises PermanentError: if there is none or it has another shape.
    """
    iteration = state["iteration"]
    if evaluation.gradient is None:
        raise PermanentError(
            f"iteration {iteration}: no gradient was measured",
            hint="this optimizer needs one; set gradient to auto, or use an optimizer that needs none",
        )
    _sized(iteration, "gradient", len(evaluation.gradient), parameters)
    return [float(value) for value in evaluation.gradient]


def finite(state: State, *numbers: Iterable[float]) -> None:
    """Refuse a step that left the range of numbers.

    :param state: the one before the step.
    :raises PermanentError: if a number is infinite or not a number.
    """
    if not all(all(map(isfinite, part)) for part in numbers):
        raise PermanentError(
            f"iteration {state['iteration']}: the optimizer's step is not finite",
            hint="the steps grow without bound; choose a smaller learning rate",
        )


def _sized(iteration: int, name: str, got: int, expected: int) -> None:
    if got != expected:
        raise PermanentError(f"iteration {iteration}: got {got} {name}, expected {expected}")
