"""The bus on Apache Kafka: one topic, one consumer group per function, CloudEvents in Kafka's binary mode.

Records have the run id as their key, so that a run's events stay in one partition. A group commits an
offset when all records before it are dealt with; what could not be accepted lies in ``TOPIC.dead``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from functools import cached_property

from varloop.bus import DeadLetter
from varloop.bus.kafka import dead
from varloop.bus.kafka.driver import Done, Driver, Record, Topic, Writer
from varloop.bus.kafka.member import KafkaDelivery, Member
from varloop.bus.kafka.settings import Settings, parse_url
from varloop.codec import Types, to_kafka
from varloop.errors import TemporaryError, UsageError
from varloop.events import BODIES, Body, Event

__all__ = ["KafkaBus", "KafkaDelivery", "Member", "apply_topics"]

PARTITIONS = 12
RETENTION = 7 * 24
"""hours that events are kept; dead letters four times as long"""
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
        self._writer: Writer | None = None

    @property
    def url(self) -> str:
        """The bus, without secrets."""
        return self.settings.url

    @cached_property
    def partitions(self) -> int:
        """How many partitions the topic has.

        :raises UsageError: if there is no such topic.
        """
        partitions = self.driver.partitions(self.settings.topic)
        if not partitions:
            raise UsageError(f"{self.url}: there is no such topic", hint="varloop topics apply")
        return partitions

    def publish(self, *events: Event[Body]) -> None:
        """Publish events; on return they are safe.

        :raises TemporaryError: if that is not certain; some of them may be delivered all the same.
        """
        self._wait(lambda done: self.send(events, done))

    def send(self, events: Iterable[Event[Body]], done: Done) -> None:
        """Publish events without waiting; ``done`` is told once all of them are safe, or one is not."""
        records = [to_kafka(event) for event in events]
        each = _All(len(records), done)
        for headers, key, value in records:
            self._writing().send(self.settings.topic, key, value, headers, each)

    def consumer(self, group: str, types: Collection[str]) -> Member:
        """Join a group. A group that is new begins with the oldest event there is.

        :raises UsageError: if there is no such topic.
        """
        return Member(self, group, types)

    def bury(self, record: Record, letter: DeadLetter, done: Done) -> None:
        """Copy a record to the dead letters."""
        headers = dead.headers(record, letter)
        self._writing().send(self.settings.dead, record.key, record.value, headers, done)

    def dead_letters(self) -> list[dead.KafkaLetter]:
        """All dead letters, oldest first."""
        return list(dead.letters(self.driver.scan(self.settings.dead), self.types))

    def replay(self, letter: dead.KafkaLetter) -> None:
        """Publish the record of a dead letter again, byte for byte."""
        target = self.settings.topic, letter.key, letter.raw or None, letter.headers
        self._wait(lambda done: self._writing().send(*target, done))

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

    def _wait(self, send: Callable[[Done], None]) -> None:
        outcome: Future[None] = Future()
        send(lambda error: outcome.set_exception(error) if error else outcome.set_result(None))
        try:
            outcome.result(PUBLISH)
        except TimeoutError as error:
            detail = f"{self.url}: no acknowledgement within {PUBLISH:g} s"
            raise TemporaryError(detail, hint="is the broker up?") from error

    def _writing(self) -> Writer:
        with self._lock:
            if self._writer is None:
                self._writer = self.driver.writer()
            return self._writer


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
    hour = 3_600_000
    wanted = (
        Topic(settings.topic, partitions, replicas, {"retention.ms": str(retention_hours * hour)}),
        Topic(settings.dead, 1, replicas, {"retention.ms": str(4 * retention_hours * hour)}),
    )
    return _driver(settings).topics(wanted, apply=not dry_run)


def _driver(settings: Settings) -> Driver:
    from varloop.bus.kafka.kafka_python import KafkaPython

    return KafkaPython(settings)
