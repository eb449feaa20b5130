"""The Kafka bus on a fake cluster; on a real one in tests/services."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from bus.bus_contract import CANCEL, FAILED, BusContract, cancel
from bus.fake_kafka import URL, Cluster, bus_on
from varloop.bus import Bus, Consumer, DeadLetter
from varloop.bus.kafka import LARGEST, KafkaBus, Member, apply_topics
from varloop.bus.kafka.dead import ROOM
from varloop.bus.kafka.driver import Done, Headers
from varloop.errors import MissingExtra, TemporaryError, UsageError
from varloop.events import Event, RunFailed, RunSubmitted
from varloop.wire.codec import Types, from_kafka, to_json, to_kafka

SUBMITTED = RunSubmitted.type


@pytest.fixture
def cluster() -> Cluster:
    """With the topic of a bus."""
    return Cluster({"t": 4, "t.dead-letters": 1})


@pytest.fixture
def kafka(cluster: Cluster) -> KafkaBus:
    """On the cluster."""
    return bus_on(cluster)


class TestKafkaOnAFake(BusContract):
    patience, silence = 5.0, 0.15

    @pytest.fixture
    def bus(self, kafka: KafkaBus) -> Bus:
        """On a fake."""
        return kafka

    def dead_letters(self, bus: Bus) -> Sequence[DeadLetter]:
        """From their topic."""
        assert isinstance(bus, KafkaBus)
        return bus.dead_letters()

    def settle(self, members: Sequence[Consumer]) -> None:
        """Until the partitions are shared."""
        until(lambda: all(isinstance(member, Member) and len(member._offsets) == 2 for member in members))


def until(met: object) -> None:
    """Wait for other threads."""
    deadline = time.monotonic() + 10
    assert callable(met)
    while not met():
        assert time.monotonic() < deadline, "it did not come to pass"
        threading.Event().wait(0.005)


@pytest.fixture
def member(kafka: KafkaBus) -> Iterator[Member]:
    """Of a group that takes cancellations, and what nobody can read."""
    member = Member(kafka, "g", [CANCEL], orphans=[FAILED])
    yield member
    member.close()


POISON = {
    "undecodable": (b"\xff\xfe", [], "not a CloudEvent"),
    "a tombstone": (None, [], "no value"),
    "an unknown type of ours": (
        b"{}",
        [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"1"),
            ("ce_source", b"x"),
            ("ce_type", b"dev.varloop.never"),
            ("ce_subject", b"r"),
        ],
        "unknown event type",
    ),
    "a wrong schema": (
        b'{"reason": 1}',
        [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"1"),
            ("ce_source", b"x"),
            ("ce_type", CANCEL.encode()),
            ("ce_subject", b"r"),
            ("ce_traceparent", b"00-1"),
        ],
        "does not fit its schema",
    ),
    "not quite binary": (b"{}", [("ce_id", b"1")], "not a"),
    "an empty type": (b"{}", [("ce_specversion", b"1.0"), ("ce_type", b"")], "missing"),
}


@pytest.mark.parametrize("name", POISON)
def test_poison_is_buried_once_with_its_reason(
    cluster: Cluster, kafka: KafkaBus, member: Member, name: str
) -> None:
    """A record nobody can read is a dead letter, byte for byte, once; what comes after it is delivered."""
    value, headers, reason = POISON[name]
    for _ in range(2):
        cluster.send("t", b"k", value, headers, lambda error: None)
    kafka.publish(cancel("r"))

    delivery = member.poll(5)
    assert delivery is not None
    delivery.ack()
    until(lambda: len(kafka.dead_letters()) == 2)
    for letter in kafka.dead_letters():
        assert reason in letter.reason
        assert (letter.raw, letter.headers) == (value or b"", tuple(headers))
        assert (letter.function, letter.error, letter.key) == ("g", "SchemaError", b"k")
        assert letter.trace == dict(headers).get("ce_traceparent", b"").decode()
    until(lambda: sum(cluster.committed["t.g"].values()) == 3)


def test_only_one_group_buries_what_nobody_can_read(
    cluster: Cluster, kafka: KafkaBus, member: Member
) -> None:
    """Groups that are not told to leave poison alone; what is of their own type they bury themselves."""
    other = Member(kafka, "h", [SUBMITTED])
    cluster.send("t", b"k", b"\xff", [], lambda error: None)
    cluster.send("t", b"k", b"{}", [*POISON["a wrong schema"][1][:3], ("ce_type", SUBMITTED.encode())], print)
    until(lambda: sum(cluster.committed["t.h"].values()) == sum(cluster.committed["t.g"].values()) == 2)
    other.close()

    assert sorted(letter.function for letter in kafka.dead_letters()) == ["g", "h"]


def test_what_no_group_takes_is_looked_after_by_one(
    cluster: Cluster, kafka: KafkaBus, member: Member
) -> None:
    """Of events that only applications read, one group buries those that cannot be read; good ones pass it by."""
    other = Member(kafka, "h", [SUBMITTED])
    cluster.send("t", b"k", b"{}", [*POISON["a wrong schema"][1][:3], ("ce_type", FAILED.encode())], print)
    kafka.publish(Event(id="1", source="x", run="r", time=1.0, data=RunFailed(error="E", detail="")))
    until(lambda: sum(cluster.committed["t.h"].values()) == sum(cluster.committed["t.g"].values()) == 2)
    other.close()

    (letter,) = kafka.dead_letters()
    assert (letter.function, letter.error) == ("g", "SchemaError")
    assert len(cluster.scan("t.dead-letters")) == 1
    assert member.poll(0.0) is None


def test_foreign_events_are_let_pass(cluster: Cluster, kafka: KafkaBus, member: Member) -> None:
    """Events of others that share the topic are neither delivered nor buried."""
    foreign = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", b"x"),
        ("ce_type", b"com.example.a"),
    ]
    cluster.send("t", b"k", b"{}", foreign, lambda error: None)
    cluster.send("t", b"k", b'{"specversion":"1.0","type":"com.example.b"}', [], lambda error: None)
    cluster.send("t", b"k", to_json(cancel("structured")), [], lambda error: None)

    delivery = member.poll(5)
    assert delivery is not None
    assert delivery.event.run == "structured"
    delivery.ack()
    until(lambda: sum(cluster.committed["t.g"].values()) == 3)
    assert kafka.dead_letters() == []


def test_a_dead_letter_is_told_once_and_can_be_replayed(cluster: Cluster, kafka: KafkaBus) -> None:
    """Copies of one dead letter are listed as one; its replay is the very record, delivered again, and
    takes it off the list.
    """
    member = Member(kafka, "g", [CANCEL])
    kafka.publish(cancel("r", "ü"))
    delivery = member.poll(5)
    assert delivery is not None
    delivery.dead("once")
    delivery.dead("twice")

    (letter,) = kafka.dead_letters()
    assert (letter.reason, letter.id, letter.attempt) == ("once", f"t/{delivery.record.partition}/0", 1)
    kafka.replay(letter)
    assert kafka.dead_letters() == []
    again = member.poll(5)
    assert again is not None
    member.close()
    assert again.record[3:5] == delivery.record[3:5]
    assert list(again.record.headers) == list(delivery.record.headers)


def test_a_burial_that_fails_is_tried_again(cluster: Cluster, kafka: KafkaBus, member: Member) -> None:
    """A record is not committed before it lies in the dead letters."""
    tried: list[str] = []

    def refuse(topic: str) -> bool:
        tried.append(topic)
        return tried.count("t.dead-letters") in (1, 2)

    cluster.refuse = refuse
    cluster.send("t", b"k", b"\xff", [], lambda error: None)

    until(kafka.dead_letters)
    assert tried.count("t.dead-letters") == 3
    until(lambda: sum(cluster.committed["t.g"].values()) == 1)


def test_a_burial_waits_for_a_writer(
    cluster: Cluster, kafka: KafkaBus, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that cannot be buried because no client can be had is neither lost nor are those after it."""
    answers = iter([False, False, True])

    def writer() -> Cluster:
        if not next(answers, True):
            raise TemporaryError("no broker")
        return cluster

    monkeypatch.setattr(cluster, "writer", writer)
    with cluster.news:
        cluster.send("t", b"k", b"\xff", [], print)
        headers, key, value = to_kafka(cancel("k"))
        cluster.send("t", key, value, headers, print)

    delivery = member.poll(5)
    assert delivery is not None
    delivery.ack()
    until(kafka.dead_letters)
    until(lambda: sum(cluster.committed["t.g"].values()) == 2)


def test_what_goes_wrong_with_one_record_harms_no_other(
    cluster: Cluster, kafka: KafkaBus, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that our own code fails at is no dead letter: it is tried again, and the member says that something
    is wrong; those that were read with it are delivered.
    """
    mended: list[bool] = []
    monkeypatch.setattr("varloop.bus.kafka.member.PAUSE", 0.01)
    monkeypatch.setattr("varloop.bus.kafka.member.COMMIT", 0.01)

    def decode(headers: Headers, value: bytes | None, types: Types) -> Any:
        if value == b"{}" and not mended:
            raise ZeroDivisionError("whatever")
        return from_kafka(headers, value, types)

    monkeypatch.setattr("varloop.bus.kafka.member.from_kafka", decode)
    with cluster.news:
        cluster.send("t", b"r", b"{}", [("ce_type", CANCEL.encode())], print)
        kafka.publish(cancel("r"))

    delivery = member.poll(5)
    assert delivery is not None
    assert delivery.event.run == "r"
    delivery.ack()
    until(lambda: "a bug in varloop at t/" in member.fault)
    assert "ZeroDivisionError: whatever" in member.fault
    assert kafka.dead_letters() == []

    mended.append(True)  # then the record is to blame, and says how
    until(kafka.dead_letters)
    until(lambda: sum(cluster.committed["t.g"].values()) == 2)


def test_an_offset_waits_for_all_before_it(cluster: Cluster, kafka: KafkaBus) -> None:
    """What was finished early is not committed while something before it in its partition is open."""
    member = Member(kafka, "g", [CANCEL])
    kafka.publish(*(cancel("same", str(number)) for number in range(3)))
    first, second, third = (member.poll(5) for _ in range(3))
    assert first
    assert second
    assert third
    third.ack()
    second.retry(60.0)
    first.ack()
    member.close()

    assert sum(cluster.committed["t.g"].values()) == 1


def test_what_is_in_hand_is_not_delivered_again(cluster: Cluster, kafka: KafkaBus) -> None:
    """Records that a rebalance makes the member read once more are not handed out while they are in hand."""
    member = Member(kafka, "g", [CANCEL])
    kafka.publish(cancel("a"))
    assert member.poll(5) is not None
    (reader,) = cluster.groups["t.g"]
    with cluster.news:
        reader.positions = dict.fromkeys(reader.positions, 0)
    kafka.publish(cancel("b"))

    delivery = member.poll(5)
    assert delivery is not None
    assert delivery.event.run == "b"
    assert member.poll(0.1) is None
    member.close()


def test_lost_partitions_are_forgotten(cluster: Cluster, kafka: KafkaBus) -> None:
    """What was read ahead of a partition that another member takes over is not delivered here any more."""
    member = Member(kafka, "g", [CANCEL])
    kafka.publish(*(cancel(f"r{number}") for number in range(20)))
    until(lambda: len(member._inbox) == 20)
    successor = Member(kafka, "g", [CANCEL])
    until(lambda: len(member._offsets) == len(successor._offsets) == 2)
    until(lambda: len(member._inbox) + len(successor._inbox) == 20)

    for one in (member, successor):
        while one._inbox:
            delivery = one.poll(1)
            assert delivery is not None
            assert one.owns(delivery.event.run)
            delivery.ack()
        one.close()
    assert sum(cluster.committed["t.g"].values()) == 20


def test_nothing_is_fetched_beyond_what_can_be_worked_on(
    cluster: Cluster, kafka: KafkaBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member whose functions are slow stops fetching, and goes on when they have caught up."""
    monkeypatch.setattr("varloop.bus.kafka.member.AHEAD", 2)
    member = Member(kafka, "g", [CANCEL])
    kafka.publish(*(cancel(f"a{number}") for number in range(5)))
    (reader,) = cluster.groups["t.g"]
    until(lambda: reader.paused)
    kafka.publish(cancel("b"))
    got: list[str] = []
    while len(got) < 6:
        delivery = member.poll(5)
        assert delivery is not None
        got.append(delivery.event.run)
        delivery.ack()
    assert got[-1] == "b"
    member.close()


def test_a_publication_that_is_lost_is_an_error(cluster: Cluster, kafka: KafkaBus) -> None:
    """Publishing several events of which one is not acknowledged raises."""
    answers = iter([False, True, False])
    cluster.refuse = lambda topic: next(answers)

    with pytest.raises(TemporaryError, match="asleep"):
        kafka.publish(cancel("a"), cancel("b"), cancel("c"))
    kafka.close()


def test_a_broken_writer_is_replaced(
    cluster: Cluster, kafka: KafkaBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a client has given up for good its place is taken by another, and it is closed."""
    made: list[BrokenAtTheSecond] = []
    monkeypatch.setattr(cluster, "writer", lambda: made.append(BrokenAtTheSecond(cluster)) or made[-1])
    kafka.publish(cancel("a"))
    with pytest.raises(TemporaryError, match="broken"):
        kafka.publish(cancel("b"))
    kafka.publish(cancel("b"))
    kafka.close()

    assert [writer.closed for writer in made] == [1, 1]
    assert sorted(record.key for record in cluster.scan("t") if record.key) == [b"a", b"b"]


class BrokenAtTheSecond:
    """A writer of one record."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.written = self.closed = 0

    @property
    def broken(self) -> bool:
        """From the second record on."""
        return self.written > 1

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, done: Done) -> None:
        """Write the first."""
        self.written += 1
        if self.broken:
            done(TemporaryError("broken"))
        else:
            self.cluster.send(topic, key, value, headers, done)

    def serve(self, timeout: float = 0.0) -> None:
        """Nothing waits."""

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Count."""
        self.closed += 1


def test_an_acknowledgement_is_not_waited_for_without_end(
    cluster: Cluster, kafka: KafkaBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishing without an answer is a temporary error after a while."""
    monkeypatch.setattr("varloop.bus.kafka.PUBLISH", 0.01)
    cluster.hold = []

    with pytest.raises(TemporaryError, match="no acknowledgement"):
        kafka.publish(cancel("a"))


def test_a_missing_topic_is_a_usage_error() -> None:
    """Joining on a topic that was never made says how to make it."""
    with pytest.raises(UsageError, match="varloop setup"):
        bus_on(Cluster({})).consumer("g", [RunSubmitted.type])


def test_topics_are_made_and_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Applying changes what differs and nothing else; a dry run only tells; partitions are never removed."""
    cluster = Cluster({})
    monkeypatch.setattr("varloop.bus.kafka._driver", lambda settings: cluster)
    made = ["create t with 3 partitions", "create t.dead-letters with 1 partitions"]
    assert apply_topics(URL, partitions=3, dry_run=True) == made
    assert cluster.logs == {}
    assert apply_topics(URL, partitions=3) == made
    assert apply_topics(URL, partitions=3) == apply_topics(URL, partitions=2) == []

    assert apply_topics(URL, partitions=4, retention_hours=1) == [
        "give t 4 partitions instead of 3",
        "set retention.ms of t to 3600000",
        "set retention.ms of t.dead-letters to 14400000",
    ]
    assert apply_topics(URL, partitions=4, retention_hours=1) == []
    assert cluster.partitions("t") == 4


def test_the_dead_letters_take_larger_records_than_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their topic has room for the largest event and for what is said about it, also when that limit is raised."""
    cluster = Cluster({})
    monkeypatch.setattr("varloop.bus.kafka._driver", lambda settings: cluster)
    apply_topics(URL)
    assert cluster.config("t.dead-letters")["max.message.bytes"] == str(LARGEST + ROOM)

    cluster.configure("t", {"max.message.bytes": "5000000"})
    assert apply_topics(URL) == [f"set max.message.bytes of t.dead-letters to {5_000_000 + ROOM}"]
    assert apply_topics(URL) == []
    assert cluster.config("t")["max.message.bytes"] == "5000000"


def test_an_unknown_client_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client library that does not exist is refused with those there are."""
    monkeypatch.setenv("VARLOOP_KAFKA_CLIENT", "librdkafka")
    with pytest.raises(UsageError, match="confluent-kafka or kafka-python"):
        KafkaBus(URL)


@pytest.mark.parametrize("client", ["", "confluent-kafka", "kafka-python"])
def test_a_client_that_is_not_installed_is_replaced_or_named(
    monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """Without confluent-kafka kafka-python is taken; a client that was asked for and is absent is named."""
    monkeypatch.setenv("VARLOOP_KAFKA_CLIENT", client)
    for module in ("confluent", "kafka_python"):
        monkeypatch.delitem(sys.modules, f"varloop.bus.kafka.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    if client == "confluent-kafka":
        with pytest.raises(MissingExtra, match="confluent-kafka is not installed"):
            KafkaBus(URL)
    else:
        assert type(KafkaBus(URL).driver).__name__ == "KafkaPython"


def test_the_key_is_the_run(kafka: KafkaBus, cluster: Cluster) -> None:
    """All records of a run lie in one partition, in CloudEvents' binary mode."""
    kafka.publish(*(cancel("same", str(number)) for number in range(5)), cancel("other"))

    lengths = sorted(len(log) for log in cluster.logs["t"])
    assert lengths[-1] >= 5
    record = next(record for record in cluster.scan("t") if record.key == b"same")
    assert (list(record.headers), record.value) == (to_kafka(cancel("same", "0"))[0], b'{"reason":"0"}')
