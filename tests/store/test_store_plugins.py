"""An installed package brings kinds of stores and buses, by entry points."""

from __future__ import annotations

from pathlib import Path

import pytest

import toy
import varloop
from varloop.client import embedded
from varloop.errors import UsageError
from varloop.store import open_store
from varloop.store.memory import MemoryStore

MODULE = """
from varloop.store.memory import MemoryStore

class Shared(MemoryStore):
    def __init__(self, url):
        super().__init__()
        self.url = url

class Bus:
    def __init__(self, url):
        self.url, self.published = url, []

    def publish(self, *events):
        self.published.extend(events)
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with a store of the scheme ``cloud`` and a bus of the scheme ``nats``."""
    (tmp_path / "my_places.py").write_text(MODULE)
    info = tmp_path / "places-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: places\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[varloop.stores]\ncloud = my_places:Shared\nmemory = my_places:Bus\n[varloop.buses]\nnats = my_places:Bus\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_a_run_lies_in_a_store_of_another_kind() -> None:
    """Opened by its scheme; varloop's own schemes mean what they meant."""
    store = open_store("cloud://bucket/x")
    run = embedded(store, [toy.app]).submit(toy.SPEC, pipeline="toy")

    assert (store.url, run.result().iterations) == ("cloud://bucket/x", 6)
    assert type(open_store("memory:")) is MemoryStore
    with pytest.raises(UsageError, match="unknown store"):
        open_store("nats://host")


def test_events_go_to_a_bus_of_another_kind() -> None:
    """A client publishes to it and follows its runs by the store."""
    client = varloop.connect("nats://host/x", MemoryStore())
    client.submit(toy.SPEC, pipeline="toy", run="r")

    assert [event.run for event in client._publisher.published] == ["r"]  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="no bus"):
        varloop.connect("cloud://host", MemoryStore())
