"""What every optimizer is: pure functions from plain data to plain data."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from varloop.evaluation import Evaluation

__all__ = ["Ask", "Optimizer", "State"]

State = dict[str, Any]
"""Plain JSON data. Floats survive JSON bit for bit; ``iteration`` counts the evaluations told so far."""


class Ask(msgspec.Struct, frozen=True):
    """What an optimizer wants measured next, in one batch."""

    points: list[list[float]]
    """shape (n_points, n_parameters), radians"""
    gradient: bool
    """also the gradient at ``points[0]``"""
    calibrates: bool = False
    """once, and with more points than any later one, to choose what its options leave open"""


class Optimizer(Protocol):
    """Minimises by ask and tell. All it remembers is in the state, so any process can go on with a run.

    Every method is a pure function of its arguments, the options and the seed: asking twice gives the same
    points in any process, and telling leaves the old state as it was.
    """

    name: str
    needs_gradient: bool
    """whether its asks want a gradient"""

    def start(self, x0: list[float]) -> State:
        """The state before the first ask.

        :param x0: first parameters, shape (n_parameters,), radians.
        :raises PermanentError: if it is empty or not finite.
        """
        ...

    def ask(self, state: State) -> Ask | None:
        """What to measure next, or None once there is nothing left to do."""
        ...

    def tell(self, state: State, evaluation: Evaluation) -> State:
        """The state after what was asked has been measured.

        :raises PermanentError: if the evaluation does not fit the ask or is not finite, if nothing was
            asked, or if the step leaves the range of numbers; the text names the iteration.
        """
        ...

    def best(self, state: State) -> list[float]:
        """The parameters to recommend now, shape (n_parameters,). They need not have been measured."""
        ...
