"""Records that nobody can accept, each with a pattern that is found in the reason beside it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from varloop.wire.codec import OWN_SOURCE

__all__ = ["BAD", "FOREIGN", "OVERSIZE", "Poison"]

PREFIX = "dev.varloop."
SUBMITTED, ENCODED, EXECUTED, COMPLETED, FAILED = (
    PREFIX + name
    for name in ("run.submitted", "circuit.encoded", "circuit.executed", "run.completed", "run.failed")
)
LARGEST = 1_048_200
"""bytes of a value that a broker with standard settings still takes in a record with these headers"""


class Poison(NamedTuple):
    """One record."""

    name: str
    """also its key"""
    value: bytes | None
    reason: str = ""
    """pattern in the reason; empty for foreign records that are left alone"""
    headers: tuple[tuple[str, bytes], ...] = ()


def head(type: str, **attributes: str) -> tuple[tuple[str, bytes], ...]:
    """Headers of a CloudEvent in binary mode."""
    named = {
        "specversion": "1.0",
        "id": "1",
        "source": "somebody",
        "type": type,
        "subject": "poisoned",
        **attributes,
    }
    encoded = tuple((f"ce_{name}", value.encode()) for name, value in named.items() if value)
    return (*encoded, ("content-type", b"application/json"))


def structured(**attributes: Any) -> bytes:
    """A CloudEvent in structured mode."""
    return json.dumps(
        {"specversion": "1.0", "id": "1", "source": "s", "type": SUBMITTED, "subject": "p", **attributes}
    ).encode()


class Name(str):
    """A header's name whose bytes are no UTF-8."""

    def encode(self, *how: str) -> bytes:
        """As clients ask for it."""
        return b"\xff\xfe"


REQUEST = b'{"template":"t","points":[[0.0]],"memo":{"key":"000000/encode","digest":"d"}}'
SPEC = b'{"spec":{}}'
FAILURE = b'{"error":"E","detail":"made up"}'

BAD = (
    Poison("bytes", b"\xff\xfe\x00 no JSON", "not a CloudEvent"),
    Poison("empty", b"", "not a CloudEvent"),
    Poison("text", b"hello", "not a CloudEvent"),
    Poison("no event", b'{"order": 7}', "missing"),
    Poison("an array", b"[1, 2, 3]", "not a CloudEvent"),
    Poison("deep", b"[" * 100_000, "not a CloudEvent"),
    Poison("tombstone", None, "tombstone"),
    Poison("tombstone of a type", None, "tombstone", head(SUBMITTED)),
    Poison("unknown type", b"{}", "unknown event type", head(PREFIX + "nonsense")),
    Poison("unknown type, structured", structured(type=PREFIX + "nonsense"), "unknown event type"),
    Poison("no data", structured(), "schema"),
    Poison("bytes as data", b"\xff\xff", "schema|can't decode", head(SUBMITTED)),
    Poison("data of another type", REQUEST, "schema", head(SUBMITTED)),
    Poison("number for a list", b'{"template":"t","points":7}', "schema", head(ENCODED)),
    Poison("nothing for a result", b"{}", "schema", head(EXECUTED)),
    Poison("nothing for an end", b"{}", "schema", head(COMPLETED)),
    Poison("tombstone of an end", None, "tombstone", head(COMPLETED)),
    Poison(
        "later schema",
        SPEC,
        "not version 1",
        head(SUBMITTED, dataschema="urn:varloop:schema:9:run.submitted"),
    ),
    Poison("name of a header", SPEC, "missing", ((Name("x"), b"1"),)),
    Poison("empty type", SPEC, "missing", (("ce_specversion", b"1.0"), ("ce_type", b""))),
    Poison("no id", SPEC, "id missing", head(SUBMITTED, id="")),
    Poison("version 0.3", SPEC, "0.3", head(SUBMITTED, specversion="0.3")),
    Poison("iteration", REQUEST, "iteration", head(ENCODED, iteration="soon")),
    Poison("far iteration", REQUEST, "999999", head(ENCODED, iteration="1000000")),
    Poison("time", SPEC, "not a CloudEvent", head(SUBMITTED, time="yesterday")),
    Poison("run id", SPEC, "run id", head(SUBMITTED, subject="../../etc/passwd")),
    Poison("altered", REQUEST, "altered", head(ENCODED, source=OWN_SOURCE + "encode")),
    Poison("altered end", FAILURE, "altered", head(FAILED, source=OWN_SOURCE + "optimize")),
    Poison("unknown run", REQUEST, "not taken from applications", head(ENCODED, subject="never-submitted")),
    Poison("unknown pipeline", SPEC, "no pipeline", head(SUBMITTED, pipeline="elsewhere")),
    Poison("large", b'"' + b"x" * 900_000 + b'"', "schema", head(SUBMITTED)),
)

OVERSIZE = Poison("as large as can be", b'"' + b"x" * (LARGEST - 2) + b'"', "schema", head(SUBMITTED))
"""its copy with the reason beside it is larger than the broker's standard limit"""

FOREIGN = (
    Poison("order", b'{"order": 7}', headers=head("com.example.order.created")),
    Poison("order, structured", structured(type="com.example.order.created", data={"order": 7})),
    Poison("foreign bytes", b"\x00\x01", headers=head("com.example.picture")),
)
