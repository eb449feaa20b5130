"""Pure codecs between :class:`~varloop.events.Event` and CloudEvents 1.0 on JSON, HTTP and Kafka.

No client library and no I/O here. Verbs: ``to_json``/``from_json`` (structured JSON, also the journal's
form), ``batch_to_json``/``batch_from_json``, ``to_http``/``from_http`` and ``to_kafka``/``from_kafka`` (binary
by default, structured accepted). Every fault of foreign bytes is a :class:`~varloop.errors.SchemaError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from varloop.errors import SchemaError
from varloop.events import BODIES, Body, Claim, Event
from varloop.wire.attributes import (
    MAX_BYTES,
    OWN_SOURCE,
    REQUIRED,
    RUN_ID,
    Types,
    Wire,
    attributes_of,
    decode_body,
    decode_untrusted,
    encode_body,
    event_of,
    media_type,
    require,
)

__all__ = [
    "BATCH",
    "MAX_BYTES",
    "OWN_SOURCE",
    "RUN_ID",
    "STRUCTURED",
    "Types",
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

T = TypeVar("T")
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Wire).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NAMES = frozenset(Wire.__struct_fields__) - {"data", "data_base64"}
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


def to_json(event: Event[Body]) -> bytes:
    """An event in CloudEvents' structured JSON form."""
    wire = Wire(**attributes_of(event), iteration=event.iteration)
    if not isinstance(event.data, Claim):
        wire.data = msgspec.Raw(event.encoded or encode_body(event.data))
    return _encode(wire)


def from_json(data: bytes, types: Types = BODIES) -> Event[Body]:
    """An event from CloudEvents' structured JSON form.

    :raises SchemaError: if it is not a CloudEvent of a known type and schema.
    """
    return event_of(decode_untrusted(_wire, data), types)


def _wire(data: bytes) -> Wire:
    """The attributes and data of a structured event. Those that are null are absent."""
    try:
        return _decode(data)
    except msgspec.ValidationError:
        members = _members(data)
        given = {name: value for name, value in members.items() if bytes(value) != b"null"}
        if len(given) == len(members):
            raise
        return _decode(_encode(given))


def batch_to_json(events: Iterable[Event[Body]]) -> bytes:
    """Events in CloudEvents' batched JSON form."""
    return b"[" + b",".join(map(to_json, events)) + b"]"


def batch_from_json(data: bytes) -> list[bytes]:
    """Split a JSON batch into structured events, undecoded, so that one bad event spoils no other.

    :raises SchemaError: if it is not a JSON array.
    """
    return [bytes(raw) for raw in decode_untrusted(_split, data)]


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

    headers = _known({name.lower(): value for name, value in headers.items()}, "ce-")
    if media_type(headers.get("content-type", "")) == STRUCTURED:
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
    named = _known({name.lower(): content or b"" for name, content in headers}, "ce_")
    kind = media_type(named.get("content-type", b"").decode(errors="replace"))
    if kind == STRUCTURED or named.keys().isdisjoint(f"ce_{name}" for name in REQUIRED):
        return from_json(value, types)
    return _binary(lambda: from_binary(KafkaMessage(named, None, value), _format()), named, value, types)


def _known(headers: dict[str, T], prefix: str) -> dict[str, T]:
    """What is read of a message's headers. Others may be anything, also what is no text."""
    return {
        name: value
        for name, value in headers.items()
        if name == "content-type" or (name.startswith(prefix) and name.removeprefix(prefix) in _NAMES)
    }


def _cloudevent(event: Event[Body]) -> Any:
    """The event as the cloudevents package's object, its data already bytes (it writes lists wrongly)."""
    from cloudevents.core.v1.event import CloudEvent

    attributes = {name: value for name, value in attributes_of(event).items() if value}
    attributes["iteration"] = str(event.iteration)
    attributes["time"] = datetime.fromtimestamp(event.time, UTC)
    data = None if isinstance(event.data, Claim) else event.encoded or encode_body(event.data)
    cloudevent = CloudEvent(attributes=attributes, data=data)
    if not event.time:  # left out above, the package would invent one
        cloudevent.get_attributes().pop("time")
    return cloudevent


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
    given = {"datacontenttype", *(name[3:] for name in headers)}
    require(given.__contains__)
    attributes = dict(decode_untrusted(lambda _: parse(), body).get_attributes())
    sent = given & attributes.keys()
    known: dict[str, Any] = {name: str(attributes[name]) for name in Wire.__struct_fields__ if name in sent}
    if "time" in sent:
        known["time"] = attributes["time"].isoformat()
    return event_of(Wire(**{**known, "data": msgspec.Raw(body)}), types)
