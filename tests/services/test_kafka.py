from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from bus.bus_contract import CANCEL, BusContract, cancel
from varloop.bus import Bus, Consumer, DeadLetter
from varloop.bus.kafka import CLIENTS, KafkaBus, Member, apply_topics
from varloop.bus.kafka.driver import METADATA
from varloop.bus.kafka.settings import SESSION
from varloop.errors import UsageError

pytestmark = pytest.mark.services


@pytest.fixture(params=CLIENTS)
def url(kafka_bootstrap: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A topic of the test's own, for each client library."""
    monkeypatch.setenv("VARLOOP_KAFKA_CLIENT", request.param)
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
        eventually(
            lambda: all(isinstance(member, Member) and len(member._offsets) == 2 for member in members)
        )


def test_topics_are_made_and_mended(url: str, kafka: KafkaBus) -> None:
    """Applying changes what differs and nothing else; a dry run only tells; partitions are never removed."""
    topic = kafka.settings.topic
    assert apply_topics(url, partitions=4) == []
    wish: Any = {"partitions": 6, "retention_hours": 2}

    told = apply_topics(url, **wish, dry_run=True)
    assert told == [
        f"give {topic} 6 partitions instead of 4",
        f"set retention.ms of {topic} to 7200000",
        f"set retention.ms of {topic}.dead-letters to 28800000",
    ]
    assert apply_topics(url, **wish) == told
    eventually(lambda: apply_topics(url, **wish, dry_run=True) == [])
    assert apply_topics(url, partitions=2, retention_hours=2) == []
    assert KafkaBus(url).partitions == 6


def test_a_topic_that_is_not_there_is_not_made(url: str) -> None:
    """Publishing to or joining on a topic that nobody made is a usage error, and does not make it."""
    other = KafkaBus(url + "-not-made")
    for attempt in (lambda: other.publish(cancel("r")), lambda: other.consumer("g", [CANCEL])):
        with pytest.raises(UsageError, match="varloop setup"):
            attempt()
    assert other.driver.partitions(other.settings.topic) == 0
    other.close()


def test_the_first_assignment_is_whole(kafka: KafkaBus, caplog: pytest.LogCaptureFixture) -> None:
    """A lone member of a new group gets all partitions at once: kafka-python gave none when it had yet to hear of
    the topic, warned of that, and now and then stayed at it.
    """
    for number in range(5):
        member = Member(kafka, f"g{number}", [CANCEL])
        eventually(lambda member=member: len(member._offsets) == 4)
        member.close()

    assert "partition metadata" not in caplog.text


def test_a_slow_function_causes_no_rebalance(kafka: KafkaBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery that takes longer than a session keeps its member in the group, and others are delivered."""
    member = Member(kafka, "g", [CANCEL])
    kafka.publish(cancel("slow"))
    slow = member.poll(20)
    assert slow is not None
    changes: list[frozenset[int]] = []
    monkeypatch.setattr(member, "assigned", changes.append)
    time.sleep(SESSION * 1.5)
    kafka.publish(cancel("fast"))
    fast = member.poll(20)
    assert fast is not None
    monkeypatch.undo()
    fast.ack()
    slow.ack()
    member.close()

    assert changes == []
    assert fast.event.run == "fast"


def test_a_static_member_comes_back_without_a_rebalance(
    kafka: KafkaBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that is replaced by one of the same name within a session changes nothing for the others."""
    other = Member(kafka, "g", [CANCEL], instance="one")
    first = Member(kafka, "g", [CANCEL], instance="two")
    eventually(lambda: len(other._offsets) == len(first._offsets) == 2)
    changes: list[frozenset[int]] = []
    monkeypatch.setattr(other, "assigned", changes.append)
    first.close()
    second = Member(kafka, "g", [CANCEL], instance="two")
    eventually(lambda: len(second._offsets) == 2)
    monkeypatch.undo()
    second.close()
    other.close()

    assert changes == []


def test_a_fenced_member_ends(kafka: KafkaBus) -> None:
    """Of two members with one name the first ends, and says why: it would read nothing ever again."""
    first = Member(kafka, "g", [CANCEL], instance="same")
    eventually(lambda: not first.fault)
    second = Member(kafka, "g", [CANCEL], instance="same")
    eventually(lambda: first.ended)
    assert "each needs an --instance of its own" in str(first.ended)
    assert second.ended is None
    second.close()
    first.close()


def test_new_partitions_are_read_soon(url: str, kafka: KafkaBus) -> None:
    """A member notices partitions that are added while it reads; it took five minutes."""
    member = Member(kafka, "g", [CANCEL])
    eventually(lambda: len(member._offsets) == 4)
    apply_topics(url, partitions=8)
    eventually(lambda: len(member._offsets) == 8, patience=3 * METADATA)
    member.close()


def publish(bus: KafkaBus, *values: bytes | None) -> None:
    """Publish records that are no events, each in a batch of its own."""
    for value in values:
        told: list[Exception | None] = []
        writer = bus.driver.writer()
        writer.send(bus.settings.topic, b"k", value, [], told.append)
        writer.close()
        assert told == [None]


LARGEST_VALUE = 1_048_588 - 80
"""bytes of a value that a topic with standard settings takes; key and framing are the rest"""


def test_the_largest_records_are_buried(kafka: KafkaBus) -> None:
    """A bad record as large as can be is buried whole, and without its value where there is no room for it."""
    value = b"x" * LARGEST_VALUE
    member = Member(kafka, "g", [], orphans=[])
    publish(kafka, value)
    eventually(kafka.dead_letters)
    kafka.driver.configure(kafka.settings.dead, {"max.message.bytes": "1048588"})
    publish(kafka, value)
    eventually(lambda: len(kafka.dead_letters()) == 2)
    member.close()

    whole, rest = sorted(kafka.dead_letters(), key=lambda letter: letter.sha256)
    assert (whole.raw, whole.sha256) == (value, "")
    assert (rest.raw, rest.size, rest.key) == (b"", len(value), b"k")
    assert len(kafka.driver.scan(kafka.settings.dead)) == 2


def test_a_replay_keeps_what_is_empty(kafka: KafkaBus) -> None:
    """An empty value is published again as an empty value, a tombstone as a tombstone."""
    member = Member(kafka, "g", [], orphans=[])
    publish(kafka, b"", None)
    eventually(lambda: len(kafka.dead_letters()) == 2)
    member.close()
    for letter in kafka.dead_letters():
        kafka.replay(letter)

    values = [record.value for record in kafka.driver.scan(kafka.settings.topic)]
    assert sorted(values, key=str) == [None, None, b"", b""]


def test_headers_without_a_value_harm_nobody(kafka: KafkaBus, kafka_bootstrap: str) -> None:
    """A type that is no value at all is buried, and what comes after it is delivered."""
    from confluent_kafka import Producer

    member = Member(kafka, "g", [CANCEL], orphans=[])
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    producer.produce(kafka.settings.topic, b"{}", b"r", headers=[("ce_type", None)])
    producer.flush(10)
    kafka.publish(cancel("r"))

    delivery = member.poll(20)
    assert delivery is not None
    delivery.ack()
    eventually(kafka.dead_letters)
    member.close()
    assert "missing" in kafka.dead_letters()[0].reason


def eventually(met: Callable[[], object], patience: float = 20.0) -> None:
    """Wait for the cluster."""
    deadline = time.monotonic() + patience
    while not met():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
