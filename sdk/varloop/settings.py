"""How patient varloop is: retries, waits and time-outs with their defaults, the same for every host.

``@app.function(retries=…, timeout=…)`` says otherwise for one function.
"""

from __future__ import annotations

import msgspec

__all__ = ["Settings"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers and seconds."""

    retries: int = 7
    """how often a call that raised a TemporaryError is made again before its run fails; a store that is away does not
    count"""
    timeout: float = 21_600.0
    """a call that takes longer fails its run. Its thread can't be stopped and is replaced by another"""
    given_up: int = 3
    """a process in which more such threads live is unwell, and is to be started again"""
    deaths: int = 3
    """a call during which so many processes died is not made again: its run fails"""
    fresh: float = 10.0
    """an event older than this may have killed a process before: its call is marked in the store while it is made"""
    lease: float = 30.0
    """a mark this old, made by a process elsewhere, is that of a dead one"""
    patience: float = 0.0
    """a recorded outcome is not emitted again within this time: whoever recorded it is most likely about to, and
    duplicates in flight shall not breed"""
    first_call: float = 20.0
    """a function's first call waits so long for another's that is under way, which may import what it imports"""
