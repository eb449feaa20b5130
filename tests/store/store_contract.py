"""What every store does, whatever holds its objects."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.racers import race
from varloop.errors import CorruptObject, MissingObject, PermanentError
from varloop.store import Store

__all__ = ["SharedStoreContract", "StoreContract", "create_all"]

INVALID = ["", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\0b", "a\nb", "a\\b"]
INVALID += [".partial-1", "a/.partial-x", "a" * 201, "ü" * 101, "/".join(["a" * 99] * 9), "\ud800"]

parts = st.text(
    st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="/\\"), min_size=1, max_size=20
).filter(lambda part: part not in (".", "..") and not part.startswith(".partial-"))
shared = settings(
    max_examples=30,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


class StoreContract(ABC):
    @pytest.fixture
    @abstractmethod
    def store(self) -> Store:
        """An empty store."""

    @pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 4096], ids=["empty", "byte", "MiB"])
    def test_reads_what_was_written(self, store: Store, data: bytes) -> None:
        """An object of any size comes back byte for byte, by get and by find."""
        store.put("a/b", data)

        assert store.get("a/b") == data
        assert store.find("a/b") == data

    def test_a_missing_object_is_named(self, store: Store) -> None:
        """Reading what is not there raises MissingObject with the key, or gives None from find."""
        store.put("a/b", b"1")

        with pytest.raises(MissingObject, match="a/c"):
            store.get("a/c")
        assert store.find("a/c") is None
        assert store.find("a/b/c") is None
        assert store.find("a") is None

    def test_put_replaces(self, store: Store) -> None:
        """The latest put is what is read."""
        store.put("a", b"1")
        store.put("a", b"22")

        assert store.get("a") == b"22"

    def test_create_never_replaces(self, store: Store) -> None:
        """The first create wins; later ones are told so and change nothing, even with equal bytes."""
        assert store.create("a/b", b"1")
        assert not store.create("a/b", b"2")
        assert not store.create("a/b", b"1")

        assert store.get("a/b") == b"1"

    def test_create_after_put_and_after_delete(self, store: Store) -> None:
        """An object that was put counts as existing; one that was deleted does not."""
        store.put("a", b"1")

        assert not store.create("a", b"2")
        store.delete("a")
        assert store.create("a", b"2")

    def test_delete_is_final_and_repeatable(self, store: Store) -> None:
        """A deleted object is gone from reads and lists; deleting nothing is no error."""
        store.put("a/b", b"1")

        store.delete("a/b")
        store.delete("a/b")
        store.delete("never/there")
        store.delete("never/there/at/all")

        assert store.find("a/b") is None
        assert list(store.keys()) == []

    def test_keys_are_sorted_and_prefixed(self, store: Store) -> None:
        """Keys come in lexical order; a prefix is a string, not a folder."""
        names = ["b", "a/b", "a/b-c", "a/bc/d", "a/bb/d", "ab", "a-b/c", "a/é", "a/z"]
        for name in names:
            store.put(name, b"")

        assert list(store.keys()) == sorted(names)
        assert list(store.keys("a/b")) == ["a/b", "a/b-c", "a/bb/d", "a/bc/d"]
        assert list(store.keys("a/")) == sorted(name for name in names if name.startswith("a/"))
        assert list(store.keys("c")) == []

    @pytest.mark.parametrize("key", INVALID, ids=ascii)
    def test_an_invalid_key_is_refused_everywhere(self, store: Store, key: str) -> None:
        """A key that some store could not hold is a permanent error in all of them, in every verb."""
        for verb in (store.get, store.find, store.delete):
            with pytest.raises(PermanentError, match="valid object key"):
                verb(key)
        for writer in (store.put, store.create):
            with pytest.raises(PermanentError, match="valid object key"):
                writer(key, b"")
        assert list(store.keys()) == []

    def test_a_prefix_outside_is_refused(self, store: Store) -> None:
        """A prefix cannot lead out of the store."""
        with pytest.raises(PermanentError, match="valid object key"):
            list(store.keys("../"))

    @shared
    @given(key=st.lists(parts, min_size=1, max_size=4).map("/".join), data=st.binary(max_size=64))
    def test_any_valid_key_holds_any_bytes(self, store: Store, key: str, data: bytes) -> None:
        """Whatever is not invalid works: create, read, list, delete."""
        for left in store.keys():
            store.delete(left)
        assert store.create(key, data)
        assert store.get(key) == data
        assert list(store.keys()) == [key]
        store.delete(key)

    @shared
    @given(
        data=st.binary(max_size=64), cut=st.integers(0, 96), flip=st.integers(0, 96), bit=st.integers(0, 7)
    )
    def test_damage_is_never_read(self, store: Store, data: bytes, cut: int, flip: int, bit: int) -> None:
        """A truncated object, or one with a single bit changed anywhere, is CorruptObject from get and find."""
        store.put("a", data)
        sealed = store._read("a")
        assert sealed is not None
        altered = bytearray(sealed)
        altered[flip % len(sealed)] ^= 1 << bit
        for damaged in (sealed[: cut % len(sealed)], bytes(altered)):
            store._write("a", damaged)
            for read in (store.get, store.find):
                with pytest.raises(CorruptObject, match="object a "):
                    read("a")

    def test_keys_after_another(self, store: Store) -> None:
        """A listing may begin behind any key, whether or not there is such a one."""
        for key in ("a/1", "a/2", "a/3", "b/1"):
            store.put(key, b"1")

        assert list(store.keys("a/", after="a/1")) == ["a/2", "a/3"]
        assert list(store.keys("a/", after="a/22")) == ["a/3"]
        assert list(store.keys(after="a/3")) == ["b/1"]
        assert list(store.keys("a/", after="a/3")) == []

    def test_folders_are_listed_once(self, store: Store) -> None:
        """Only what holds something further down, in order."""
        for key in ("runs/b/1", "runs/a/x/y", "runs/a/z", "runs/file", "other/c/1", "runs-2/d/1"):
            store.put(key, b"1")

        assert list(store.folders("runs/")) == ["a", "b"]
        store.delete("runs/b/1")
        assert list(store.folders("runs/")) == ["a"]
        assert list(store.folders("none/")) == []

    def test_one_thread_wins(self, store: Store) -> None:
        """Of many threads that create one key at once exactly one is told that it did, and its bytes stay."""
        count, keys = 8, [f"race/{number}" for number in range(10)]
        start, won = threading.Barrier(count), dict[str, list[str]]()

        def run(name: str) -> None:
            start.wait()
            won[name] = [key for key in keys if store.create(key, name.encode())]

        threads = [threading.Thread(target=run, args=(f"thread-{number}",)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(key for mine in won.values() for key in mine) == keys
        for name, mine in won.items():
            assert all(store.get(key) == name.encode() for key in mine)


class SharedStoreContract(StoreContract):
    """A store that other processes can open by its URL."""

    def test_one_process_wins(self, store: Store) -> None:
        """Of several processes that create one key at once exactly one is told that it did; its bytes stay."""
        won = race("store.store_contract", "create_all", store.url)

        assert sorted(key for mine in won for key in mine) == sorted(store.keys())
        for number, mine in enumerate(won):
            assert all(store.get(key) == f"racer-{number}".encode() * 1000 for key in mine)


def create_all(store: Store, name: str, count: int) -> list[str]:
    """Keys that this process created."""
    return [key for key in map("race/{:03d}".format, range(count)) if store.create(key, name.encode() * 1000)]
