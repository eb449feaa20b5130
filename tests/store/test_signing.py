"""With VARLOOP_KEY functions believe nothing that somebody without the key stored or sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

import toy
from varloop.client import embedded
from varloop.errors import CorruptObject, RunEnded, SchemaError, UsageError
from varloop.events import CancelRequested, Event, Memo, ParametersProposed, event_id
from varloop.runs import StoredRun
from varloop.store import Store, open_store
from varloop.support.signing import own_key, sign
from varloop.wire.codec import encode_body, from_http, from_json, from_kafka, to_http, to_json, to_kafka

KEY, OTHER = "one-key-of-the-laboratory-32-bytes", "another-key-that-a-stranger-made-up"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One that several may open."""
    return open_store(str(tmp_path))


def use(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """From now on this process has this key; an empty one is none."""
    monkeypatch.setenv("VARLOOP_KEY", key)
    own_key.cache_clear()


@pytest.mark.parametrize("writer", ["", OTHER])
def test_what_a_stranger_stored_is_not_believed(
    store: Store, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    """An object that was written without the key, or with another, is an error for who has the key."""
    use(monkeypatch, writer)
    store.put("a", b"forged")
    use(monkeypatch, KEY)

    for read in (store.get, store.find):
        with pytest.raises(CorruptObject, match="not signed with the key"):
            read("a")
    store.put("a", b"mine")
    assert store.get("a") == b"mine"


def test_what_was_moved_is_not_believed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signed object is good under its own key alone."""
    use(monkeypatch, KEY)
    store.put("runs/a/journal/000000/encode", b"mine")
    sealed = store._read("runs/a/journal/000000/encode")
    assert sealed is not None
    store._write("runs/b/journal/000000/encode", sealed)

    with pytest.raises(CorruptObject, match="not signed with the key"):
        store.get("runs/b/journal/000000/encode")


def test_who_has_no_key_reads(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who only looks needs no key, and still sees what was damaged."""
    use(monkeypatch, KEY)
    store.put("a", b"mine")
    use(monkeypatch, "")
    assert store.get("a") == b"mine"

    sealed = store._read("a")
    assert sealed is not None
    store._write("a", sealed + b"x")
    with pytest.raises(CorruptObject, match="does not match its digest"):
        store.get("a")


def proposal(**changes: Any) -> Event[Any]:
    """An event as a function makes it, with the key that is used."""
    data = ParametersProposed(template="t", points=[[0.0]], memo=Memo("000000/encode", "0"))
    raw = encode_body(data)
    id = event_id("default", "r", 1, data.type, raw)
    made = Event(id=id, source="varloop/optimize", run="r", data=data, time=1.0, iteration=1, encoded=raw)
    return msgspec.structs.replace(made, **changes)


@pytest.mark.parametrize("writer", ["", OTHER])
def test_what_a_stranger_sent_is_not_believed(monkeypatch: pytest.MonkeyPatch, writer: str) -> None:
    """On every wire, however well the stranger knows how ids are made."""
    use(monkeypatch, writer)
    forged = proposal()
    structured, (headers, body), (names, _, value) = to_json(forged), to_http(forged), to_kafka(forged)
    use(monkeypatch, KEY)

    for read in (
        lambda: from_json(structured),
        lambda: from_http(headers, body),
        lambda: from_kafka(names, value),
    ):
        with pytest.raises(SchemaError, match="not signed with VARLOOP_KEY"):
            read()


def test_what_was_signed_is_believed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own functions' events are read by who has the key, and by who has none; altered ones are refused."""
    use(monkeypatch, KEY)
    mine = proposal()
    assert mine.id[14] == "8"
    assert from_json(to_json(mine)) == mine
    for change in ({"iteration": 2}, {"run": "s"}, {"pipeline": "other"}):
        with pytest.raises(SchemaError, match="altered"):
            from_json(to_json(msgspec.structs.replace(mine, **change)))
    use(monkeypatch, "")
    assert from_json(to_json(mine)) == mine


def test_applications_need_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they may send is not signed."""
    use(monkeypatch, KEY)
    cancel = Event(id="1", source="app", run="r", data=CancelRequested(), time=1.0)

    assert from_json(to_json(cancel)) == cancel


def test_a_key_changes_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed or not, a run ends with the same numbers; who has no key can look at it."""
    results = []
    for key, folder in (("", "plain"), (KEY, "signed")):
        use(monkeypatch, key)
        client = embedded(str(tmp_path / folder), [toy.app])
        results.append(client.submit({**toy.SPEC, "shots": 100}, run="r", pipeline="toy").result())
    assert results[0] == results[1]

    use(monkeypatch, "")
    client = embedded(str(tmp_path / "signed"), [toy.app])
    assert client.run("r").state().state == "completed"
    assert len(client.run("r").history()) > 0


def test_a_run_whose_records_a_stranger_alters_does_not_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails and says why; no number of the stranger's is in its result."""
    use(monkeypatch, KEY)
    run = embedded(store, [toy.app]).submit(toy.SPEC, run="r", pipeline="toy")
    for event in run.watch():
        if event.iteration == 2:
            break
    last = max(key for key in store.keys("runs/r/journal/") if key.endswith("/optimize"))
    record = store.get(last).replace(b'"value":', b'"value":-')
    use(monkeypatch, "")
    store.put(last, record)
    use(monkeypatch, KEY)

    client = embedded(store, [toy.app])
    with pytest.raises((RunEnded, CorruptObject), match="not signed"):
        client.run("r").resume().result()
    assert StoredRun(client.resources, "r").ending() is None


def test_a_key_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    """Before anything is written with it."""
    use(monkeypatch, "short")
    with pytest.raises(UsageError, match="at least 32"):
        store.put("a", b"")


def test_a_signature_is_good_for_one_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor can parts be cut differently."""
    use(monkeypatch, KEY)
    made = {
        sign("event", b"ab", b"c"),
        sign("event", b"a", b"bc"),
        sign("event", b"abc"),
        sign("object", b"abc"),
    }
    assert len(made) == 4
    use(monkeypatch, "")
    assert sign("event", b"abc") == b""
