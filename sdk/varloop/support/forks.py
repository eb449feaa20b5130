"""Forks: pools of threads that native libraries start are not there in a child, which would wait for them for ever."""

from __future__ import annotations

import os

__all__ = ["may_start_threads"]

_starters: set[int] = set()
"""processes that asked, this one or those it was forked from"""


def may_start_threads() -> bool:
    """Whether native code may use several threads here: not if a process that this one was forked from did.

    That this one does is noted for its children.
    """
    _starters.add(os.getpid())
    return len(_starters) == 1
