from __future__ import annotations

import msgspec
import pytest

from core.toys import FlakyStore
from varloop.errors import CorruptObject, MissingObject, SchemaError
from varloop.events import Body, CancelRequested, Claim, Event
from varloop.store.memory import MemoryStore
from varloop.wire.claims import LIMIT, Claims
from varloop.wire.codec import encode_body, from_json, to_json

LARGE = CancelRequested(reason="x" * LIMIT)


def carrying(body: Body, run: str = "r") -> Event[Body]:
    """An event with this body."""
    return Event(id="i", source="app", run=run, data=body, time=0.0)


def test_a_small_body_travels_itself() -> None:
    """A body of up to 32 KiB of JSON stays in its event; nothing is stored."""
    store = MemoryStore()
    fits = CancelRequested(reason="x" * (LIMIT - len(encode_body(CancelRequested()))))

    assert len(encode_body(fits)) == LIMIT
    assert Claims(store).deposit(fits, "r") == (fits, encode_body(fits))
    assert list(store.keys()) == []


def test_a_large_body_is_deposited() -> None:
    """A larger body becomes a claim, and the event with it is small."""
    store = MemoryStore()
    claim, data = Claims(store).deposit(LARGE, "r")

    assert isinstance(claim, Claim)
    assert (claim.of, claim.ref) == (LARGE.type, next(store.keys()))
    assert store.get(claim.ref) == encode_body(LARGE)
    assert data == encode_body(claim)
    assert len(to_json(carrying(claim))) < 500


def test_anybody_redeems_it() -> None:
    """Another process gets the same body from the event as it came over the wire."""
    store = MemoryStore()
    claim, _ = Claims(store).deposit(LARGE, "r")

    assert Claims(store).redeem(from_json(to_json(carrying(claim)))) == LARGE


def test_the_same_body_is_one_object() -> None:
    """Depositing a body twice stores it once."""
    store = MemoryStore()

    assert Claims(store).deposit(LARGE, "r") == Claims(store).deposit(LARGE, "r")
    assert len(list(store.keys())) == 1


def test_what_is_at_hand_is_not_fetched() -> None:
    """What was just deposited or redeemed here costs no read, and the oldest is forgotten."""
    store = FlakyStore(lambda n: False)
    claims = Claims(store, capacity=1)
    first, _ = claims.deposit(LARGE, "r")
    spent = store.operations

    assert claims.redeem(carrying(first)) == LARGE
    assert store.operations == spent
    claims.deposit(CancelRequested(reason="y" * LIMIT), "r")
    assert claims.redeem(carrying(first)) == LARGE
    assert store.operations == spent + 2


def test_a_body_that_travelled_itself() -> None:
    """An event that carries its body is redeemed to that body."""
    assert Claims(MemoryStore()).redeem(carrying(CancelRequested())) == CancelRequested()


def test_a_claim_on_nothing() -> None:
    """If the object is gone, the error says which."""
    with pytest.raises(MissingObject, match="has no object runs/r/objects/1234"):
        Claims(MemoryStore()).redeem(carrying(Claim(of=LARGE.type, ref="runs/r/objects/1234")))


def test_a_claim_on_something_else() -> None:
    """A claim cannot be used to read what is no object, nor an object under another's name."""
    store = MemoryStore()
    store.put("runs/r/submitted", b"{}")
    store.put("runs/r/objects/1234", b"{}")

    with pytest.raises(SchemaError, match="run r: 'runs/r/submitted' is not a reference"):
        Claims(store).redeem(carrying(Claim(of=LARGE.type, ref="runs/r/submitted")))
    with pytest.raises(CorruptObject, match="run r: object runs/r/objects/1234 does not match its name"):
        Claims(store).redeem(carrying(Claim(of=LARGE.type, ref="runs/r/objects/1234")))


def test_a_claim_of_another_type() -> None:
    """An object that does not fit the claimed type is refused, even when it is at hand as another."""
    store = MemoryStore()
    claims = Claims(store)
    claim, _ = claims.deposit(LARGE, "r")
    assert isinstance(claim, Claim)

    for of in ("dev.varloop.run.completed", "dev.varloop.run.unknown"):
        with pytest.raises(SchemaError, match=of):
            claims.redeem(carrying(msgspec.structs.replace(claim, of=of)))
