"""Whether what a worker needs is there: looked at from time to time, and remembered."""

from __future__ import annotations

import threading
from collections.abc import Callable

from varloop.errors import VarloopError

__all__ = ["Watch"]

INTERVAL = 5.0
"""seconds between two looks"""


class Watch:
    """A thread that looks until it is closed.

    :param looks: each raises VarloopError if something is wrong.
    """

    def __init__(self, *looks: Callable[[], object]) -> None:
        self.faults: list[str] = []
        """what was wrong at the last look"""
        self._looks = looks
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="varloop-watch", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Look now."""
        faults = []
        for look in self._looks:
            try:
                look()
            except VarloopError as error:
                faults.append(str(error))
        self.faults = faults

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(INTERVAL):
            self.look()
