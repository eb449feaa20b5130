"""Who may ask a server: those who have a token, under a name it goes by, from pages it trusts."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from varloop.errors import UsageError
from varloop.host.knative import Answer, problem
from varloop.support.masking import mask

__all__ = ["Gate", "tokens"]

UNKNOWN, FORBIDDEN = 401, 403
SHORTEST = 16
"""characters of a token"""


@dataclass(frozen=True)
class Gate:
    """What a request must show.

    A name that anybody can register may lead to this server (DNS rebinding), an address may not: hosts are
    addresses, ``localhost`` and the names given.
    """

    tokens: frozenset[str] = frozenset()
    """one of them is asked for; none lets everybody in"""
    names: frozenset[str] = frozenset()
    """hosts beside addresses and localhost"""
    origins: frozenset[str] = frozenset()
    """whose pages a browser may let in, ``https://HOST``; ``*`` is all"""

    def refusal(self, host: str, origin: str, token: str | None) -> Answer | None:
        """What to answer to a request that may not enter.

        :param host: its Host header.
        :param origin: its Origin header, empty if it has none.
        :param token: empty if it has none; None if none is asked for.
        """
        if not self._known(host):
            detail = f"this server is not {host[:100]!r} (varloop serve --allow-host)"
            return problem(FORBIDDEN, "UsageError", mask(detail))
        if origin and not self.trusts(origin) and urlsplit(origin).netloc != host:
            return problem(
                FORBIDDEN,
                "UsageError",
                f"pages of {origin[:100]!r} may not ask (varloop serve --allow-origin)",
            )
        if self.tokens and token is not None and not self._holds(token):
            answer = problem(
                UNKNOWN, "UsageError", "this server asks for a token (Authorization: Bearer TOKEN)"
            )
            answer.headers["www-authenticate"] = "Bearer"
            return answer
        return None

    def trusts(self, origin: str) -> bool:
        """Whether a browser may show the answers to pages of this origin."""
        return origin in self.origins or "*" in self.origins

    def _known(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
        except ValueError:
            return False
        if name == "localhost" or name in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _holds(self, token: str) -> bool:
        return any(hmac.compare_digest(token.encode(), known.encode()) for known in self.tokens)


def tokens(path: str, single: str = "") -> frozenset[str]:
    """Tokens from a file, one a line, and one of the environment.

    :raises UsageError: if the file cannot be read, holds none, or one is too short to be a secret.
    """
    found = {single} if single else set()
    if path:
        try:
            found |= set(_lines(Path(path).read_text().splitlines()))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the tokens in {path}: {error}") from error
        if not found:
            raise UsageError(f"{path} holds no token", hint="one a line")
    if any(len(token) < SHORTEST for token in found):
        raise UsageError(f"a token has at least {SHORTEST} characters", hint="openssl rand -hex 32")
    return frozenset(found)


def _lines(lines: Iterable[str]) -> Iterable[str]:
    return (text for line in lines if (text := line.strip()) and not text.startswith("#"))
