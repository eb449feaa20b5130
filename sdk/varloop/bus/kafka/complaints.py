"""What Kafka's client libraries say of their connections: passed on once a minute, and kept as reasons of errors."""

from __future__ import annotations

import logging
import re
import time

from varloop.support.logs import Sparse

__all__ = ["HEARD", "Complaints", "listen"]

RECENT = 60.0
"""seconds for which a complaint counts as the reason of an error"""
_BROKER = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9][A-Za-z0-9._-]*):\d{2,5}")
_STATE = re.compile(
    r"^.*?\[thrd:[^\]]*\]: |^<Kafka.*?>: |/(bootstrap|\d+)(?=: )| \(after .*$|, \d+ identical .*$"
)
"""what the libraries put around a reason"""
_NOISE = ("not ready; waiting", "Unable to bootstrap", "brokers are down", "Bootstrap failed")
"""what says only that nothing was reached, not why"""
ADVICE = (
    (("resolve", "DNS", "gaierror"), "is the host's name right?"),
    (("refused", "ECONNREFUSED"), "is the broker up, and is this its port?"),
    (("Unsupported SASL mechanism", "UnsupportedSaslMechanism"), "set VARLOOP_KAFKA_SASL_MECHANISM to it"),
    (
        ("SASL authentication error", "SaslAuthenticationFailed"),
        "check VARLOOP_KAFKA_SASL_USERNAME and VARLOOP_KAFKA_SASL_PASSWORD",
    ),
    (
        ("certificate", "SSL handshake", "SSLError", "SSLCert"),
        "check VARLOOP_KAFKA_SECURITY_PROTOCOL and VARLOOP_KAFKA_SSL_CA_LOCATION",
    ),
)
AWAY = "is the broker up, and does it take these security settings?"


class Complaints(Sparse):
    """Hears log records of a client library: lets one a minute pass for each broker."""

    def __init__(self) -> None:
        super().__init__(_broker)
        self._last, self._when = "", 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        text = _STATE.sub("", record.getMessage())
        telling = advice(text) != AWAY or advice(self.reason()) == AWAY
        if record.levelno >= logging.WARNING and telling and not any(noise in text for noise in _NOISE):
            self._last, self._when = " ".join(text.split())[:300], time.monotonic()
        return super().filter(record)

    def reason(self) -> str:
        """The last complaint, if it is recent; one that tells what to do rather than a later one that does not."""
        return self._last if time.monotonic() - self._when < RECENT else ""


def advice(text: str) -> str:
    """What to do about a reason."""
    found = (hint for words, hint in ADVICE if any(word in text for word in words))
    return next(found, AWAY)


def _broker(record: logging.LogRecord) -> str:
    """Host and port of the broker that a record is about."""
    found = _BROKER.search(_STATE.sub("", record.getMessage()))
    return found[0] if found else record.name


HEARD = Complaints()


def listen(library: str) -> None:
    """Hear all loggers of a client library that there are."""
    for name in [library, *logging.Logger.manager.loggerDict]:
        if name == library or name.startswith(f"{library}."):
            logging.getLogger(name).addFilter(HEARD)
