from __future__ import annotations

from typing import Any

import pytest

from varloop import embedded
from varloop.client.remote import RemoteClient, connect
from varloop.context import Resources
from varloop.errors import UsageError
from varloop.events import Event
from varloop.store.memory import MemoryStore
from varloop.testing import FakeClock

SPEC = {
    "problem": {"kind": "energy", "observable": [["Z", 1.0]]},
    "circuit": {"library": "efficient_su2", "options": {"num_qubits": 1, "reps": 1}},
    "seed": 3,
    "budget": {"iterations": 3},
}


class Elsewhere(FakeClock):
    """Functions elsewhere: they work while the client waits."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self.there = embedded(store)
        self.looks = 0

    def publish(self, *events: Event[Any]) -> None:
        """Take events."""
        self.there.publish(*events)

    def sleep(self, seconds: float) -> None:
        """At the second look there is something."""
        super().sleep(seconds)
        self.looks += 1
        if self.looks == 2:
            self.there.host.drain()


def test_a_run_elsewhere_is_followed_to_its_end() -> None:
    """The client publishes, looks at the store now and then, and has every recorded event and the result."""
    store = MemoryStore()
    elsewhere = Elsewhere(store)
    client = RemoteClient(elsewhere, Resources(store, elsewhere))

    run = client.submit(SPEC)
    types = [event.type.removeprefix("dev.varloop.") for event in run.watch()]

    assert elsewhere.looks == 2
    assert (types[0], types[1], types[-1]) == ("run.submitted", "circuit.encoded", "run.completed")
    assert run.result() == embedded().submit(SPEC).result()


def test_a_client_of_a_broker_needs_its_url() -> None:
    """Another scheme is refused before anything is published."""
    with pytest.raises(UsageError, match="no bus at 'amqp://host'"):
        connect("amqp://host", "memory:")
    assert isinstance(connect("http://host/ns/broker", MemoryStore()), RemoteClient)
