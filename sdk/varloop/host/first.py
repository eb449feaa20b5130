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
_called: WeakSet[Function] = WeakSet()


@contextmanager
def alone_at_first(function: Function) -> Iterator[None]:
    """Surrounds a call: no function is called for the first time while another is."""
    if function in _called:
        yield
        return
    with FIRST_CALL:
        yield
    _called.add(function)
