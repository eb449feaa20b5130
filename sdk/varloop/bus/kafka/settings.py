"""Where Kafka is and how to speak to it: a URL without secrets, and the standard settings for TLS and SASL.

``kafka://HOST:PORT[,HOST:PORT]/TOPIC``. Security comes from the environment, as ``VARLOOP_KAFKA_`` and
Kafka's own name of the setting: ``VARLOOP_KAFKA_SECURITY_PROTOCOL=SASL_SSL``, ``…_SASL_MECHANISM``,
``…_SASL_USERNAME``, ``…_SASL_PASSWORD``, ``…_SSL_CA_LOCATION``, ``…_SSL_CERTIFICATE_LOCATION``,
``…_SSL_KEY_LOCATION``, ``…_SSL_KEY_PASSWORD``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from varloop.errors import UsageError

__all__ = ["HEARTBEAT", "SESSION", "Settings", "parse_url"]

SESSION, HEARTBEAT = 6.0, 2.0
"""seconds: a member that is silent for so long is gone, and how often it speaks"""

PREFIX = "VARLOOP_KAFKA_"
NAMES = (
    "security.protocol",
    "sasl.mechanism",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
)
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,236}")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):\d{1,5}")


@dataclass(frozen=True)
class Settings:
    """One topic of one cluster."""

    servers: tuple[str, ...]
    """host:port"""
    topic: str
    security: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Kafka's settings by their standard names"""

    @property
    def url(self) -> str:
        """What :func:`parse_url` makes these settings of; without secrets."""
        return f"kafka://{','.join(self.servers)}/{self.topic}"

    @property
    def dead(self) -> str:
        """Topic of the dead letters."""
        return f"{self.topic}.dead-letters"


def parse_url(url: str, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from a URL and the environment.

    :raises UsageError: if it is not the URL of a topic.
    """
    parts = urlsplit(url)
    servers, topic = tuple(parts.netloc.split(",")), parts.path.strip("/") or "varloop"
    if "@" in parts.netloc:
        raise UsageError(
            "the URL of a bus holds no credentials",
            hint=f"set {PREFIX}SASL_USERNAME and {PREFIX}SASL_PASSWORD",
        )
    if (
        parts.scheme != "kafka"
        or parts.query
        or parts.fragment
        or not all(map(_SERVER.fullmatch, servers))
        or not _TOPIC.fullmatch(topic)
        or topic in (".", "..")
    ):
        raise UsageError(f"{url!r} is not a topic of Kafka", hint="kafka://HOST:PORT[,HOST:PORT]/TOPIC")
    return Settings(servers, topic, _security(environment))


def _security(environment: Mapping[str, str]) -> dict[str, str]:
    known = {PREFIX + name.replace(".", "_").upper(): name for name in NAMES}
    given = {name: environment[variable] for variable, name in known.items() if environment.get(variable)}
    needed = [name for name in given if name != "security.protocol"]
    if needed and "security.protocol" not in given:
        raise UsageError(
            f"{needed[0]} is set without security.protocol",
            hint=f"set {PREFIX}SECURITY_PROTOCOL to SSL, SASL_SSL or SASL_PLAINTEXT",
        )
    return given
