"""Dead letters as records: the bytes as they came, and headers that say what happened to them.

A value that the topic of the dead letters does not take is left out; the headers say what it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from varloop.bus import DeadLetter
from varloop.bus.kafka.driver import Headers, Record
from varloop.errors import SchemaError
from varloop.wire.codec import Types, from_kafka

__all__ = ["ROOM", "KafkaLetter", "clean", "copy", "letters", "place_of", "replayed"]

MARK = "varloop_dead_"
LONGEST, TRACE = 2000, 256
"""characters of a reason, and of a trace"""
ROOM = 2**16
"""bytes that a dead letter may be larger than its record; its marks take less"""
SMALL = 2**13
"""bytes of key and headers that are kept of a record that is too large"""


class KafkaLetter(DeadLetter, frozen=True, kw_only=True):
    """A dead letter on Kafka."""

    id: str
    """topic, partition and offset of the record that could not be accepted: ``varloop/3/1042``; it lies there
    until the topic's retention ends
    """
    time: float
    """when it was given up, seconds since the epoch"""
    trace: str = ""
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    """of the record, as they came"""
    tombstone: bool = False
    """the record had no value, which is not the same as an empty one"""
    size: int = 0
    """bytes of the record's value"""
    sha256: str = ""
    """of a value that was too large for the dead letters, in hexadecimal; ``raw`` is empty then"""


class _Marks(msgspec.Struct):
    origin: str = ""
    reason: str = ""
    function: str = ""
    attempt: str = "1"
    error: str = ""
    trace: str = ""
    replayed: str = ""
    size: str = ""
    sha256: str = ""


def copy(
    record: Record, letter: DeadLetter, whole: bool = True
) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]:
    """Key, value and headers of the dead letter of a record: its own, and what happened.

    :param whole: with the value; without it, key and headers are left out too unless they are small.
    """
    key, value, own = record.key, record.value, clean(record.headers)
    marks = _Marks(
        origin=place_of(record),
        reason=letter.reason[:LONGEST],
        function=letter.function,
        attempt=str(letter.attempt),
        error=letter.error,
        trace=letter.event.traceparent if letter.event else _trace(record.headers),
    )
    if not whole:
        marks.size, marks.sha256 = str(len(value or b"")), hashlib.sha256(value or b"").hexdigest()
        value = None
        if len(key or b"") + sum(len(name) + len(content) for name, content in own) > SMALL:
            key, own = None, []
    marked = [(MARK + name, text.encode()) for name, text in msgspec.structs.asdict(marks).items() if text]
    return key, value, own + marked


def replayed(letter: KafkaLetter) -> list[tuple[str, bytes]]:
    """Headers of a record that says that a letter was published again."""
    return [(MARK + "origin", letter.id.encode()), (MARK + "replayed", b"1")]


def clean(headers: Headers) -> list[tuple[str, bytes]]:
    """A record's own headers."""
    return [(name, value or b"") for name, value in headers if not name.startswith(MARK)]


def letters(records: Iterable[Record], types: Types) -> list[KafkaLetter]:
    """Dead letters from the records of their topic: each once, without those that were published again."""
    found: dict[str, KafkaLetter] = {}
    for record in sorted(records, key=lambda record: record.timestamp):
        marks = _marks(record)
        if marks.replayed:
            found.pop(marks.origin, None)
        else:
            letter = _letter(record, marks, types)
            found.setdefault(letter.id, letter)
    return list(found.values())


def _marks(record: Record) -> _Marks:
    found = {
        name.removeprefix(MARK): value.decode(errors="replace")
        for name, value in record.headers
        if name.startswith(MARK) and value is not None
    }
    return msgspec.convert(found, _Marks)


def _letter(record: Record, marks: _Marks, types: Types) -> KafkaLetter:
    try:
        event = from_kafka(clean(record.headers), record.value, types)
    except SchemaError:
        event = None
    return KafkaLetter(
        id=marks.origin or place_of(record),
        time=record.timestamp,
        reason=marks.reason,
        function=marks.function,
        attempt=int(marks.attempt) if marks.attempt.isdecimal() else 1,
        error=marks.error,
        trace=marks.trace,
        event=event,
        raw=record.value or b"",
        key=record.key,
        headers=tuple(clean(record.headers)),
        tombstone=record.value is None and not marks.sha256,
        size=int(marks.size) if marks.size.isdecimal() else len(record.value or b""),
        sha256=marks.sha256,
    )


def place_of(record: Record) -> str:
    """Where a record lies: topic, partition, offset."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def _trace(headers: Headers) -> str:
    found = (value for name, value in headers if name == "ce_traceparent" and value)
    return next(found, b"")[:TRACE].decode(errors="replace")
