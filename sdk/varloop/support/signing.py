"""Signatures by a key that functions share: they believe nothing that somebody without it wrote.

``VARLOOP_KEY`` in the environment, at least 32 characters, one for each store. Without it nothing is signed and
everything is believed.
"""

from __future__ import annotations

import hmac
import os
from functools import cache

__all__ = ["own_key", "sign"]

NAME = "VARLOOP_KEY"
SHORTEST = 32


def sign(purpose: str, *parts: bytes) -> bytes:
    """HMAC-SHA-256 of the parts, 32 bytes; empty if there is no key.

    :param purpose: what is signed: no signature is good for anything else.
    :raises ValueError: if the key is too short to be one.
    """
    if not (key := own_key()):
        return b""
    message = b"".join(len(part).to_bytes(8, "big") + part for part in (purpose.encode(), *parts))
    return hmac.digest(key, message, "sha256")


@cache
def own_key() -> bytes:
    """The key of this process, empty if it has none. Looked up once: every event and every object asks for it.

    :raises ValueError: if it is too short to be one.
    """
    key = os.environ.get(NAME, "")
    if key and len(key) < SHORTEST:
        raise ValueError(
            f"{NAME} has {len(key)} characters, a key has at least {SHORTEST}: openssl rand -hex 32"
        )
    return key.encode()
