"""In a notebook a run shows how it goes, in place. Nothing is imported that is not there already."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from varloop.errors import VarloopError
from varloop.progress import Iteration
from varloop.runs import RunState
from varloop.support.clock import Clock

__all__ = ["Progress", "progress"]

PAUSE = 0.25
"""seconds between two drawings"""


def progress(run: str, whole: Callable[[], str], clock: Clock) -> Progress | None:
    """What shows a run under the cell that waits for it, or None outside of a notebook.

    :param whole: its card as the store has it.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if not hasattr(shell, "kernel"):
        return None
    return Progress(run, whole, clock, import_module("IPython.display").display)


class Progress:
    """A card of the run, drawn again now and then and when the waiting ends.

    :param display: IPython's.
    """

    def __init__(self, run: str, whole: Callable[[], str], clock: Clock, display: Any) -> None:
        self._run = run
        self._whole = whole
        self._clock = clock
        self._iterations: list[Iteration] = []
        self._drawn = clock.now()
        self._handle = display(_Drawn(whole()), display_id=True)

    def show(self, iteration: Iteration) -> None:
        """One more iteration is finished."""
        self._iterations.append(iteration)
        now = self._clock.now()
        if now - self._drawn < PAUSE:
            return
        self._drawn = now
        state = RunState(
            run=self._run,
            state="running",
            pipeline="",
            submitted=0.0,
            iterations=iteration.iteration + 1,
            value=iteration.value,
            error=iteration.error,
            shots=iteration.shots,
        )
        from varloop.report.card import card

        self._handle.update(_Drawn(card(state, self._iterations)))

    def close(self) -> None:
        """Show what became of it, unless the store is away."""
        with suppress(VarloopError):
            self._handle.update(_Drawn(self._whole()))


class _Drawn:
    """HTML for IPython."""

    def __init__(self, html: str) -> None:
        self._html = html

    def _repr_html_(self) -> str:
        return self._html
