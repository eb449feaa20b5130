"""The bus on Apache Kafka: one topic, one consumer group per function, CloudEvents in Kafka's binary mode.

Records have the run id as their key, so that a run's events stay in one partition. A group commits an
offset when all records before it are dealt with; what could not be accepted lies in ``TOPIC.dead-letters``.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future

from varloop.bus import DeadLetter
from varloop.bus.kafka import dead
from varloop.bus.kafka.complaints import HEARD, advice
from varloop.bus.kafka.dead import KafkaLetter
from varloop.bus.kafka.driver import SERVE, Done, Driver, Headers, Record, Topic, Writer
from varloop.bus.kafka.member import Copy, KafkaDelivery, Member
from varloop.bus.kafka.settings import Settings, parse_url
from varloop.errors import MissingExtra, TemporaryError, UsageError, VarloopError
from varloop.events import BODIES, Body, Event
from varloop.wire.codec import Types, to_kafka

__all__ = ["Copy", "KafkaBus", "KafkaDelivery", "KafkaLetter", "Member", "apply_topics"]

CLIENTS = ("confluent-kafka", "kafka-python")
"""client libraries; ``VARLOOP_KAFKA_CLIENT`` chooses"""
PARTITIONS = 12
RETENTION = 7 * 24
"""hours that events are kept; dead letters four times as long"""
LARGEST = 1_048_588
"""bytes of a record, if nobody told the cluster otherwise"""
PUBLISH = 30.0
"""seconds until a publication that is not acknowledged counts as failed"""


class KafkaBus:
    """Publishes and delivers by one topic of a Kafka cluster. Safe to share between threads.

    :param url: ``kafka://HOST:PORT[,HOST:PORT]/TOPIC``; TLS and SASL as in :mod:`varloop.bus.kafka.settings`.
    :param types: events that can be read, by CloudEvents type.
    :param driver: the client library.
    :raises UsageError: if the URL is wrong.
    """

    def __init__(self, url: str, types: Types = BODIES, driver: Driver | None = None) -> None:
        self.settings = parse_url(url)
        self.types = types
        self.driver = driver or _driver(self.settings)
        self._lock = threading.Lock()
        self._serving = threading.Lock()
        self._writer: Writer | None = None
        self._partitions = 0

    @property
    def url(self) -> str:
        """The bus, without secrets."""
        return self.settings.url

    @property
    def partitions(self) -> int:
        """How many partitions the topic has: had when it was looked at last.

        :raises UsageError: if there is no such topic.
        """
        if not self._partitions:
            self._partitions = self._there(self.settings.topic)
        return self._partitions

    def check(self) -> None:
        """Look whether events and dead letters have their topics, and at their partitions.

        :raises UsageError: if a topic is not there.
        :raises TemporaryError: if no broker answers.
        """
        self._partitions = self._there(self.settings.topic)
        self._there(self.settings.dead)

    def _there(self, topic: str) -> int:
        partitions = self.driver.partitions(topic)
        if not partitions:
            raise UsageError(f"{self.url}: there is no topic {topic}", hint="varloop setup")
        return partitions

    def publish(self, *events: Event[Body]) -> None:
        """Publish events; on return they are safe.

        :raises TemporaryError: if that is not certain; some of them may be delivered all the same.
        :raises PermanentError: if one is larger than the topic takes.
        """
        try:
            self._wait(lambda done: self.send(events, done))
        except VarloopError as error:
            error.run = error.run or ", ".join(sorted({event.run for event in events}))
            raise

    def send(self, events: Iterable[Event[Body]], done: Done) -> None:
        """Publish events without waiting; ``done`` is told once all of them are safe, or one is not, while
        somebody serves.
        """
        records = [to_kafka(event) for event in events]
        each = _All(len(records), done)
        for headers, key, value in records:
            self._send(self.settings.topic, key, value, headers, each)

    def consumer(self, group: str, types: Collection[str]) -> Member:
        """Join a group. A group that is new begins with the oldest event there is.

        :raises UsageError: if there is no such topic.
        """
        return Member(self, group, types)

    def bury(self, record: Record, letter: DeadLetter, done: Done, whole: bool = True) -> None:
        """Copy a record to the dead letters; ``done`` is told PermanentError if it is too large.

        :param whole: with its value; otherwise with a digest of it.
        """
        self._send(self.settings.dead, *dead.copy(record, letter, whole), done)

    def dead_letters(self) -> list[KafkaLetter]:
        """All dead letters that were not replayed, oldest first.

        :raises UsageError: if their topic is not there.
        """
        self._there(self.settings.dead)
        return dead.letters(self.driver.scan(self.settings.dead), self.types)

    def replay(self, letter: KafkaLetter) -> None:
        """Publish the record of a dead letter again, byte for byte, and take it off the list.

        If it cannot be accepted this time either, it is a new dead letter.

        :raises TemporaryError: if that is not certain.
        :raises UsageError: if the letter is without its value, because it was too large.
        """
        if letter.sha256:
            detail = (
                f"dead letter {letter.id} is without its value, {letter.size} bytes were too large for it"
            )
            raise UsageError(detail, hint=f"the record is at {letter.id} until its topic's retention ends")
        again = self.settings.topic, letter.key, None if letter.tombstone else letter.raw, letter.headers
        self._wait(lambda done: self._send(*again, done))
        self.replayed(letter)

    def replayed(self, letter: KafkaLetter) -> None:
        """Take a letter off the list."""
        mark = self.settings.dead, letter.key, None, dead.replayed(letter)
        self._wait(lambda done: self._send(*mark, done))

    def flush(self) -> None:
        """Wait for what is being published."""
        with self._lock:
            if self._writer is not None:
                self._writer.flush()

    def close(self) -> None:
        """Wait for what is being published, and release connections."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def serve(self) -> None:
        """Tell what has become of publications. Somebody has to, several times a second."""
        if self._writer is not None and self._serving.acquire(blocking=False):
            try:
                self._writer.serve()
            finally:
                self._serving.release()

    def wait(self, outcome: Future[None]) -> None:
        """Wait until a publication is safe.

        :raises TemporaryError: if that is not certain.
        """
        deadline = time.monotonic() + PUBLISH
        while not outcome.done() and (left := deadline - time.monotonic()) > 0:
            with self._serving:  # one at a time, or the news may be told to another and this one sleeps on
                if not outcome.done():
                    self._writing().serve(min(left, SERVE))
        if not outcome.done():
            reason = HEARD.reason()
            detail = f"{self.url}: no acknowledgement within {PUBLISH:g} s{': ' if reason else ''}{reason}"
            raise TemporaryError(detail, hint=advice(reason))
        outcome.result()

    def _wait(self, send: Callable[[Done], None]) -> None:
        outcome: Future[None] = Future()
        send(lambda error: outcome.set_exception(error) if error else outcome.set_result(None))
        self.wait(outcome)

    def _send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, done: Done) -> None:
        try:
            writer = self._writing()
        except TemporaryError as error:
            done(error)
        else:
            writer.send(topic, key, value, headers, done)

    def _writing(self) -> Writer:
        with self._lock:
            before = self._writer
            if (before is None or before.broken) and self.partitions:  # a client might make a missing topic
                self._writer = self.driver.writer()
            now = self._writer
        assert now is not None  # noqa: S101  there are partitions, or an error
        if before is not None and before is not now:
            before.close()
        return now


class _All:
    """Tells one what came of several."""

    def __init__(self, count: int, done: Done) -> None:
        self._left = count
        self._told = False
        self._done = done
        self._lock = threading.Lock()
        if not count:
            done(None)

    def __call__(self, error: Exception | None) -> None:
        with self._lock:
            self._left -= 1
            if self._told or (error is None and self._left):
                return
            self._told = True
        self._done(error)


def apply_topics(
    url: str,
    *,
    partitions: int = PARTITIONS,
    replicas: int = -1,
    retention_hours: int = RETENTION,
    dry_run: bool = False,
) -> list[str]:
    """Create the topics of a bus, or make them what they should be; partitions are added, never removed.

    :param replicas: copies of each partition; -1 for the cluster's default.
    :return: what was changed, or would be.
    :raises TemporaryError: if the cluster does not answer.
    """
    settings = parse_url(url)
    driver, retention = _driver(settings), retention_hours * 3_600_000
    events = Topic(settings.topic, partitions, replicas, {"retention.ms": str(retention)})
    changes = _apply(driver, events, dry_run)
    limit = _largest(driver, settings.topic) + dead.ROOM
    config = {"retention.ms": str(4 * retention), "max.message.bytes": str(limit)}
    return changes + _apply(driver, Topic(settings.dead, 1, replicas, config), dry_run)


def _apply(driver: Driver, topic: Topic, dry_run: bool) -> list[str]:
    changes = []
    for change, mend in _differences(driver, topic):
        changes.append(change)
        if not dry_run:
            mend()
    return changes


def _largest(driver: Driver, topic: str) -> int:
    """Bytes of the largest record that a topic takes."""
    config = driver.config(topic) if driver.partitions(topic) else {}
    return int(config.get("max.message.bytes", LARGEST))


def _differences(driver: Driver, topic: Topic) -> Iterator[tuple[str, Callable[[], None]]]:
    """What to change about a topic, in words and as a call."""
    there = driver.partitions(topic.name)
    if not there:
        yield (
            f"create {topic.name} with {topic.partitions} partitions",
            lambda: driver.create(topic),
        )
        return
    if there < topic.partitions:
        yield (
            f"give {topic.name} {topic.partitions} partitions instead of {there}",
            lambda: driver.grow(topic.name, topic.partitions),
        )
    have = driver.config(topic.name)
    for name, value in topic.config.items():
        if have.get(name) != value:
            yield f"set {name} of {topic.name} to {value}", lambda: driver.configure(topic.name, topic.config)


def _driver(settings: Settings) -> Driver:
    """The client that the environment names, else the faster one of those that are installed."""
    client = os.environ.get("VARLOOP_KAFKA_CLIENT", "")
    if client not in ("", *CLIENTS):
        raise UsageError(f"there is no client {client!r} for Kafka", hint=" or ".join(CLIENTS))
    if client != "kafka-python":
        try:
            from varloop.bus.kafka.confluent import Confluent

            return Confluent(settings)
        except MissingExtra:
            if client:
                raise
    from varloop.bus.kafka.kafka_python import KafkaPython

    return KafkaPython(settings)
