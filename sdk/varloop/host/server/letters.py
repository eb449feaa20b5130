"""Dead letters of ``varloop serve``, in its store: events that could not be accepted, each with its reason."""

from __future__ import annotations

import msgspec

from varloop.bus import Letter
from varloop.errors import SchemaError
from varloop.events import Body, Event
from varloop.store import Store
from varloop.store.layout import DEAD_LETTERS
from varloop.wire.codec import Types, from_json, to_json

__all__ = ["StoredLetters"]


class _Stored(msgspec.Struct):
    reason: str
    event: msgspec.Raw
    error: str = ""
    time: float = 0.0


_decode = msgspec.json.Decoder(_Stored).decode


class StoredLetters:
    """The dead letters of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, key: str, event: Event[Body], reason: str, error: str, now: float) -> None:
        """Put an event there.

        :param key: its name.
        :param now: seconds since the epoch.
        """
        letter = _Stored(reason=reason, event=msgspec.Raw(to_json(event)), error=error, time=now)
        self._store.put(DEAD_LETTERS + key, msgspec.json.encode(letter))

    def all(self, types: Types) -> list[Letter]:
        """All of them, oldest first.

        :param types: events that can be read, by CloudEvents type.
        """
        found = [self._letter(key, types) for key in self._store.keys(DEAD_LETTERS)]
        return sorted(found, key=lambda letter: letter.time)

    def remove(self, letter: Letter) -> None:
        """Take a letter off the list."""
        self._store.delete(letter.id)

    def _letter(self, key: str, types: Types) -> Letter:
        stored = _decode(self._store.get(key))
        raw = bytes(stored.event)
        try:
            event = from_json(raw, types)
        except SchemaError:
            event = None
        return Letter(
            id=key,
            time=stored.time,
            reason=stored.reason,
            error=stored.error,
            function="serve",
            trace=event.traceparent if event else "",
            event=event,
            raw=raw,
            size=len(raw),
        )
