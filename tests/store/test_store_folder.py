from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.racers import race
from store.store_contract import SharedStoreContract
from varloop.errors import StoreUnavailable
from varloop.store import Store, open_store


class TestFolder(SharedStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """In a folder that does not exist yet."""
        return open_store(f"folder:{tmp_path / 'objects'}")


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may be longer than 64 KiB, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_is_temporary_and_leaves_nothing(tmp_path: Path) -> None:
    """A write that the disk has no room for is StoreUnavailable; the old object stays, no scrap remains."""
    store = open_store(str(tmp_path))
    store.put("a", b"old")

    for verb in (store.put, store.create):
        with pytest.raises(StoreUnavailable, match="check space"):
            verb("a", bytes(100_000))

    assert store.get("a") == b"old"
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_a_key_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder cannot hold an object below or above another; no verb takes that for an existing object."""
    store = open_store(str(tmp_path))
    store.put("a", b"1")
    store.put("b/c", b"1")

    for verb in (store.put, store.create):
        for key in ("a/x", "b"):
            with pytest.raises(StoreUnavailable, match=str(tmp_path)):
                verb(key, b"2")


def test_killed_writers_leave_whole_objects(tmp_path: Path) -> None:
    """However often a process is killed while it writes, readers find the old object or the new one."""
    writer = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from varloop.store import open_store\n"
        f"store = open_store({str(tmp_path)!r})\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for letter in b'abc': store.put('k', bytes([letter]) * 300_000)\n"
    )
    store = open_store(str(tmp_path))
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", writer], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            while store.find("k") is None:
                pass
            child.kill()
        assert len(set(store.get("k"))) == 1
        assert list(store.keys()) == ["k"]


def test_opens_the_same_folder_by_path_and_by_url(tmp_path: Path) -> None:
    """A plain path and the store's own URL open the same objects."""
    store = open_store(str(tmp_path))
    store.put("a", b"1")

    assert open_store(store.url).get("a") == b"1"


def test_what_one_deletes_holds_up_nobody_who_writes(tmp_path: Path) -> None:
    """Processes that write and delete beside each other, deep down, meet no error and lose no object."""
    store = open_store(str(tmp_path))
    kept = race("store.test_store_folder", "write_and_delete", store.url, count=150)

    assert sorted(key for mine in kept for key in mine) == sorted(store.keys())


def write_and_delete(store: Store, name: str, count: int) -> list[str]:
    """Keys that this process left behind, after it wrote and deleted many others beside those of other processes."""
    for number in range(count):
        key = f"a/b/{number % 3}/c/{name}-{number}"
        assert store.create(key, b"1")
        store.put(key, b"2")
        assert store.get(key) == b"2"
        store.delete(key)
    store.put(f"a/b/0/{name}", b"kept")
    return [f"a/b/0/{name}"]
