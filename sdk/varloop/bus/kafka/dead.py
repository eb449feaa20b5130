"""Dead letters as records: the bytes as they came, and headers that say what happened to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from varloop.bus import DeadLetter
from varloop.bus.kafka.driver import Headers, Record
from varloop.codec import Types, from_kafka
from varloop.errors import SchemaError

__all__ = ["KafkaLetter", "clean", "headers", "letters"]

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


def clean(headers: Headers) -> list[tuple[str, bytes]]:
    """A record's own headers."""
    return [(name, value or b"") for name, value in headers if not name.startswith(MARK)]


def letters(records: Iterable[Record], types: Types) -> Iterator[KafkaLetter]:
    """Dead letters from the records of their topic, each once although it may be there several times."""
    seen = set()
    for record in sorted(records, key=lambda record: record.timestamp):
        letter = _letter(record, types)
        if letter.id not in seen:
            seen.add(letter.id)
            yield letter


def _letter(record: Record, types: Types) -> KafkaLetter:
    found = {
        name.removeprefix(MARK): value.decode(errors="replace")
        for name, value in record.headers
        if name.startswith(MARK)
    }
    marks = msgspec.convert(found, _Marks)
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
