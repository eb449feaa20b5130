"""Events with random faults: bits flipped, bytes lost, values of another kind, attributes of another event."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

from varloop.events import BODIES, Event, event_id
from varloop.wire.codec import from_http, from_json, from_kafka

__all__ = ["Mutant", "Mutator"]

HEADERS = ("specversion", "id", "source", "type", "subject", "time", "dataschema", "pipeline", "iteration")
NASTY: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    3,
    2**31,
    2**63,
    -(2**63),
    10**30,
    0.5,
    -1e308,
    1e-320,
    "",
    "x",
    "é\u0000\u202e",
    "y" * 3000,
    "../../etc/passwd",
    "objects/" + "0" * 64,
    [],
    {},
    [[]],
    [None],
    [[1.0, 2.0]],
    {"kind": "energy"},
    "NaN",
    json.loads("[" * 60 + "]" * 60),
)


class Mutant(NamedTuple):
    """An event on some transport, ready to be read."""

    transport: str
    headers: dict[str, str]
    body: bytes

    def read(self) -> Event[Any]:
        """What a host makes of it."""
        match self.transport:
            case "http":
                return from_http(self.headers, self.body)
            case "kafka":
                headers = [
                    (name.replace("ce-", "ce_", 1), value.encode("utf-8", "surrogatepass"))
                    for name, value in self.headers.items()
                ]
                return from_kafka(headers, self.body)
            case _:
                return from_json(self.body)


class Mutator:
    """Makes mutants of events in structured JSON.

    :param seed: the same seed makes the same mutants.
    """

    def __init__(self, seed: int) -> None:
        self._wires: list[bytes] = []
        self._random = random.Random(seed)
        self.made = 0

    def add(self, *wires: bytes) -> None:
        """Make mutants of these too."""
        self._wires += wires

    def damaged(self) -> Mutant:
        """An event of which one place was damaged on its way: it must be refused, or mean the same."""
        return self._carried(self._random.choice(self._wires), self._bytes_damaged)

    def forged(self) -> Mutant:
        """An event of somebody who knows the protocol: faults in its structure, and an id that fits them."""
        draw = self._random
        wire = json.loads(draw.choice(self._wires))
        for _ in range(draw.choice((1, 1, 1, 2, 5))):
            self._structure_damaged(wire)
        if draw.random() < 0.7:
            _sign(wire)
        if draw.random() < 0.3:
            wire["source"] = "elsewhere"
        raw = json.dumps(wire, separators=(",", ":")).encode("utf-8", "surrogatepass")
        return self._carried(raw, self._bytes_damaged if draw.random() < 0.1 else bytes)

    def _carried(self, raw: bytes, damage: Callable[[bytes], bytes]) -> Mutant:
        """On a transport of its own."""
        self.made += 1
        transport = self._random.choice(("json", "http", "kafka"))
        wire = json.loads(raw)
        if transport == "json" or not isinstance(wire, dict) or "data" not in wire:
            return Mutant("json", {}, damage(raw))
        data = json.dumps(wire["data"], separators=(",", ":")).encode("utf-8", "surrogatepass")
        headers = {
            f"ce-{name}": value if isinstance(value := wire[name], str) else json.dumps(value)
            for name in HEADERS
            if name in wire
        }
        headers["content-type"] = "application/json"
        if self._random.random() < 0.5 and damage is not bytes:
            name = self._random.choice(sorted(headers))
            headers[name] = damage(headers[name].encode("utf-8", "surrogatepass")).decode("latin-1")
            return Mutant(transport, headers, data)
        return Mutant(transport, headers, damage(data))

    def _bytes_damaged(self, raw: bytes) -> bytes:
        """Bits flipped, or a range lost, doubled, overwritten or inserted."""
        draw = self._random
        start = draw.randrange(len(raw) + 1)
        end = min(len(raw), start + draw.choice((1, 1, 2, 8, 100)))
        junk = draw.randbytes(draw.choice((1, 1, 4, 50)))
        match draw.randrange(6):
            case 0:
                return raw[:start] + raw[end:]
            case 1:
                return raw[:start]
            case 2:
                return raw[:end] + raw[start:]
            case 3:
                return raw[:start] + junk + raw[start:]
            case 4:
                return raw[:start] + junk + raw[end:]
            case _:
                flipped = bytes(byte ^ (1 << draw.randrange(8)) for byte in raw[start:end])
                return raw[:start] + flipped + raw[end:]

    def _structure_damaged(self, wire: dict[str, Any]) -> None:
        """Another value, a missing or an unknown key, or a part of another event."""
        draw = self._random
        part: Any = wire if draw.random() < 0.25 else wire.get("data", wire)
        while isinstance(part, dict | list) and part:
            keys = sorted(part) if isinstance(part, dict) else range(len(part))
            key = draw.choice(list(keys))
            if isinstance(part[key], dict | list) and part[key] and draw.random() < 0.8:
                part = part[key]
                continue
            match draw.randrange(5):
                case 0:
                    del part[key]
                case 1:
                    other = json.loads(draw.choice(self._wires))
                    part[key] = other.get(key) if isinstance(key, str) and key in other else other["data"]
                case 2 if wire is part:
                    wire["type"] = draw.choice(sorted(BODIES))
                case 3 if isinstance(part[key], int | float):
                    part[key] *= draw.choice((-1, 2, 1e6, 1e300))
                case _:
                    part[key] = deepcopy(draw.choice(NASTY))
            return


def _sign(wire: dict[str, Any]) -> None:
    """Give an event the id that fits its content, where it has what that takes."""
    data = json.dumps(wire.get("data"), separators=(",", ":")).encode("utf-8", "surrogatepass")
    known = (wire.get("pipeline", "default"), wire.get("subject"), wire.get("iteration", 0), wire.get("type"))
    pipeline, run, iteration, type = known
    if isinstance(pipeline, str) and isinstance(run, str) and isinstance(type, str):
        wire["id"] = event_id(pipeline, run, iteration, type, data)
