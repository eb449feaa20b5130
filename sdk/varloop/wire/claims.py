"""Claim check: bodies over 32 KiB travel as a reference to the store."""

from __future__ import annotations

from typing import Any

import msgspec

from varloop.errors import CorruptObject, SchemaError
from varloop.events import BODIES, Body, Claim, Event
from varloop.store import Store
from varloop.store.layout import object_key, objects_prefix
from varloop.support.cache import LruCache
from varloop.wire.codec import Types, decode_body, encode_body

__all__ = ["LIMIT", "Claims"]

LIMIT = 32 * 1024
"""largest body, in bytes of JSON, that travels inside its event"""


class Claims:
    """Deposits large bodies in a store and redeems them; keeps the last few at hand."""

    def __init__(self, store: Store, types: Types = BODIES, capacity: int = 16) -> None:
        self._store = store
        self._types = types
        self._recent: LruCache[str, Body] = LruCache(capacity)

    def deposit(self, body: Body, run: str) -> tuple[Body, bytes]:
        """The body to put into an event, and its JSON: the body itself, or a claim on it."""
        data = encode_body(body)
        if len(data) <= LIMIT:
            return body, data
        claim = Claim(of=body.type, ref=object_key(run, data))
        self._store.create(claim.ref, data)
        self._recent[claim.ref] = body
        return claim, encode_body(claim)

    def redeem(self, event: Event[Body]) -> Body:
        """The body of an event, fetched if it was deposited.

        :raises SchemaError: if the reference is not an object's key or the object does not fit the type.
        :raises MissingObject: if the object is gone.
        """
        claim = event.data
        if not isinstance(claim, Claim):
            return claim
        if (known := self._recent.recall(claim.ref)) is not None and known.type == claim.of:
            return known
        if not claim.ref.startswith(objects_prefix(event.run)):
            raise SchemaError(f"{claim.ref[:120]!r} is not a reference to a stored object", run=event.run)
        data = self._store.get(claim.ref)
        if claim.ref != object_key(event.run, data):
            raise CorruptObject(f"object {claim.ref} does not match its name", run=event.run)
        body = decode_body(claim.of, data, self._types)
        self._recent[claim.ref] = body
        return body

    def whole(self, event: Event[Any]) -> Event[Any]:
        """The event with its body in it. Raises like :meth:`redeem`."""
        body = self.redeem(event)
        return event if body is event.data else msgspec.structs.replace(event, data=body, encoded=b"")
