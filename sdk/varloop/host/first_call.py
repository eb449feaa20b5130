"""The first call of a function in a process: it imports what it needs, one thread at a time.

Packages of Qiskit import each other. Two threads that enter them from different ends hold what the other waits
for; Python then raises in one of them, and a run would fail for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

from varloop.app import Function
from varloop.support.turn import Turn

__all__ = ["FIRST_CALL", "alone_at_first"]

FIRST_CALL = Turn()
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
