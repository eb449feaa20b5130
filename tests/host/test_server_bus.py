from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from bus.bus_contract import CANCEL, BusContract, cancel
from varloop.bus import Bus, DeadLetter
from varloop.events import BODIES
from varloop.host.server.bus import INBOX, KEPT, LiveBus
from varloop.store.layout import DEAD_LETTERS
from varloop.store.memory import MemoryStore
from varloop.support.clock import SystemClock


class TestLive(BusContract):
    patience = 5.0
    silence = 0.02

    @pytest.fixture
    def bus(self) -> Bus:
        """Over a store in memory."""
        return LiveBus(MemoryStore(), SystemClock())

    def dead_letters(self, bus: Bus) -> Sequence[DeadLetter]:
        """Those at hand."""
        assert isinstance(bus, LiveBus)
        return bus.dead_letters


def test_a_waiting_consumer_hears_of_what_another_thread_publishes() -> None:
    """poll returns as soon as there is something, and at once when the bus is closed."""
    bus = LiveBus(MemoryStore(), SystemClock())
    consumer = bus.consumer("g", [CANCEL])
    for act in (lambda: bus.publish(cancel("r")), bus.close):
        timer = threading.Timer(0.05, act)
        timer.start()
        delivery = consumer.poll(20.0)
        timer.join()
        assert (delivery is None) == (act == bus.close)


def test_an_accepted_event_lies_in_the_store_until_it_is_dealt_with() -> None:
    """Not before it is acknowledged does an event from outside leave the store; a retry keeps it there."""
    store = MemoryStore()
    bus = LiveBus(store, SystemClock())
    consumer = bus.consumer("g", [CANCEL])
    bus.accept(cancel("r"))
    for act in ("retry", "ack"):
        delivery = consumer.poll(5.0)
        assert delivery is not None
        assert [event.run for event in LiveBus(store, SystemClock()).unfinished(BODIES)] == ["r"]
        delivery.retry(0.01) if act == "retry" else delivery.ack()

    assert list(store.keys(INBOX)) == []


def test_every_dead_letter_is_stored_and_few_are_at_hand() -> None:
    """A flood of bad events does not fill the memory."""
    store = MemoryStore()
    bus = LiveBus(store, SystemClock())
    consumer = bus.consumer("g", [CANCEL])
    for number in range(KEPT + 5):
        bus.publish(cancel(f"r{number}"))
        delivery = consumer.poll(5.0)
        assert delivery is not None
        delivery.dead("bad", "SchemaError")

    assert len(bus.dead_letters) == KEPT
    assert len(list(store.keys(DEAD_LETTERS))) == KEPT + 5
