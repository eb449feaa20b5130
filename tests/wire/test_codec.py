from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.wires import events, http, structured, text
from varloop.errors import SchemaError
from varloop.evaluation import Evaluation
from varloop.events import (
    BODIES,
    Body,
    CancelRequested,
    Claim,
    Event,
    Memo,
    ObjectiveEvaluated,
    RunCompleted,
    event_id,
)
from varloop.wire import codec
from varloop.wire.codec import (
    MAX_BYTES,
    STRUCTURED,
    batch_from_json,
    batch_to_json,
    decode_body,
    from_http,
    from_json,
    from_kafka,
    to_http,
    to_json,
    to_kafka,
)

Read = Callable[..., Event[Any]]


def from_headers(**changes: str | None) -> Event[Any]:
    """The minimal event in HTTP's binary mode, with changes."""
    return from_http(http(**changes), b'{"reason":"enough"}')


def from_record(**changes: str | None) -> Event[Any]:
    """The minimal event in Kafka's binary mode, with changes."""
    headers = [(name.replace("ce-", "ce_"), value.encode()) for name, value in http(**changes).items()]
    return from_kafka(headers, b'{"reason":"enough"}')


def from_text(**changes: str | None) -> Event[Any]:
    """The minimal event in structured JSON, with changes."""
    return from_json(structured(**changes))


every_way = pytest.mark.parametrize("read", [from_text, from_headers, from_record])


@given(events())
def test_json_round_trip(event: Event[Any]) -> None:
    """What is written as JSON is read as the same event, and written again as the same bytes."""
    wire = to_json(event)
    again = from_json(wire)

    assert again == event
    assert to_json(again) == wire


@given(events())
def test_http_round_trip(event: Event[Any]) -> None:
    """What is written to HTTP is read as the same event; no character of any attribute is lost."""
    headers, body = to_http(event)

    assert from_http(headers, body) == event
    assert all(value.isascii() and value.isprintable() for value in headers.values())


@given(events())
def test_kafka_round_trip(event: Event[Any]) -> None:
    """What is written to Kafka is read as the same event; the run is the key."""
    headers, key, value = to_kafka(event)

    assert from_kafka(headers, value) == event
    assert key.decode() == event.run


@given(events())
def test_transports_agree(event: Event[Any]) -> None:
    """Structured JSON arrives the same in a body, in a record, and in a batch."""
    wire = to_json(event)

    assert from_http({"Content-Type": f"{STRUCTURED}; charset=utf-8"}, wire) == event
    assert from_kafka([("content-type", STRUCTURED.encode())], wire) == event
    assert [from_json(raw) for raw in batch_from_json(batch_to_json([event, event]))] == [event, event]


@every_way
def test_defaults_of_a_minimal_event(read: Read) -> None:
    """An event from elsewhere needs only CloudEvents' required attributes and a run."""
    event = read()

    assert (event.run, event.pipeline, event.iteration, event.time) == ("r", "default", 0, 0.0)
    assert event.data == CancelRequested(reason="enough")


@every_way
def test_the_id_stands_in_for_the_run(read: Read) -> None:
    """Without a subject, the event's id is the run's id."""
    assert read(subject=None).run == "e1"


@every_way
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "id"),
        ({"source": None}, "source"),
        ({"type": None}, "type"),
        ({"specversion": None}, "specversion"),
        ({"specversion": "0.3"}, "version"),
        ({"type": "dev.varloop.run.exploded"}, "unknown event type 'dev.varloop.run.exploded'.*known: dev"),
        ({"dataschema": "urn:varloop:schema:2:run.cancel.requested"}, "version 1.*use a matching varloop"),
        ({"subject": "../r"}, "'../r' is not a run id"),
        ({"subject": "r" * 101}, "is not a run id"),
        ({"subject": "r\n"}, "is not a run id"),
        ({"id": "i" * 257}, "longer than 256"),
        ({"source": "s" * 257}, "longer than 256"),
        ({"pipeline": "p" * 257}, "longer than 256"),
        ({"traceparent": "t" * 257}, "longer than 256"),
        ({"tracestate": "t" * 513}, "longer than 512"),
        ({"iteration": "one"}, "iteration 'one' is not an integer"),
        ({"iteration": "-1"}, "iteration -1 is not in 0"),
        ({"iteration": "1000000"}, "is not in 0"),
        ({"iteration": "9" * 5000}, "is not an integer"),
        ({"time": "yesterday"}, "'yest"),
        ({"source": "varloop/execute"}, "was altered on its way"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_refused(read: Read, change: dict[str, str | None], message: str) -> None:
    """A fault of an attribute is a SchemaError that names it, however the event arrived."""
    with pytest.raises(SchemaError, match=message):
        read(**change)


@every_way
def test_unknown_extensions_are_ignored(read: Read) -> None:
    """Attributes that others add on the way do no harm."""
    assert read(knativearrivaltime="2026-11-21T00:00:00Z", data1="x") == read()


@every_way
@pytest.mark.parametrize(
    "content", ["application/JSON; charset=UTF-8", "Application/Json", "application/json;x=y"]
)
def test_a_media_type_is_no_matter_of_case(read: Read, content: str) -> None:
    """As SDKs of other languages write it."""
    attribute = "datacontenttype" if read is from_text else "content-type"
    assert read(**{attribute: content}).data == CancelRequested(reason="enough")


def test_null_is_absent() -> None:
    """The JSON format lets optional attributes be null; required ones are missing then."""
    plain = json.loads(structured())
    for name in ("time", "subject", "dataschema", "pipeline", "iteration", "traceparent"):
        without = {key: value for key, value in plain.items() if key != name}
        event = from_json(json.dumps({**plain, name: None}).encode())
        assert event == from_json(json.dumps(without).encode())
    with pytest.raises(SchemaError, match="id missing"):
        from_json(json.dumps({**plain, "id": None}).encode())
    with pytest.raises(SchemaError, match="Expected `str`"):
        from_json(json.dumps({**plain, "subject": 5}).encode())


def test_data_may_come_in_base64() -> None:
    """So do SDKs write data that is bytes to them."""
    plain = json.loads(structured())
    data = json.dumps(plain.pop("data")).encode()
    event = from_json(json.dumps({**plain, "data_base64": base64.b64encode(data).decode()}).encode())
    assert event.data == CancelRequested(reason="enough")
    with pytest.raises(SchemaError, match="base64"):
        from_json(json.dumps({**plain, "data_base64": "*"}).encode())


@pytest.mark.parametrize(
    "headers",
    [
        [("user", b"Jos\xe9")],
        [("elasticapmtraceparent", bytes(range(256)))],
        [("schema-id", b"\x00\x00\x00\xff")],
        [("ce_someextension", b"\xff")],
        [("empty", None)],
    ],
)
def test_foreign_headers_harm_nobody(headers: list[tuple[str, bytes]]) -> None:
    """Whatever others put beside an event in binary or structured mode is not looked at."""
    binary = [(name.replace("ce-", "ce_"), value.encode()) for name, value in http().items()]
    assert from_kafka([*binary, *headers], b'{"reason":"enough"}') == from_record()
    assert from_kafka(headers, structured()) == from_text()


@pytest.mark.parametrize(
    "content", ["application/cloudevents+json", "Application/CloudEvents+JSON; charset=utf-8"]
)
def test_structured_mode_is_told_by_its_content_type(content: str) -> None:
    """Also with attributes in headers beside it, as tracers put them there."""
    trace = ("ce_traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    assert (
        from_kafka([("content-type", content.encode()), trace, ("ce_id", b"9")], structured()) == from_text()
    )
    assert from_kafka([trace], structured()) == from_text()
    assert from_http({"Content-Type": content, "ce-traceparent": "00-1"}, structured()) == from_text()


@every_way
@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_that_cannot_be_written_is_refused(read: Read, time: str) -> None:
    """A timestamp outside the years 1 to 9999 in UTC is refused when it arrives, not when it is stored."""
    with pytest.raises(SchemaError, match="not an RFC 3339 timestamp"):
        read(time=time)


@every_way
def test_a_time_needs_a_zone(read: Read) -> None:
    """A local time means another moment on each machine, so it is refused."""
    with pytest.raises(SchemaError, match="time"):
        read(time="2026-11-21T00:00:00")


@every_way
@given(time=st.datetimes(timezones=st.timezones()))
def test_any_other_time_can_be_written_again(read: Read, time: Any) -> None:
    """A time that was accepted can be written."""
    try:
        event = read(time=time.isoformat())
    except SchemaError:
        return
    assert abs(from_json(to_json(event)).time - event.time) < 1e-4


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'"x"', b'{"reason":1}', b"{", b"\xff", b'{"reason":"\xff"}', b"[" * 200_000],
)
def test_data_that_does_not_fit(body: bytes) -> None:
    """Data that is not the type's schema is refused in binary mode and in structured mode."""
    with pytest.raises(SchemaError):
        from_http(http(), body)
    with pytest.raises(SchemaError):
        from_json(structured(data=None)[:-1] + b',"data":' + body + b"}")


@pytest.mark.parametrize("raw", [b"", b"{}", b"null", b"[]", b"\xff\xfe", b"{" * 200_000, b'{"id":5}'])
def test_bytes_that_are_no_event(raw: bytes) -> None:
    """Bytes that are no CloudEvent are a SchemaError on every transport."""
    for read in (
        lambda: from_json(raw),
        lambda: from_http({}, raw),
        lambda: from_http({"content-type": STRUCTURED}, raw),
        lambda: from_kafka([], raw),
    ):
        with pytest.raises(SchemaError):
            read()


def test_what_nobody_reads_must_be_text_too() -> None:
    """Bytes that are no UTF-8 are refused even where no field is read: they would be handed on."""
    body = b'{"reason":"x","unknown":{"\xff":"\xfe"}}'

    for read in (
        lambda: from_http(http(), body),
        lambda: from_json(structured(data=None)[:-1] + b',"data":' + body + b"}"),
    ):
        with pytest.raises(SchemaError, match="utf-8"):
            read()


def test_other_content_is_refused() -> None:
    """Data that is not JSON is refused for what it is."""
    with pytest.raises(SchemaError, match="'text/plain', expected application/json"):
        from_json(structured(datacontenttype="text/plain"))


def test_a_tombstone_is_refused() -> None:
    """A Kafka record without a value is no event."""
    with pytest.raises(SchemaError, match="tombstone"):
        from_kafka([], None)


def test_what_is_too_large_is_refused_unread() -> None:
    """An event of more than 8 MiB is refused before it is parsed, and told where large data belongs."""
    for read in (
        lambda: from_json(b"{" * (MAX_BYTES + 1)),
        lambda: from_http(http(), b"{" * (MAX_BYTES + 1)),
        lambda: batch_from_json(b"[" * (MAX_BYTES + 1)),
    ):
        with pytest.raises(SchemaError, match=r"has 8388609 bytes, at most 8388608.*put large data"):
            read()


@given(events(), st.data())
def test_an_altered_event_of_ours_is_refused(event: Event[Any], data: st.DataObject) -> None:
    """Whatever decides an outcome and is changed on the way betrays itself by the id."""
    if not event.source.startswith("varloop/"):
        return
    wire = json.loads(to_json(event))
    name = data.draw(st.sampled_from(["subject", "iteration", "pipeline", "id"]))
    wire[name] = data.draw(st.integers(0, 10**6 - 1) if name == "iteration" else text.filter(len))
    changed = wire != json.loads(to_json(event))

    if changed:
        with pytest.raises(SchemaError):
            from_json(json.dumps(wire).encode())


def test_altered_data_of_ours_is_refused() -> None:
    """One changed digit in the data of a function's event is noticed."""
    body = CancelRequested(reason="1")
    id = event_id("default", "r", 0, body.type, codec.encode_body(body))
    wire = to_json(Event(id=id, source="varloop/x", run="r", data=body, time=0.0))

    assert from_json(wire).data == body
    with pytest.raises(SchemaError, match="altered"):
        from_json(wire.replace(b'"1"', b'"2"'))


def test_a_claim_travels_without_data() -> None:
    """An event whose body was deposited has a reference and no data, in every mode."""
    event: Event[Claim] = Event(
        id="i", source="app", run="r", data=Claim(of=RunCompleted.type, ref="objects/0"), time=0.0
    )
    headers, body = to_http(event)

    assert json.loads(to_json(event)).get("data", ...) is ...
    assert (headers["ce-dataref"], body) == ("objects/0", b"")


class Heartbeat(Body, frozen=True):
    type = "com.example.heartbeat"
    beats: int = 0


def test_types_of_your_own() -> None:
    """A host that knows a type of yours reads it; it claims no schema of varloop's."""
    event = Event(id="h", source="app", run="r", data=Heartbeat(3), time=0.0)
    types = {**BODIES, Heartbeat.type: Heartbeat}

    assert from_json(to_json(event), types) == event
    assert "dataschema" not in json.loads(to_json(event))
    with pytest.raises(SchemaError, match="unknown event type"):
        from_json(to_json(event))


def test_ours_say_their_schema() -> None:
    """An event of varloop's names the version of its schema and its run as the partition key."""
    wire = json.loads(to_json(Event(id="i", source="app", run="r", data=CancelRequested(), time=0.0)))

    assert wire["dataschema"] == "urn:varloop:schema:1:run.cancel.requested"
    assert (wire["subject"], wire["partitionkey"]) == ("r", "r")


def test_one_bad_event_spoils_no_batch() -> None:
    """A batch is split before anything in it is read."""
    good = structured()

    assert batch_from_json(b"[%b,{},%b]" % (good, good)) == [good, b"{}", good]
    with pytest.raises(SchemaError):
        batch_from_json(b"{}")


def refusal(read: Callable[[], object]) -> str:
    """Why it was refused, or nothing."""
    try:
        read()
    except SchemaError as error:
        return str(error)
    return ""


@given(st.binary(max_size=64))
def test_arbitrary_bytes_are_only_ever_refused(raw: bytes) -> None:
    """No bytes make a decoder raise anything else."""
    for read in (from_json, batch_from_json, lambda data: from_http(http(), data)):
        assert len(refusal(lambda read=read: read(raw))) < 1000


@given(st.dictionaries(st.sampled_from(sorted(http())), st.text(max_size=12)))
def test_arbitrary_headers_are_only_ever_refused(headers: dict[str, str]) -> None:
    """No headers make a decoder raise anything else."""
    for name in ("ce-time", "ce-iteration", "ce-dataref", "ce-pipeline"):
        changed = {**http(), **headers, name: headers.get("ce-id", "x")}
        assert len(refusal(lambda changed=changed: from_http(changed, b"{}"))) < 1000


def test_numbers_survive_exactly() -> None:
    """Floats travel with all their digits; what is no number is refused, not rounded to null."""
    body = ObjectiveEvaluated(
        memo=Memo("", ""), evaluation=Evaluation([0.1 + 0.2, 5e-324, -1.7976931348623157e308], [])
    )

    assert decode_body(body.type, codec.encode_body(body)) == body
    with pytest.raises(SchemaError, match="Expected `float`, got `null`"):
        decode_body(
            body.type,
            codec.encode_body(msgspec.structs.replace(body, evaluation=Evaluation([float("nan")], []))),
        )


@pytest.mark.parametrize("attribute", ["id", "source", "type", "pipeline", "traceparent"])
@pytest.mark.parametrize("character", ["\n", "\x00", "\x1b", "\x7f", "\x9b"])
def test_no_attribute_holds_a_control_character(attribute: str, character: str) -> None:
    """CloudEvents allows none: a log or a terminal that shows an attribute obeys nothing."""
    wire = {
        "specversion": "1.0",
        "id": "1",
        "source": "s",
        "type": "dev.varloop.run.submitted",
        "data": {"spec": {}},
    }
    wire[attribute] = f"a{character}b"

    with pytest.raises(SchemaError, match=r"control character|a\\nb"):
        from_json(msgspec.json.encode(wire))
