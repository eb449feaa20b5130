"""The first call of a function in a process: it imports what it needs, one thread at a time.

Packages of Qiskit import each other. Two threads that enter them from different ends hold what the other waits
for; Python then raises in one of them, and a run would fail for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

from varloop.app import Function

__all__ = ["FIRST_CALL", "alone_at_first"]


class _Turn:
    """A lock that is not waited for when it has been held for too long."""

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
        self._since = None
        self._lock.release()


FIRST_CALL = _Turn()
"""held during every function's first call"""
_called: WeakSet[Function] = WeakSet()


@contextmanager
def alone_at_first(function: Function, patience: float) -> Iterator[None]:
    """Surrounds a call: no function is called for the first time while another is.

    :param patience: seconds after whose beginning a first call is not waited for any longer: it does more than import.
    """
    if function in _called:
        yield
        return
    alone = FIRST_CALL.acquire(patience)
    try:
        yield
    finally:
        if alone:
            FIRST_CALL.release()
    _called.add(function)
