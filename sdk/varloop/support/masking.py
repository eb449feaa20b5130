"""Keeps secrets out of messages, and a message's text from being more than text.

Secrets are what stands before the ``@`` of a URL, parameters named like one (``secret_key=…``), and the values of
environment variables named like one. :func:`printable` shows control characters, which a terminal would obey and
a log would take for a new line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import quote

__all__ = ["mask", "printable"]

_WORDS = r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|API_?KEY|PRIVATE_?KEY"
_NAMES = re.compile(rf"(?!.*_(FILE|PATH|LOCATION|URL|URI)$).*({_WORDS})|VARLOOP_KEY$", re.IGNORECASE)
_USER = re.compile(
    r"""(?<=://)(?:
        [^\s/?\#"'<>:@]{0,256} : (?!\d+/) [^\s?\#"'<>]{0,256}   # a password may hold slashes and more than one @
        | [^\s/?\#"'<>]{0,256}
    )@""",
    re.VERBOSE,
)
_PARAMETER = re.compile(rf"(?<![\w.-])([\w.-]{{0,40}}(?:{_WORDS})[\w.-]{{0,40}}=)[^\s&;,\"']+", re.IGNORECASE)
_BEARER = re.compile(r"\b(Bearer|Basic)(\s+)[\w.~+/=-]{8,}")
_SHORTEST = 6
_UNMISTAKABLE = 16
"""characters of a secret that is masked inside of other words too"""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def mask(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """The text with every secret replaced by stars."""
    text = _USER.sub("***@", text)
    text = _PARAMETER.sub(r"\1***", text)
    text = _BEARER.sub(r"\1\2***", text)
    secrets = {
        form
        for name, value in environment.items()
        if len(value) >= _SHORTEST and _NAMES.match(name)
        for form in (value, quote(value, safe="", errors="replace"))
    }
    for secret in sorted(secrets, key=len, reverse=True):  # one may be part of another
        text = _without(text, secret)
    return text


def _without(text: str, secret: str) -> str:
    if len(secret) >= _UNMISTAKABLE:
        return text.replace(secret, "***")
    return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text) if secret in text else text


def printable(text: str) -> str:
    r"""The text with control characters (not new lines and tabs) and halves of surrogate pairs as escapes (``\x1b``)."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)
