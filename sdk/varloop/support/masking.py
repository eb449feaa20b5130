"""Keeps secrets out of messages: passwords in URLs and values of environment variables that hold them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

__all__ = ["mask"]

_NAMES = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|ACCESS_?KEY", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")
_SHORTEST = 6


def mask(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """The text with every secret replaced by stars."""
    text = _URL_PASSWORD.sub(r"\1:***@", text)
    secrets = {
        value for name, value in environment.items() if len(value) >= _SHORTEST and _NAMES.search(name)
    }
    for secret in sorted(secrets, key=len, reverse=True):  # one may be part of another
        text = text.replace(secret, "***")
    return text
