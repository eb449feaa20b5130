"""A lock that is not waited for when it has been held for too long."""

from __future__ import annotations

import threading
import time

__all__ = ["Turn"]


class Turn:
    """A re-entrant lock with patience: who has it may hang, and must not hold up everybody else for ever."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._since: float | None = None

    def acquire(self, patience: float) -> bool:
        """Take it, if it is to be had within ``patience`` seconds of the time when it was taken last."""
        since, now = self._since, time.monotonic()
        left = patience if since is None else max(0.0, since + patience - now)
        taken = self._lock.acquire(timeout=left)
        if taken and self._since is None:
            self._since = time.monotonic()
        return taken

    def release(self) -> None:
        """Give it to the next one."""
        self._since = None
        self._lock.release()
