"""Dead letters as records: the bytes as they came, and headers that say what happened to them.

A value that the topic of the dead letters does not take is left out; the headers say what it was.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

import msgspec

from varloop.bus import DeadLetter, Letter
from varloop.bus.kafka.driver import Headers, Record
from varloop.errors import SchemaError
from varloop.events import Body, Event
from varloop.wire.codec import Types, from_kafka

__all__ = ["ROOM", "KafkaLetter", "clean", "copy", "letters", "place_of", "replayed", "to_http"]

MARK = "varloop_dead_"
KNATIVE = "ce_knative"
"""what the attributes begin with that a Broker adds to an event that nobody took"""
PLAIN = "".join(each for each in map(chr, range(0x21, 0x7F)) if each not in '"%')
"""characters that CloudEvents' HTTP binding leaves as they are in headers"""
LONGEST, TRACE = 2000, 256
"""characters of a reason, and of a trace"""
ROOM = 2**16
"""bytes that a dead letter may be larger than its record; its marks take less"""
SMALL = 2**13
"""bytes of key and headers that are kept of a record that is too large"""


class KafkaLetter(Letter, frozen=True, kw_only=True):
    """A dead letter on Kafka. Its id is topic, partition and offset of a record: ``varloop/3/1042``. Of workers it is
    the record that could not be accepted, which lies there until its topic's retention ends; of Knative the letter.
    """

    key: bytes | None = None
    tombstone: bool = False
    """the record had no value, which is not the same as an empty one"""
    from_knative: bool = False
    """a Broker put it there; it is replayed by posting it to the Broker's ingress"""


class _Problem(msgspec.Struct):
    title: str = ""
    detail: str = ""


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
            knative = any(name.startswith(KNATIVE) for name, _ in record.headers)
            letter = _knative_letter(record, types) if knative else _letter(record, marks, types)
            found.setdefault(letter.id, letter)
    return list(found.values())


def to_http(letter: KafkaLetter) -> tuple[dict[str, str], bytes]:
    """Headers and body of a letter of Knative as it was before it was one, in HTTP's binary mode."""
    texts = {name: value.decode(errors="replace") for name, value in letter.headers}
    headers = {
        name.replace("ce_", "ce-", 1): quote(text, safe=PLAIN)
        for name, text in texts.items()
        if name.startswith("ce_") or name == "content-type"
    }
    return headers, letter.raw


def _knative_letter(record: Record, types: Types) -> KafkaLetter:
    """A letter that a Broker's dispatcher wrote through a KafkaSink."""
    said = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    own = tuple(
        (name, value or b"") for name, value in record.headers if not name.startswith((KNATIVE, "kne-"))
    )
    subscriber = urlsplit(said.get(f"{KNATIVE}errordest", ""))
    code = said.get(f"{KNATIVE}errorcode", "")
    return KafkaLetter(
        id=place_of(record),
        time=record.timestamp,
        reason=_reason(said.get(f"{KNATIVE}errordata", "")),
        function=(subscriber.hostname or "").partition(".")[0],
        error=f"HTTP {code}" if code else "",
        trace=_trace(own),
        event=_event(own, record.value, types),
        raw=record.value or b"",
        key=record.key,
        headers=own,
        size=len(record.value or b""),
        from_knative=True,
    )


def _reason(data: str) -> str:
    """What a subscriber answered: the title and detail of a problem (RFC 9457), or as it is; often in base64."""
    try:
        text = base64.b64decode(data, validate=True).decode()
    except ValueError:
        text = data
    try:
        problem = msgspec.json.decode(text, type=_Problem)
    except msgspec.MsgspecError:
        return text
    return ": ".join(filter(None, (problem.title, problem.detail))) or text


def _event(headers: Headers, value: bytes | None, types: Types) -> Event[Body] | None:
    """The event of a record, None if it cannot be read."""
    try:
        return from_kafka(headers, value, types)
    except SchemaError:
        return None


def _marks(record: Record) -> _Marks:
    found = {
        name.removeprefix(MARK): value.decode(errors="replace")
        for name, value in record.headers
        if name.startswith(MARK) and value is not None
    }
    return msgspec.convert(found, _Marks)


def _letter(record: Record, marks: _Marks, types: Types) -> KafkaLetter:
    return KafkaLetter(
        id=marks.origin or place_of(record),
        time=record.timestamp,
        reason=marks.reason,
        function=marks.function,
        attempt=int(marks.attempt) if marks.attempt.isdecimal() else 1,
        error=marks.error,
        trace=marks.trace,
        event=_event(clean(record.headers), record.value, types),
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
