"""Lines of a log."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from varloop.support import logs
from varloop.support.logs import Sparse

log = logging.getLogger("varloop.test")


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    """The root logger as it was."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    root.handlers[:] = before
    root.setLevel(level)


def written(form: str, *words: object, **more: Any) -> str:
    """What one warning becomes."""
    stream = io.StringIO()
    logs.configure(form, stream)
    log.warning(*words, **more)
    return stream.getvalue()


def test_a_line_says_when_and_how_grave() -> None:
    """Time in UTC, level, message."""
    assert_line = written("text", "run %s waits", "r1")
    assert assert_line.endswith("Z WARNING run r1 waits\n")
    assert assert_line[:4].isdecimal()
    assert assert_line[10] == "T"


def test_json_is_one_object_a_line() -> None:
    """With the run, if it is about one; without what is empty."""
    told = json.loads(written("json", "two\nlines of %s", "ü", extra={"run": "r1"}))
    assert told.pop("time").endswith("Z")
    assert told == {"level": "warning", "logger": "varloop.test", "message": "two\nlines of ü", "run": "r1"}


@pytest.mark.parametrize("form", logs.FORMATS)
def test_secrets_are_masked(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In messages and in tracebacks."""
    monkeypatch.setenv("VARLOOP_KAFKA_SASL_PASSWORD", "hush-hush")
    try:
        raise ValueError("hush-hush")
    except ValueError:
        told = written(form, "hush-hush", exc_info=True)
    assert "hush" not in told
    assert "ValueError" in told


def test_nobody_forges_a_line() -> None:
    """What follows a newline is indented, and control characters are spelled."""
    told = written("text", "event %s", "x\n2026-01-01T00:00:00Z ERROR forged\x1b[2J")
    assert told.splitlines()[1] == "    2026-01-01T00:00:00Z ERROR forged\\x1b[2J"


def test_what_was_said_just_now_is_kept_back_and_counted() -> None:
    """One line an interval for each thing; those without a name all pass."""
    now = [0.0]
    sparse = Sparse(lambda record: record.args, lambda: now[0])  # type: ignore[arg-type, return-value]

    def said(*words: str) -> str:
        record = logging.LogRecord("n", logging.WARNING, "", 0, "%s" if words else "x", words or None, None)
        return record.getMessage() if sparse.filter(record) else ""

    assert [said("a"), said("a"), said("b"), said("a"), said(), said()] == ["a", "", "b", "", "x", "x"]
    now[0] = logs.INTERVAL
    assert [said("a"), said("a"), said("b")] == ["a (and 2 more like it)", "", "b"]


def test_repeated_lines_are_named_where_they_are_written() -> None:
    """``repeats`` says what a line repeats."""
    stream = io.StringIO()
    logs.configure("text", stream)
    for run in range(100):
        log.warning("SlowDown, run %s", run, extra={"repeats": "SlowDown"})
    assert len(stream.getvalue().splitlines()) == 1
