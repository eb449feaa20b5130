from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence

import pytest

from bus.bus_contract import BusContract
from varloop.bus import Bus, Consumer, DeadLetter
from varloop.bus.kafka import KafkaBus, Member, apply_topics

pytestmark = pytest.mark.services


@pytest.fixture
def url(kafka_bootstrap: str) -> str:
    """A topic of the test's own."""
    url = f"kafka://{kafka_bootstrap}/t-{uuid.uuid4().hex[:8]}"
    apply_topics(url, partitions=4)
    return url


@pytest.fixture
def kafka(url: str) -> Iterator[KafkaBus]:
    """A bus on it."""
    bus = KafkaBus(url)
    yield bus
    bus.close()


class TestKafka(BusContract):
    patience, silence = 20.0, 1.0

    @pytest.fixture
    def bus(self, kafka: KafkaBus) -> Bus:
        """On a real broker."""
        return kafka

    def dead_letters(self, bus: Bus) -> Sequence[DeadLetter]:
        """From their topic."""
        assert isinstance(bus, KafkaBus)
        return bus.dead_letters()

    def settle(self, members: Sequence[Consumer]) -> None:
        """Until no member takes part in a rebalance any more."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            counts = [len(member._offsets) for member in members if isinstance(member, Member)]
            if sorted(counts) == [2, 2]:
                return
            time.sleep(0.05)
        pytest.fail(f"the group did not settle: {counts}")
