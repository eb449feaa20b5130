"""Pure codecs between :class:`~varloop.events.Event` and CloudEvents 1.0 on JSON, HTTP and Kafka.

No client library and no I/O here. Verbs: ``to_json``/``from_json`` (structured JSON, also the journal's
form), ``to_http``/``from_http``/``batch_from_http`` and ``to_kafka``/``from_kafka`` (binary by default,
structured accepted). Every fault of foreign bytes is a :class:`~varloop.errors.SchemaError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from varloop.errors import SchemaError
from varloop.events import BODIES, PREFIX, VERSION, Body, Claim, Event, event_id

__all__ = [
    "BATCH",
    "MAX_BYTES",
    "STRUCTURED",
    "batch_from_json",
    "batch_to_json",
    "decode_body",
    "encode_body",
    "from_http",
    "from_json",
    "from_kafka",
    "to_http",
    "to_json",
    "to_kafka",
]

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
MAX_BYTES = 8 * 2**20
"""largest event accepted from the wire; larger data belongs in the store, by claim check"""

OWN_SOURCE = "varloop/"
_SCHEMA = "urn:varloop:schema:"
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_JSON_TYPES = ("", "application/json")

Types = Mapping[str, type[Body]]


class _Wire(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A CloudEvent in the JSON format; unknown extension attributes are ignored."""

    specversion: str = ""
    id: str = ""
    source: str = ""
    type: str = ""
    subject: str = ""
    time: str = ""
    datacontenttype: str = ""
    dataschema: str = ""
    partitionkey: str = ""
    pipeline: str = ""
    iteration: int | str = 0
    traceparent: str = ""
    tracestate: str = ""
    dataref: str = ""
    data: msgspec.Raw = msgspec.Raw()


_encoder = msgspec.json.Encoder()
_wire = msgspec.json.Decoder(_Wire)


@lru_cache(maxsize=256)
def _decoder(body: type[Body]) -> msgspec.json.Decoder[Body]:
    return msgspec.json.Decoder(body)


def encode_body(body: Body) -> bytes:
    """A body as compact JSON."""
    return _encoder.encode(body)


def decode_body(type: str, data: bytes | msgspec.Raw, types: Types = BODIES) -> Body:
    """A body from JSON.

    :raises SchemaError: if the type is unknown or the data does not fit its schema.
    """
    if type not in types:
        raise SchemaError(f"unknown event type {type!r}", hint=f"known: {', '.join(sorted(types))}")
    try:
        return _decoder(types[type]).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SchemaError(f"the data of {type} does not fit its schema: {error}") from error


def to_json(event: Event[Body]) -> bytes:
    """An event in CloudEvents' structured JSON form."""
    wire = _Wire(**_attributes(event), iteration=event.iteration)
    if not isinstance(event.data, Claim):
        wire.data = msgspec.Raw(event.encoded or encode_body(event.data))
    return _encoder.encode(wire)


def from_json(data: bytes, types: Types = BODIES) -> Event[Body]:
    """An event from CloudEvents' structured JSON form.

    :raises SchemaError: if it is not a CloudEvent of a known type and schema.
    """
    return _event(_read(_wire.decode, data), types)


def batch_to_json(events: Iterable[Event[Body]]) -> bytes:
    """Events in CloudEvents' batched JSON form."""
    return b"[" + b",".join(map(to_json, events)) + b"]"


def batch_from_json(data: bytes) -> list[bytes]:
    """Split a JSON batch into structured events, undecoded, so that one bad event spoils no other.

    :raises SchemaError: if it is not a JSON array.
    """
    return [bytes(raw) for raw in _read(_batch.decode, data)]


_batch = msgspec.json.Decoder(list[msgspec.Raw])


def to_http(event: Event[Body]) -> tuple[dict[str, str], bytes]:
    """Headers and body of an event in HTTP's binary mode."""
    from cloudevents.core.bindings.http import to_binary

    message = to_binary(_cloudevent(event), _format())
    return message.headers, message.body


def from_http(headers: Mapping[str, str], body: bytes, types: Types = BODIES) -> Event[Body]:
    """An event from an HTTP message in binary or structured mode.

    :raises SchemaError: if it is not a CloudEvent of a known type and schema.
    """
    from cloudevents.core.bindings.http import HTTPMessage, from_binary

    headers = {name.lower(): value for name, value in headers.items()}
    if headers.get("content-type", "").partition(";")[0].strip() == STRUCTURED:
        return from_json(body, types)
    return _binary(lambda: from_binary(HTTPMessage(dict(headers), body), _format()), headers, body, types)


def to_kafka(event: Event[Body]) -> tuple[list[tuple[str, bytes]], bytes, bytes]:
    """Headers, key and value of an event in Kafka's binary mode; the key is the partition key."""
    from cloudevents.core.bindings.kafka import to_binary

    message = to_binary(_cloudevent(event), _format())
    return list(message.headers.items()), event.run.encode(), message.value


def from_kafka(
    headers: Iterable[tuple[str, bytes]], value: bytes | None, types: Types = BODIES
) -> Event[Body]:
    """An event from a Kafka record in binary or structured mode.

    :raises SchemaError: if it is not a CloudEvent of a known type and schema.
    """
    from cloudevents.core.bindings.kafka import KafkaMessage, from_binary

    if value is None:
        raise SchemaError("the record has no value (a tombstone)")
    named = {name.lower(): content or b"" for name, content in headers}
    if not any(name.startswith("ce_") for name in named):
        return from_json(value, types)
    return _binary(lambda: from_binary(KafkaMessage(named, None, value), _format()), named, value, types)


def _attributes(event: Event[Body]) -> dict[str, Any]:
    """CloudEvents attributes of an event, all but ``iteration``; empty ones are left out on the wire."""
    own = event.type.startswith(PREFIX)
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.run,
        "time": datetime.fromtimestamp(event.time, UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "dataschema": f"{_SCHEMA}{VERSION}:{event.type.removeprefix(PREFIX)}" if own else "",
        "partitionkey": event.run,
        "pipeline": event.pipeline,
        "traceparent": event.traceparent,
        "tracestate": event.tracestate,
        "dataref": event.data.ref if isinstance(event.data, Claim) else "",
    }


def _cloudevent(event: Event[Body]) -> Any:
    """The event as the cloudevents package's object, its data already bytes (it writes lists wrongly)."""
    from cloudevents.core.v1.event import CloudEvent

    attributes = {name: value for name, value in _attributes(event).items() if value}
    attributes["iteration"] = str(event.iteration)
    attributes["time"] = datetime.fromtimestamp(event.time, UTC)
    data = None if isinstance(event.data, Claim) else event.encoded or encode_body(event.data)
    return CloudEvent(attributes=attributes, data=data)


@lru_cache(maxsize=1)
def _format() -> Any:
    """The cloudevents package's JSON format with the data left as bytes both ways."""
    from cloudevents.core.formats.json import JSONFormat

    class Bytes(JSONFormat):
        def read_data(self, body: bytes, datacontenttype: str | None) -> bytes:
            return body

    return Bytes()


def _binary(parse: Any, headers: Iterable[str], body: bytes, types: Types) -> Event[Body]:
    """An event from what the cloudevents package made of a message in binary mode.

    The package invents an id, a version and a time where there is none; only what was sent counts.
    """
    attributes = dict(_read(lambda _: parse(), body).get_attributes())
    sent = {"datacontenttype", *(name[3:] for name in headers)} & attributes.keys()
    known: dict[str, Any] = {name: str(attributes[name]) for name in _Wire.__struct_fields__ if name in sent}
    if "time" in sent:
        known["time"] = attributes["time"].isoformat()
    return _event(_Wire(**{**known, "data": msgspec.Raw(body)}), types)


def _read(parse: Any, data: bytes) -> Any:
    """The one place where faults of foreign bytes become ours."""
    if len(data) > MAX_BYTES:
        raise SchemaError(
            f"the event has {len(data)} bytes, at most {MAX_BYTES} are accepted",
            hint="put large data into the store and send a reference",
        )
    try:
        return parse(data)
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError) as error:
        raise SchemaError(f"not a CloudEvent: {_brief(error)}") from error
    except Exception as error:  # the cloudevents package's own tree
        if not type(error).__module__.startswith("cloudevents."):
            raise
        raise SchemaError(f"not a valid CloudEvent: {_brief(error)}") from error


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:256]


def _event(wire: _Wire, types: Types) -> Event[Body]:
    """Check the attributes and decode the data."""
    missing = [name for name in ("specversion", "id", "source", "type") if not getattr(wire, name)]
    if missing:
        raise SchemaError(f"not a CloudEvent: {', '.join(missing)} missing")
    _check(wire)
    if wire.dataref:
        body: Body = Claim(of=wire.type, ref=wire.dataref)
        raw = encode_body(body)
    else:
        raw = bytes(wire.data)
        body = decode_body(wire.type, raw, types)
    event = Event(
        id=wire.id,
        source=wire.source,
        run=wire.subject or wire.id,
        data=body,
        time=_time(wire.time),
        pipeline=wire.pipeline or "default",
        iteration=_integer(wire.iteration),
        traceparent=wire.traceparent,
        tracestate=wire.tracestate,
        encoded=raw,
    )
    if not RUN_ID.fullmatch(event.run):
        raise SchemaError(f"{event.run[:120]!r} is not a run id", hint=f"it must match {RUN_ID.pattern}")
    expected = event_id(event.pipeline, event.run, event.iteration, event.type, raw)
    if wire.source.startswith(OWN_SOURCE) and event.id != expected:
        raise SchemaError(f"event {event.id[:64]} was altered on its way: its id does not match its content")
    return event


def _check(wire: _Wire) -> None:
    if wire.specversion != "1.0":
        raise SchemaError(f"CloudEvents version {wire.specversion[:16]!r} is not supported, only 1.0")
    if wire.datacontenttype.partition(";")[0].strip() not in _JSON_TYPES:
        raise SchemaError(f"data of type {wire.datacontenttype[:64]!r}, expected application/json")
    if max(map(len, (wire.id, wire.source, wire.type, wire.pipeline, wire.traceparent))) > 256:
        raise SchemaError("a CloudEvents attribute is longer than 256 characters")
    if len(wire.tracestate) > 512:
        raise SchemaError("the attribute tracestate is longer than 512 characters")
    schema = wire.dataschema
    if schema.startswith(_SCHEMA) and not schema.startswith(f"{_SCHEMA}{VERSION}:"):
        raise SchemaError(f"schema {schema[:64]!r} is not version {VERSION}", hint="use a matching varloop")


def _time(text: str) -> float:
    if not text:
        return 0.0
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("no time zone")
        seconds = moment.timestamp()
        datetime.fromtimestamp(seconds, UTC)  # the other way must be possible too
    except (ValueError, OverflowError) as error:
        raise SchemaError(f"time {text[:64]!r} is not an RFC 3339 timestamp") from error
    return seconds


def _integer(text: int | str) -> int:
    try:
        value = int(text)
    except ValueError as error:
        raise SchemaError(f"iteration {text!r:.64} is not an integer") from error
    if not 0 <= value < 10**6:
        raise SchemaError(f"iteration {value} is not in 0 … 999999")
    return value
