"""Replay: any deterministic minimizer as ask and tell, with plain-data state.

The minimizer is run from its start on the values recorded so far, up to the first point that has none: that is the next
point to measure. There it is suspended, in a thread of its own that waits, and goes on when the value comes. So work per
iteration does not grow. A process that does not have the call, because it was started later or had too many others, runs
the minimizer from its start once: the same values lead it to the same points, bit for bit.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Hashable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from varloop.errors import PermanentError
from varloop.evaluation import Evaluation
from varloop.optimizers import checks
from varloop.optimizers.protocol import Ask, State

__all__ = ["UNLIMITED", "Minimize", "Replay", "release"]

UNLIMITED = 10**9
"""evaluations that a minimizer may make: the run's budget limits them. Fits the 32-bit counters of older SciPy."""

Minimize = Callable[..., Any]
"""``minimize(fun, x0)``, or ``minimize(fun, x0, jac=jac)``: returns x, or a result that has it as ``.x``"""
Floats = NDArray[np.float64]


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
    :param key: equal for minimizers that do the same, such as its options: a suspended call is kept for them. By default
        none is kept, and the minimizer is run from its start in each iteration.
    """

    def __init__(
        self, minimize: Minimize, gradient: bool = False, *, name: str = "replay", key: Hashable = None
    ) -> None:
        self.name = name
        self.needs_gradient = gradient
        self.minimize = minimize
        self._key = key

    def start(self, x0: list[float]) -> State:
        x = checks.first(x0)
        state = {"iteration": 0, "x0": x, "best": x, "lowest": None, "chain": _digest(np.array(x)).hex()}
        return self._followed({**state, "digests": "", "values": "", "gradients": ""}, None)

    def ask(self, state: State) -> Ask | None:
        return None if state["next"] is None else Ask([list(state["next"])], self.needs_gradient)

    def tell(self, state: State, evaluation: Evaluation) -> State:
        point = state["next"]
        (value,) = checks.values(state, evaluation, 0 if point is None else 1)
        gradient = checks.gradient(state, evaluation, len(point)) if self.needs_gradient else []
        lower = state["lowest"] is None or value < state["lowest"]
        digest, numbers = _digest(np.array(point)), np.array([value, *gradient])
        told = {
            "iteration": state["iteration"] + 1,
            "x0": state["x0"],
            "best": point if lower else state["best"],
            "lowest": value if lower else state["lowest"],
            "chain": _digest(numbers, bytes.fromhex(state["chain"]) + digest).hex(),
            "digests": _longer(state["digests"], digest),
            "values": _longer(state["values"], _bytes(numbers[:1])),
            "gradients": _longer(state["gradients"], _bytes(numbers[1:])),
        }
        call = _suspended.take((self.name, self._key, state["chain"])) if self._key is not None else None
        if call is not None:
            call.answer(value, numbers[1:])
        return self._followed(told, call)

    def best(self, state: State) -> list[float]:
        return list(state["best"])

    def _followed(self, state: State, call: _Call | None) -> State:
        """The state with what the minimizer wants next, or with its result.

        :param call: the minimizer where it stands; None runs it from its start.
        """
        call = call or self._replayed(state)
        point = call.point
        if point is None:
            return {**state, "next": None, "best": call.end(state)}
        if not _is_point(point, state):
            call.close()
            raise _fault(state, f"the minimizer asked for what is no point: {call.asked!r:.200}")
        if self._key is None:
            call.close()
        else:
            _suspended.keep((self.name, self._key, state["chain"]), call)
        return {**state, "next": point.tolist()}

    def _replayed(self, state: State) -> _Call:
        """The minimizer after the recorded values."""
        count, size = state["iteration"], len(state["x0"])
        digests, values = b64decode(state["digests"]), _numbers(state["values"])
        gradients = _numbers(state["gradients"]).reshape(count, size if self.needs_gradient else 0)
        call = _Call(self.minimize, state["x0"], self.needs_gradient)
        for at in range(count):
            if call.point is None:
                call.check(state)
                raise _strayed(state, f"returned after {at} of the recorded {count} evaluations")
            if _digest(call.point) != digests[at * DIGEST : (at + 1) * DIGEST]:
                call.close()
                raise _strayed(state, f"is at another point than recorded in its evaluation {at}")
            call.answer(float(values[at]), gradients[at])
        return call


class _Stop(BaseException):
    """Leaves a minimizer; no Exception, as minimizers may catch those."""


class _Call:
    """A minimizer under way: it waits in its own thread wherever it asks for a value that is not known."""

    def __init__(self, minimize: Minimize, x0: list[float], gradient: bool) -> None:
        self.point: Floats | None = None
        """where it waits for a value; None once it has returned or failed"""
        self.asked: ArrayLike = x0
        """the same as the minimizer gave it"""
        self._result: Any = None
        self._error: Exception | None = None
        self._closed = False
        self._seen: dict[bytes, tuple[float, Floats]] = {}
        self._turns: SimpleQueue[None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[float, Floats] | None] = SimpleQueue()
        jac = {"jac": self._jac} if gradient else {}
        self._thread = Thread(
            target=self._run, args=(minimize, np.array(x0), jac), name="varloop-minimizer", daemon=True
        )
        self._thread.start()
        self._turns.get()

    def answer(self, value: float, gradient: Floats) -> None:
        """The value where it waits; returns when it waits again or has ended."""
        self._answers.put((value, gradient))
        self._turns.get()

    def check(self, state: State) -> None:
        """Whether it has returned.

        :raises PermanentError: if it has failed.
        """
        self._thread.join()
        if self._error is not None:
            raise _fault(state, f"the minimizer failed: {self._error!r}") from self._error

    def end(self, state: State) -> list[float]:
        """The point it has returned.

        :raises PermanentError: if it has failed, or returned none.
        """
        self.check(state)
        try:
            x = np.asarray(getattr(self._result, "x", self._result), dtype=float)
        except (TypeError, ValueError):
            x = np.empty(0)
        if not _is_point(x, state):
            raise _fault(state, f"the minimizer's result is no point: {self._result!r:.200}")
        return [float(value) for value in x]

    def close(self) -> None:
        """Leave the minimizer where it is."""
        self._closed = True
        self._answers.put(None)
        self._thread.join()

    def _run(self, minimize: Minimize, x0: Floats, jac: dict[str, Any]) -> None:
        try:
            self._result = minimize(self._fun, x0, **jac)
        except _Stop:
            pass
        except Exception as error:
            self._error = error
        self.point = None
        self._turns.put(None)

    def _fun(self, x: ArrayLike) -> float:
        return self._known(x)[0]

    def _jac(self, x: ArrayLike) -> Floats:
        return self._known(x)[1].copy()

    def _known(self, x: ArrayLike) -> tuple[float, Floats]:
        """What was measured at x; waits for it."""
        point = np.array(x, dtype=float)
        digest = _digest(point)
        if digest not in self._seen:
            if not self._closed:
                self.point, self.asked = point, x
                self._turns.put(None)
            answer = None if self._closed else self._answers.get()
            if answer is None:
                raise _Stop
            self._seen[digest] = answer
        return self._seen[digest]


class _Suspended:
    """Calls that wait for their next value, the latest of this process."""

    CAPACITY = 32

    def __init__(self) -> None:
        self._calls: dict[Hashable, _Call] = {}
        self._lock = Lock()

    def take(self, key: Hashable) -> _Call | None:
        """The call that waits under this key, which is the caller's from now on."""
        with self._lock:
            return self._calls.pop(key, None)

    def keep(self, key: Hashable, call: _Call) -> None:
        """Let a call wait; the one that has waited longest makes room for it."""
        with self._lock:
            over = [self._calls.pop(key)] if key in self._calls else []
            self._calls[key] = call
            while len(self._calls) > self.CAPACITY:
                over.append(self._calls.pop(next(iter(self._calls))))
        for each in over:
            each.close()

    def release(self) -> None:
        """End all calls that wait."""
        with self._lock:
            calls, self._calls = list(self._calls.values()), {}
        for call in calls:
            call.close()

    def forget(self) -> None:
        """In a forked child, where no thread of the parent lives."""
        self._calls, self._lock = {}, Lock()


_suspended = _Suspended()
os.register_at_fork(after_in_child=_suspended.forget)


def release() -> None:
    """End the calls of minimizers that wait in this process; they are run anew when they are needed."""
    _suspended.release()


DIGEST = 8
"""bytes of a point's digest"""


def _digest(numbers: Floats, before: bytes = b"") -> bytes:
    """Digest of numbers' bits, after some bytes."""
    return hashlib.blake2b(before + _bytes(numbers), digest_size=DIGEST).digest()


def _bytes(numbers: Floats) -> bytes:
    return numbers.astype("<f8").tobytes()


def _numbers(text: str) -> Floats:
    """Numbers from the base64 of their bits: a state that grows with each iteration has to be read and written fast."""
    return np.frombuffer(b64decode(text), dtype="<f8").astype(np.float64)


def _longer(text: str, more: bytes) -> str:
    """Base64 with some bytes more."""
    whole = len(text) // 4 * 4 - (4 if text.endswith("=") else 0)
    return text[:whole] + b64encode(b64decode(text[whole:]) + more).decode()


def _is_point(x: Floats, state: State) -> bool:
    return x.shape == (len(state["x0"]),) and bool(np.isfinite(x).all())


def _fault(state: State, what: str, hint: str = "") -> PermanentError:
    return PermanentError(f"iteration {state['iteration']}: {what}", hint=hint)


def _strayed(state: State, what: str) -> PermanentError:
    return _fault(
        state,
        f"the minimizer is not deterministic: on replay it {what}",
        "seed its random numbers, and let it read no clock",
    )
