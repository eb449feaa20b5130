"""Lines of a log: when, how grave, what, of which run; as text or as JSON, without secrets, without floods."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from typing import TextIO

from varloop.support.masking import mask, printable

__all__ = ["FORMATS", "Sparse", "configure"]

FORMATS = ("text", "json")
FIELDS = ("run", "letter")
"""what a line may be about, besides its message: passed as ``extra``"""
INTERVAL = 60.0
"""seconds between two lines that say the same"""


def configure(form: str, stream: TextIO | None = None) -> None:
    """Write warnings and errors of this process to a stream, standard error by default.

    Lines that have ``extra={"repeats": X}`` are kept back where X was said just now.

    :param form: one of :data:`FORMATS`.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    handler.addFilter(Sparse(lambda record: getattr(record, "repeats", None)))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


class Sparse(logging.Filter):
    """Lets one line pass of those that say the same within an interval, and says how many it kept back.

    :param key: what a record says, None if each counts.
    :param now: seconds, monotonic.
    """

    MOST = 256
    """things that are remembered"""

    def __init__(
        self, key: Callable[[logging.LogRecord], Hashable], now: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._key = key
        self._now = now
        self._said: dict[Hashable, tuple[float, int]] = {}
        """when each was said, and how often it was not since"""

    def filter(self, record: logging.LogRecord) -> bool:
        key = self._key(record)
        if key is None:
            return True
        now = self._now()
        when, held = self._said.get(key, (-INTERVAL, 0))
        if now - when < INTERVAL:
            self._said[key] = when, held + 1
            return False
        if len(self._said) >= self.MOST:
            self._said.clear()
        self._said[key] = now, 0
        if held:
            record.msg, record.args = f"{record.getMessage()} (and {held} more like it)", ()
        return True


class _Text(logging.Formatter):
    """``2026-11-25T13:10:58.456Z WARNING message``; further lines are indented, so that none can be forged."""

    def format(self, record: logging.LogRecord) -> str:
        text = "\n".join(filter(None, (record.getMessage(), _trace(self, record))))
        return f"{_time(record)} {record.levelname} {_plain(mask(text))}"


class _Json(logging.Formatter):
    """One object a line: time, level, logger, message, and what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": mask(record.getMessage()),
            "traceback": mask(_trace(self, record)),
            **{name: getattr(record, name, "") for name in FIELDS},
        }
        return json.dumps({name: value for name, value in fields.items() if value}, ensure_ascii=False)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info else ""


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(text: str) -> str:
    """Text without control characters; its lines after the first are indented."""
    return printable(text.replace("\r\n", "\n")).replace("\n", "\n    ")
