"""CloudEvents' attributes and data, checked: what every binding of :mod:`varloop.wire.codec` has in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from varloop.errors import SchemaError, UsageError
from varloop.events import BODIES, PREFIX, VERSION, Body, Claim, Event, event_id, is_signed
from varloop.spec import MAX_ITERATIONS

__all__ = [
    "MAX_BYTES",
    "OWN_SOURCE",
    "REQUIRED",
    "RUN_ID",
    "Types",
    "Wire",
    "attributes_of",
    "decode_body",
    "decode_untrusted",
    "encode_body",
    "event_of",
    "media_type",
    "require",
]

MAX_BYTES = 8 * 2**20
"""largest event accepted from the wire; larger data belongs in the store, by claim check"""

SHARDS = 10**4
"""how many of them a run, and an iteration, can have"""

OWN_SOURCE = "varloop/"
REQUIRED = ("specversion", "id", "source", "type")
_SCHEMA = "urn:varloop:schema:"
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_JSON_TYPES = ("", "application/json")

Types = Mapping[str, type[Body]]


class Wire(msgspec.Struct, kw_only=True, omit_defaults=True):
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
    shard: int | str = 0
    shards: int | str = 1
    origin: str = ""
    traceparent: str = ""
    tracestate: str = ""
    dataref: str = ""
    data: msgspec.Raw = msgspec.Raw()
    data_base64: bytes = b""
    """data as SDKs write it that were given bytes; never written here"""


_encoder = msgspec.json.Encoder()


@lru_cache(maxsize=256)
def _decoder(body: type[Body]) -> msgspec.json.Decoder[Body]:
    return msgspec.json.Decoder(body)


def encode_body(body: Body) -> bytes:
    """A body as compact JSON.

    :raises UsageError: if it holds something that is no JSON data, such as a NumPy array.
    """
    try:
        return _encoder.encode(body)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(
            f"a {type(body).__name__} cannot become JSON: {error}",
            hint="plain numbers, lists and strings only",
        ) from error


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


def attributes_of(event: Event[Body]) -> dict[str, Any]:
    """CloudEvents attributes of an event, all but ``iteration``; empty ones are left out on the wire."""
    own = event.type.startswith(PREFIX)
    part = {"shard": str(event.shard), "shards": str(event.shards)} if event.shards > 1 else {}
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.run,
        "time": _text(event.time),
        "datacontenttype": "application/json",
        "dataschema": f"{_SCHEMA}{VERSION}:{event.type.removeprefix(PREFIX)}" if own else "",
        "partitionkey": event.run,
        "pipeline": event.pipeline,
        "origin": event.origin,
        "traceparent": event.traceparent,
        "tracestate": event.tracestate,
        "dataref": event.data.ref if isinstance(event.data, Claim) else "",
        **part,
    }


def _text(time: float) -> str:
    """A time as RFC 3339; none if the event does not say its time."""
    return datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z") if time else ""


def decode_untrusted(parse: Callable[[bytes], Any], data: bytes) -> Any:
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


def require(attribute: Callable[[str], object]) -> None:
    """Refuse what lacks an attribute that every CloudEvent has."""
    if missing := [name for name in REQUIRED if not attribute(name)]:
        raise SchemaError(
            f"not a CloudEvent: {', '.join(missing)} missing",
            hint="as headers ce-id and so on, or all of it in JSON as application/cloudevents+json",
        )


def event_of(wire: Wire, types: Types) -> Event[Body]:
    """Check the attributes and decode the data."""
    require(lambda name: getattr(wire, name))
    _check(wire)
    if wire.dataref:
        body: Body = Claim(of=wire.type, ref=wire.dataref)
        raw = encode_body(body)
    else:
        raw = bytes(wire.data) or wire.data_base64
        decode_untrusted(bytes.decode, raw)  # all of it, also what no field reads: it is handed on as it is
        body = decode_body(wire.type, raw, types)
    shards = _integer("shards", wire.shards, 1, SHARDS)
    event = Event(
        id=wire.id,
        source=wire.source,
        run=wire.subject or wire.id,
        data=body,
        time=_time(wire.time),
        pipeline=wire.pipeline or "default",
        iteration=_integer("iteration", wire.iteration, 0, MAX_ITERATIONS),
        shard=_integer("shard", wire.shard, 0, shards - 1),
        shards=shards,
        origin=wire.origin,
        traceparent=wire.traceparent,
        tracestate=wire.tracestate,
        encoded=raw,
    )
    if not RUN_ID.fullmatch(event.run):
        raise SchemaError(f"{event.run[:120]!r} is not a run id", hint=f"it must match {RUN_ID.pattern}")
    part = {"shard": event.shard, "shards": event.shards}
    expected = event_id(event.pipeline, event.run, event.iteration, event.type, raw, **part)
    unknown = is_signed(event.id) and not is_signed(expected)  # who has no key can check no signature
    if wire.source.startswith(OWN_SOURCE) and event.id != expected and not unknown:
        what = "is not signed with VARLOOP_KEY, or " if is_signed(expected) else ""
        raise SchemaError(
            f"event {event.id[:64]} {what}was altered on its way: its id does not match its content"
        )
    return event


def media_type(text: str) -> str:
    """A media type without its parameters, in lower case."""
    return text.partition(";")[0].strip().lower()


def _check(wire: Wire) -> None:
    if wire.specversion != "1.0":
        raise SchemaError(f"CloudEvents version {wire.specversion[:16]!r} is not supported, only 1.0")
    if media_type(wire.datacontenttype) not in _JSON_TYPES:
        raise SchemaError(f"data of type {wire.datacontenttype[:64]!r}, expected application/json")
    if max(map(len, (wire.id, wire.source, wire.type, wire.pipeline, wire.origin, wire.traceparent))) > 256:
        raise SchemaError("a CloudEvents attribute is longer than 256 characters")
    if any(map(_CONTROL.search, (wire.id, wire.source, wire.type, wire.pipeline, wire.traceparent))):
        raise SchemaError("a CloudEvents attribute holds a control character")
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


def _integer(name: str, text: int | str, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError as error:
        raise SchemaError(f"{name} {text!r:.64} is not an integer") from error
    if not least <= value <= most:
        raise SchemaError(f"{name} {value} is not in {least} … {most}")
    return value
