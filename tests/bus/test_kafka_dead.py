"""Dead letters as records, on a fake cluster; on a real one in tests/services."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from bus.fake_kafka import Cluster, bus_on
from varloop.bus import DeadLetter
from varloop.bus.kafka import KafkaBus, KafkaLetter, Member
from varloop.bus.kafka.dead import ROOM, SMALL, copy
from varloop.bus.kafka.driver import Record
from varloop.errors import UsageError

LIMIT = 100_000
"""bytes that the cluster takes in a record"""


@pytest.fixture
def cluster() -> Cluster:
    """With topics of equal limits, as somebody makes them who knows nothing of dead letters."""
    cluster = Cluster({"t": 1, "t.dead-letters": 1})
    for topic in cluster.logs:
        cluster.configure(topic, {"max.message.bytes": str(LIMIT)})
    return cluster


@pytest.fixture
def kafka(cluster: Cluster) -> KafkaBus:
    """On the cluster."""
    return bus_on(cluster)


def publish(
    cluster: Cluster, value: bytes | None, key: bytes = b"k", headers: Sequence[tuple[str, bytes]] = ()
) -> None:
    """Publish a record as it is; it must fit."""
    refused: list[Exception] = []
    cluster.send("t", key, value, headers, lambda error: refused.append(error) if error else None)
    assert not refused


def buried(cluster: Cluster, kafka: KafkaBus) -> KafkaLetter:
    """The one dead letter that a member makes of the one record there is; the record is dealt with, then."""
    member = Member(kafka, "g", [], orphans=[])
    with cluster.news:
        assert cluster.news.wait_for(lambda: cluster.committed["t.g"].get(0) == 1, timeout=10)
    member.close()
    assert len(cluster.scan("t.dead-letters")) == 1
    (letter,) = kafka.dead_letters()
    return letter


LARGE = b"x" * (LIMIT - 100)
HEADERS = (("ce_type", b"dev.varloop.never"), ("ce_traceparent", b"00-1"))


def test_a_record_of_the_largest_size_is_buried_whole(cluster: Cluster, kafka: KafkaBus) -> None:
    """Where the dead letters have room for it, a record as large as can be lies there byte for byte."""
    cluster.configure("t.dead-letters", {"max.message.bytes": str(LIMIT + ROOM)})
    publish(cluster, LARGE, headers=HEADERS)

    letter = buried(cluster, kafka)
    assert (letter.raw, letter.size, letter.sha256) == (LARGE, len(LARGE), "")


def test_a_record_that_is_too_large_is_buried_without_its_value(cluster: Cluster, kafka: KafkaBus) -> None:
    """Where they have not, the letter says what the value was and where the record lies, once."""
    publish(cluster, LARGE, headers=HEADERS)

    letter = buried(cluster, kafka)
    assert (letter.id, letter.raw, letter.event) == ("t/0/0", b"", None)
    assert (letter.size, letter.sha256) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())
    assert (letter.key, letter.headers, letter.trace) == (b"k", HEADERS, "00-1")
    assert letter.reason
    assert not letter.tombstone


@pytest.mark.parametrize("large", ["key", "headers"])
def test_what_is_large_of_a_record_is_left_out(cluster: Cluster, kafka: KafkaBus, large: str) -> None:
    """A key or headers near the limit go the way of the value."""
    if large == "key":
        publish(cluster, b"", key=LARGE)
    else:
        publish(cluster, b"", headers=[("ce_id", LARGE)])

    letter = buried(cluster, kafka)
    assert (letter.key, letter.headers, letter.size) == (None, (), 0)
    assert letter.sha256 == hashlib.sha256().hexdigest()


def test_what_is_said_of_a_record_has_room() -> None:
    """Reason and trace are cut: with its marks a letter without a value stays small, and a whole one fits."""
    record = Record("t" * 249, 9999, 2**63, None, b"", [("ce_traceparent", b"x" * LIMIT)], 0.0)
    letter = DeadLetter(reason="\N{GRINNING FACE}" * LIMIT, function="f" * 63, error="E" * 63)

    sizes = [
        sum(len(name) + len(content) for name, content in copy(record, letter, whole)[2])
        for whole in (True, False)
    ]
    assert sizes[0] - LIMIT < ROOM
    assert sizes[1] < ROOM - SMALL


def test_a_letter_without_its_value_is_not_replayed(cluster: Cluster, kafka: KafkaBus) -> None:
    """Its replay would be another record: it is refused, and says where the record lies."""
    publish(cluster, LARGE, headers=HEADERS)
    letter = buried(cluster, kafka)

    with pytest.raises(UsageError, match=r"without its value.*the record is at t/0/0"):
        kafka.replay(letter)
    assert len(cluster.scan("t")) == 1
    assert kafka.dead_letters() == [letter]


@pytest.mark.parametrize("value", [b"", None])
def test_an_empty_value_is_no_tombstone(cluster: Cluster, kafka: KafkaBus, value: bytes | None) -> None:
    """The replay of an empty value is an empty value, that of a tombstone a tombstone."""
    publish(cluster, value)
    kafka.replay(buried(cluster, kafka))

    assert [record.value for record in cluster.scan("t")] == [value, value]
