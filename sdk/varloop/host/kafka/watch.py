"""Whether what a worker needs is there: asked from time to time, and remembered."""

from __future__ import annotations

import threading
from collections.abc import Callable

from varloop.errors import VarloopError

__all__ = ["Watch"]

INTERVAL = 5.0
"""seconds between two rounds of checks"""


class Watch:
    """A thread that checks until it is closed.

    :param checks: each raises VarloopError if something is wrong.
    """

    def __init__(self, *checks: Callable[[], object]) -> None:
        self.faults: list[str] = []
        """what was wrong in the last round"""
        self._checks = checks
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="varloop-watch", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Check now."""
        faults = []
        for check in self._checks:
            try:
                check()
            except VarloopError as error:
                faults.append(str(error))
        self.faults = faults

    def close(self) -> None:
        """Check no more."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(INTERVAL):
            self.check()
