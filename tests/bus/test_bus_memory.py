from __future__ import annotations

from collections.abc import Sequence

import pytest

from bus.bus_contract import CANCEL, BusContract, cancel
from varloop.bus import Bus, DeadLetter
from varloop.bus.memory import MemoryBus
from varloop.testing import FakeClock, FaultyBus


class TestMemory(BusContract):
    patience = silence = 60.0

    @pytest.fixture
    def bus(self) -> Bus:
        """On a clock that stands still."""
        return MemoryBus(FakeClock())

    def dead_letters(self, bus: Bus) -> Sequence[DeadLetter]:
        """As the bus keeps them."""
        assert isinstance(bus, MemoryBus)
        return bus.dead_letters


def test_delivers_in_order_of_publication() -> None:
    """Without retries, the memory bus is a queue."""
    bus = MemoryBus(FakeClock())
    consumer = bus.consumer("g", [CANCEL])
    bus.publish(*(cancel(f"r{number}") for number in range(5)))

    got = [delivery.event.run for _ in range(5) if (delivery := consumer.poll(1.0))]
    assert got == [f"r{number}" for number in range(5)]


def test_waits_for_a_retry_no_longer_than_asked() -> None:
    """A poll with a timeout shorter than the delay gives nothing and leaves the retry in place."""
    clock = FakeClock()
    bus = MemoryBus(clock)
    consumer = bus.consumer("g", [CANCEL])
    bus.publish(cancel("r"))
    delivery = consumer.poll(0.0)
    assert delivery is not None
    began = clock.now()
    delivery.retry(10.0)

    assert consumer.poll(4.0) is None
    assert clock.now() == began + 4.0
    assert consumer.poll(60.0) is not None
    assert clock.now() == began + 10.0


def test_a_faulty_bus_is_still_a_bus() -> None:
    """The test bus that duplicates, delays and shuffles loses nothing."""
    bus = FaultyBus(FakeClock(), twice=True, late=5.0, shuffle=1)
    consumer = bus.consumer("g", [CANCEL])
    runs = [f"r{number}" for number in range(20)]
    bus.publish(*map(cancel, runs))

    got = []
    while delivery := consumer.poll(60.0):
        got.append(delivery.event.run)
        delivery.ack()
    assert sorted(got) == sorted(runs * 3)
    assert got[:20] != runs


class SetBack(FakeClock):
    """Its wall clock may be set back; time goes on all the same."""

    back = 0.0

    def now(self) -> float:
        """The time of day."""
        return super().now() - self.back


def test_a_retry_comes_in_time_when_the_clock_is_set_back() -> None:
    """Delays follow the time that passes, not the time of day."""
    clock = SetBack()
    bus = MemoryBus(clock)
    consumer = bus.consumer("g", [CANCEL])
    bus.publish(cancel("r"))
    delivery = consumer.poll(1.0)
    assert delivery is not None
    delivery.retry(1.0)
    clock.back = 3600.0

    again = consumer.poll(2.0)
    assert again is not None
    assert again.attempt == 2
