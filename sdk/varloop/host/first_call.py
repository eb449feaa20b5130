"""The first call of a function in a process: it imports what it needs, one thread at a time.

Packages of Qiskit import each other. Two threads that enter them from different ends hold what the other waits
for; Python then raises in one of them, and a run would fail for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

from varloop.app import Function

__all__ = ["FIRST_CALL", "alone_at_first"]

FIRST_CALL = threading.RLock()
"""held during every function's first call"""
PATIENCE = 20.0
"""seconds after which a first call no longer waits for another, which does more than import"""
_called: WeakSet[Function] = WeakSet()


@contextmanager
def alone_at_first(function: Function) -> Iterator[None]:
    """Surrounds a call: no function is called for the first time while another is, unless that one hangs."""
    if function in _called:
        yield
        return
    alone = FIRST_CALL.acquire(timeout=PATIENCE)
    try:
        yield
    finally:
        if alone:
            FIRST_CALL.release()
    _called.add(function)
