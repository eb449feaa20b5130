from __future__ import annotations

from typing import Any

import pytest

from core.toys import FlakyStore
from varloop import embedded
from varloop.client.remote import SILENCE, RemoteClient, connect
from varloop.context import Resources
from varloop.errors import RunTimeout, UsageError
from varloop.events import Event, RunSubmitted
from varloop.runs.follow import Follower, looks
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
    assert run.result() == embedded("memory:").submit(SPEC).result()


def test_a_client_of_a_broker_needs_its_url() -> None:
    """Another scheme is refused before anything is published."""
    with pytest.raises(UsageError, match="no bus at 'amqp://host'"):
        connect("amqp://host", "memory:")
    assert isinstance(connect("http://host/ns/broker", MemoryStore()), RemoteClient)


def test_an_outage_of_the_store_is_waited_for() -> None:
    """Who waits for a result looks again until the store answers, and misses no event."""
    fails = {"now": False}
    store = FlakyStore(lambda number: fails["now"])
    elsewhere = Elsewhere(store)
    client = RemoteClient(elsewhere, Resources(store, elsewhere))
    run = client.submit(SPEC)
    elsewhere.there.host.drain()
    expected = [event.id for event in run.watch()]
    looks = {"count": 0}

    def sleep(seconds: float) -> None:
        looks["count"] += 1
        fails["now"] = looks["count"] < 5
        FakeClock.sleep(elsewhere, seconds)

    elsewhere.sleep = sleep  # type: ignore[method-assign]
    again = RemoteClient(elsewhere, Resources(store, elsewhere)).run(run.id)
    fails["now"] = True

    assert [event.id for event in again.watch()] == expected
    assert looks["count"] == 5


@pytest.mark.parametrize("after", range(1, 20))
def test_a_store_that_goes_away_while_it_is_read_loses_no_news(after: int) -> None:
    """Wherever in a look the store stops to answer, everything is told exactly once."""
    store = FlakyStore(lambda number: False)
    there = embedded(store)
    run = there.submit(SPEC, run="r")
    run.result()
    clock = FakeClock()
    store.operations, store.fails = 0, lambda number: number == after
    news = [each for look in looks(Resources(store, clock), "r") for each in look]
    store.fails = lambda number: False

    assert news == list(Follower(Resources(store, clock), "r").news())


def test_a_run_elsewhere_may_take_longer_than_one_waits() -> None:
    """The time to wait is kept whether or not anything happens."""
    store = MemoryStore()
    client = RemoteClient(Silent(), Resources(store, FakeClock()))

    with pytest.raises(RunTimeout):
        client.submit(SPEC).result(timeout=5)


def test_a_store_that_nobody_writes_to_is_suspected(caplog: pytest.LogCaptureFixture) -> None:
    """A client of another store than the workers' would wait for ever: after a while it says so, once."""
    client = RemoteClient(Silent(), Resources(MemoryStore(), FakeClock()))
    run = client.submit(SPEC, run="lost")
    with pytest.raises(RunTimeout):
        run.result(timeout=10 * SILENCE)

    (told,) = caplog.messages
    assert told.startswith("run lost: nothing of it is in memory: after 15 s")
    assert "does it use this very store?" in told


def test_the_same_submission_again_publishes_what_the_run_waits_for() -> None:
    """A run whose events were lost with their bus goes on when the same script is started again."""
    store, clock = MemoryStore(), FakeClock()
    there = embedded(store)
    run = there.submit(SPEC, run="r")
    for _, _ in zip(range(6), run.watch(), strict=False):
        pass
    bus = Silent()
    RemoteClient(bus, Resources(store, clock)).submit(SPEC, run="r")

    assert [event.id for event in bus.published] == [event.id for event in run.stored.pending()]
    assert RunSubmitted.type not in {event.type for event in bus.published}


class Silent:
    """A bus that nobody listens to."""

    def __init__(self) -> None:
        self.published: list[Event[Any]] = []

    def publish(self, *events: Event[Any]) -> None:
        """Take events."""
        self.published += events
