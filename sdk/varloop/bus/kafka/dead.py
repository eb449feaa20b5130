"""Dead letters as records: the bytes as they came, and headers that say what happened to them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from varloop.bus import DeadLetter
from varloop.bus.kafka.driver import Headers, Record
from varloop.codec import Types, from_kafka
from varloop.errors import SchemaError

__all__ = ["KafkaLetter", "clean", "headers", "letters", "replayed"]

MARK = "varloop_dead_"
LONGEST = 2000


class KafkaLetter(DeadLetter, frozen=True, kw_only=True):
    """A dead letter on Kafka."""

    id: str
    """topic, partition and offset of the record that could not be accepted: ``varloop/3/1042``"""
    time: float
    """when it was given up, seconds since the epoch"""
    trace: str = ""
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    """of the record, as they came"""


class _Marks(msgspec.Struct):
    origin: str = ""
    reason: str = ""
    function: str = ""
    attempt: str = "1"
    error: str = ""
    trace: str = ""
    replayed: str = ""


def headers(record: Record, letter: DeadLetter) -> list[tuple[str, bytes]]:
    """Headers of the dead letter of a record: its own and what happened."""
    marks = _Marks(
        origin=_origin(record),
        reason=letter.reason[:LONGEST],
        function=letter.function,
        attempt=str(letter.attempt),
        error=letter.error,
        trace=letter.event.traceparent if letter.event else _trace(record.headers),
    )
    return [
        *clean(record.headers),
        *((MARK + name, value.encode()) for name, value in msgspec.structs.asdict(marks).items()),
    ]


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
        id=marks.origin or _origin(record),
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
    )


def _origin(record: Record) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


def _trace(headers: Headers) -> str:
    return next((value.decode(errors="replace") for name, value in headers if name == "ce_traceparent"), "")
