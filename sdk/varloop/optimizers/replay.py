"""Replay: any deterministic minimizer as ask and tell, with neither threads nor pickles.

The minimizer is run from its start on the values recorded so far, and stopped at the first point that has
none: that is the next point to measure. Work per iteration grows with the number of recorded values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from varloop.errors import PermanentError
from varloop.evaluation import Evaluation
from varloop.optimizers import checks
from varloop.optimizers.protocol import Ask, State

__all__ = ["UNLIMITED", "Minimize", "Replay"]

UNLIMITED = 10**9
"""evaluations that a minimizer may make: the run's budget limits them. Fits the 32-bit counters of older SciPy."""

Minimize = Callable[..., Any]
"""``minimize(fun, x0)``, or ``minimize(fun, x0, jac=jac)``: returns x, or a result that has it as ``.x``"""


class Replay:
    """An optimizer made of a minimizer, such as ``functools.partial(scipy.optimize.minimize, method="Powell")``.

    The minimizer must be deterministic: the same values must lead it to the same points, in every process
    (seed its random numbers, read no clock). Each point's digest is kept, so that a minimizer that strays is
    caught. A point that it asks for again is answered from the record, without another measurement.

    Recommends the minimizer's own result once it has returned, and the lowest measured point until then.

    :param minimize: called as ``minimize(fun, x0)``, with ``jac=`` added if ``gradient``. ``x0`` is an array
        of shape (n_parameters,); ``fun(x)`` gives a float, ``jac(x)`` an array of that shape.
    :param gradient: measure the gradient with each value.
    :param name: what to call it.
    """

    def __init__(self, minimize: Minimize, gradient: bool = False, *, name: str = "replay") -> None:
        self.name = name
        self.needs_gradient = gradient
        self._minimize = minimize

    def start(self, x0: list[float]) -> State:
        x = checks.first(x0)
        state = {"iteration": 0, "x0": x, "digests": [], "values": [], "best": x, "lowest": None}
        if self.needs_gradient:
            state["gradients"] = []
        return self._replayed(state)

    def ask(self, state: State) -> Ask | None:
        return None if state["next"] is None else Ask([list(state["next"])], self.needs_gradient)

    def tell(self, state: State, evaluation: Evaluation) -> State:
        point = state["next"]
        (value,) = checks.values(state, evaluation, 0 if point is None else 1)
        lower = state["lowest"] is None or value < state["lowest"]
        told = {
            "iteration": state["iteration"] + 1,
            "x0": state["x0"],
            "digests": [*state["digests"], _digest(np.array(point))],
            "values": [*state["values"], value],
            "best": point if lower else state["best"],
            "lowest": value if lower else state["lowest"],
        }
        if self.needs_gradient:
            told["gradients"] = [*state["gradients"], checks.gradient(state, evaluation, len(point))]
        return self._replayed(told)

    def best(self, state: State) -> list[float]:
        return list(state["best"])

    def _replayed(self, state: State) -> State:
        """The state with what the minimizer wants next, or with its result."""
        tape = _Tape(state)
        jac = {"jac": tape.jac} if self.needs_gradient else {}
        result = None
        try:
            result = self._minimize(tape.fun, np.array(state["x0"]), **jac)
        except _Stop:
            pass
        except Exception as error:
            if not tape.stopped:
                raise PermanentError(tape.text(f"the minimizer failed: {error!r}")) from error
        if tape.stopped:  # it counts even if the minimizer swallowed the exception that said so
            return {**state, "next": tape.end()}
        return {**state, "next": None, "best": tape.result(result)}


class _Stop(BaseException):
    """Leaves a minimizer; no Exception, as minimizers may catch those."""


class _Tape:
    """The recorded values, given back in the order in which they were asked for."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._seen: dict[str, int] = {}
        self._next: list[float] | None = None
        self._fault: PermanentError | None = None

    def fun(self, x: ArrayLike) -> float:
        value: float = self._state["values"][self._index(x)]
        return value

    def jac(self, x: ArrayLike) -> NDArray[np.float64]:
        return np.array(self._state["gradients"][self._index(x)])

    @property
    def stopped(self) -> bool:
        return self._next is not None or self._fault is not None

    def end(self) -> list[float] | None:
        """The point that has no value yet."""
        if self._fault is not None:
            raise self._fault
        return self._next

    def result(self, result: Any) -> list[float]:
        """The minimizer's result, which must have used every recorded value."""
        used, recorded = len(self._seen), len(self._state["digests"])
        if used < recorded:
            raise self._strayed(f"returned after {used} of the recorded {recorded} evaluations")
        try:
            x = np.asarray(getattr(result, "x", result), dtype=float)
        except (TypeError, ValueError):
            x = np.empty(0)
        if not self._is_point(x):
            raise PermanentError(self.text(f"the minimizer's result is no point: {result!r:.200}"))
        return [float(value) for value in x]

    def text(self, what: str) -> str:
        return f"iteration {self._state['iteration']}: {what}"

    def _index(self, x: ArrayLike) -> int:
        """Where x is recorded; stops the minimizer if it is not."""
        if self.stopped:
            raise _Stop
        point = np.array(x, dtype=float)
        key, at, recorded = _digest(point), len(self._seen), self._state["digests"]
        if key in self._seen:
            return self._seen[key]
        if not self._is_point(point):
            self._fault = PermanentError(self.text(f"the minimizer asked for what is no point: {x!r:.200}"))
        elif at == len(recorded):
            self._next = point.tolist()
        elif recorded[at] != key:
            self._fault = self._strayed(f"is at another point than recorded in its evaluation {at}")
        else:
            self._seen[key] = at
            return at
        raise _Stop

    def _is_point(self, x: NDArray[np.float64]) -> bool:
        return x.shape == (len(self._state["x0"]),) and bool(np.isfinite(x).all())

    def _strayed(self, what: str) -> PermanentError:
        return PermanentError(
            self.text(f"the minimizer is not deterministic: on replay it {what}"),
            hint="seed its random numbers, and let it read no clock",
        )


def _digest(point: NDArray[np.float64]) -> str:
    """Digest of a point's bits, 16 hexadecimal digits."""
    return hashlib.blake2b(point.astype("<f8").tobytes(), digest_size=8).hexdigest()
