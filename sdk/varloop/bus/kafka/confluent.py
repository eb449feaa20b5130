"""The driver over confluent-kafka: librdkafka, whose network threads never wait for Python."""

from __future__ import annotations

import logging
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from operator import methodcaller
from typing import Any

from varloop.bus.kafka.complaints import HEARD, advice, listen
from varloop.bus.kafka.driver import LIMIT, METADATA, NAMESAKE, Done, Headers, Membership, Record, Topic
from varloop.bus.kafka.settings import HEARTBEAT, SESSION, Settings
from varloop.errors import MissingExtra, PermanentError, TemporaryError, VarloopError

try:
    from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
    from confluent_kafka.admin import (
        AdminClient,
        AlterConfigOpType,
        ConfigEntry,
        ConfigResource,
        NewPartitions,
        NewTopic,
    )
except ImportError as missing:
    raise MissingExtra("confluent-kafka", "kafka") from missing

__all__ = ["Confluent"]

log = logging.getLogger("varloop.bus")
library = logging.getLogger("varloop.bus.librdkafka")

ANSWER = 10.0
"""seconds to wait for an answer of the cluster"""
FETCH = 100
"""milliseconds that a fetch waits for records: partitions that are assigned meanwhile wait with it"""
BATCH = 200
"""records handed over at once"""
TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_RECORD)
REFUSED = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
ABSENT = (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE)
"""what is known when no broker answers; why is in what the client complained of"""
FATAL = (KafkaError._FATAL, KafkaError._FENCED, KafkaError.FENCED_INSTANCE_ID)


def translate(error: Exception, url: str) -> VarloopError:
    """Varloop's error for any error of the client."""
    cause = error.args[0] if error.args and isinstance(error.args[0], KafkaError) else None
    text = f"{url}: {cause.str() if cause else error}"
    code = cause.code() if cause else None
    if code in TOO_LARGE:
        return PermanentError(text, hint="large data belongs into the store")
    if code in REFUSED:
        return TemporaryError(text, retry_after=5.0, hint="check the credentials and what they may do")
    if code in ABSENT and (reason := HEARD.reason()):
        text = f"{url}: {reason}"
    return TemporaryError(text, hint=advice(text))


def _is_fatal(error: Exception) -> bool:
    """Whether a client has ended with this error; ``fatal()`` is false of the very code that says so."""
    cause = error.args[0] if isinstance(error, KafkaException) else None
    return cause is not None and (cause.fatal() or cause.code() in FATAL)


def _gone(error: KafkaException, url: str) -> PermanentError:
    """What a member says that is none any more."""
    text = error.args[0].str()
    return PermanentError(f"{url}: {text}", hint=NAMESAKE if "fenced" in text else "start the worker again")


class Confluent:
    """A cluster, by confluent-kafka."""

    def __init__(self, settings: Settings) -> None:
        listen(library.name)
        self.url = settings.url
        self.common: dict[str, Any] = {
            "bootstrap.servers": ",".join(settings.servers),
            "client.id": f"varloop-{uuid.uuid4().hex[:12]}",
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 500,
            "socket.nagle.disable": True,
            "logger": library,
            "topic.metadata.refresh.interval.ms": int(METADATA * 1000),
            "metadata.max.age.ms": int(3 * METADATA * 1000),
            **settings.security,
        }

    @cached_property
    def admin(self) -> AdminClient:
        """Its answers come only while it lives."""
        return AdminClient(self.common)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """The one place where errors of the client become ours."""
        try:
            yield
        except (KafkaException, BufferError, RuntimeError) as error:
            if "admin" in self.__dict__:
                self.admin.poll(0)  # to hear what it complained of
            raise translate(error, self.url) from error

    def partitions(self, topic: str) -> int:
        with self.errors():
            known = self.admin.list_topics(timeout=ANSWER).topics.get(topic)
        return len(known.partitions) if known else 0

    def reader(self, topic: str, group: str, instance: str, member: Membership) -> _Reader:
        return _Reader(self, topic, group, instance, member)

    def writer(self) -> _Writer:
        return _Writer(self)

    def scan(self, topic: str) -> list[Record]:
        found: list[Record] = []
        options = {**self.common, "group.id": "varloop-scan", "enable.auto.commit": False}
        with self.errors(), closing(Consumer(options)) as consumer:
            left = {}
            for number in range(self.partitions(topic)):
                first, end = consumer.get_watermark_offsets(TopicPartition(topic, number), ANSWER)
                if first < end:
                    left[number] = end
                    consumer.incremental_assign([TopicPartition(topic, number, first)])
            while left:
                message = consumer.poll(ANSWER)
                if message is None:
                    raise TemporaryError(f"{self.url}: {topic} is not read to its end")
                if message.error():
                    raise KafkaException(message.error())
                found.append(_record(message))
                if found[-1].offset + 1 >= left[found[-1].partition]:
                    del left[found[-1].partition]
                    consumer.incremental_unassign([TopicPartition(topic, found[-1].partition)])
        return found

    def create(self, topic: Topic) -> None:
        new = NewTopic(topic.name, topic.partitions, topic.replicas, config=dict(topic.config))
        with self.errors():
            try:
                _settle(self.admin.create_topics([new]))
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
            deadline = time.monotonic() + ANSWER
            while not self.partitions(topic.name) and time.monotonic() < deadline:
                time.sleep(0.02)

    def grow(self, topic: str, partitions: int) -> None:
        with self.errors():
            _settle(self.admin.create_partitions([NewPartitions(topic, partitions)]))

    def config(self, topic: str) -> Mapping[str, str]:
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        with self.errors():
            (entries,) = _settle(self.admin.describe_configs([resource]))
        return {name: entry.value for name, entry in entries.items()}

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        changes = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in config.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=changes)
        with self.errors():
            _settle(self.admin.incremental_alter_configs([resource]))


def _settle(futures: Mapping[Any, Any]) -> list[Any]:
    return [future.result(ANSWER) for future in futures.values()]


class _Writer:
    def __init__(self, driver: Confluent) -> None:
        self._driver = driver
        self.broken = False
        with driver.errors():
            self._producer = Producer(
                {
                    **driver.common,
                    "acks": "all",
                    "enable.idempotence": True,
                    "linger.ms": 0,
                    "partitioner": "murmur2_random",
                    "message.max.bytes": LIMIT,
                }
            )

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, done: Done) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            done(self._lost(KafkaException(error)) if error else None)

        try:
            self._producer.produce(topic, value, key, headers=list(headers), on_delivery=delivered)
        except (KafkaException, BufferError) as error:
            done(self._lost(error))

    def _lost(self, error: Exception) -> VarloopError:
        """What became of a record. A producer that lost track of its sequence is replaced by another."""
        self.broken = self.broken or _is_fatal(error)
        return translate(error, self._driver.url)

    def serve(self, timeout: float = 0.0) -> None:
        self._producer.poll(timeout)

    def flush(self) -> None:
        self._producer.flush(ANSWER)

    close = flush


class _Reader:
    def __init__(self, driver: Confluent, topic: str, group: str, instance: str, member: Membership) -> None:
        self._driver = driver
        self._topic = topic
        self._member = member
        self._mine: set[int] = set()
        self._paused = False
        self._trouble: deque[KafkaError] = deque()
        options: dict[str, Any] = {
            **driver.common,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": int(SESSION * 1000),
            "heartbeat.interval.ms": int(HEARTBEAT * 1000),
            "max.poll.interval.ms": 3_600_000,
            "partition.assignment.strategy": "cooperative-sticky",
            "queued.max.messages.kbytes": 16_384,
            "fetch.wait.max.ms": FETCH,
        }
        if instance:
            options["group.instance.id"] = instance
        with driver.errors():
            self._consumer = Consumer(options)
            self._consumer.subscribe(
                [topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )

    def poll(self, timeout: float) -> list[Record]:
        found: list[Record] = []
        with self._driver.errors():
            if self._trouble:  # delivered after what was read before it, which would be lost with it
                error = KafkaException(self._trouble.popleft())
                if _is_fatal(error):
                    raise _gone(error, self._driver.url)
                raise error
            message = self._consumer.poll(timeout)
            while message is not None:
                if complaint := message.error():
                    self._complain(complaint)
                else:
                    found.append(_record(message))
                message = self._consumer.poll(0) if len(found) < BATCH else None
        return found

    def commit(self, offsets: Mapping[int, int], wait: bool = False) -> None:
        if not offsets:
            return
        positions = [TopicPartition(self._topic, number, offset) for number, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=positions, asynchronous=not wait)  # type: ignore[call-overload]
        except KafkaException as error:
            log.warning("offsets are not committed: %s", translate(error, self._driver.url))

    def pause(self, paused: bool) -> None:
        if paused != self._paused:
            self._paused = paused
            self._hold(self._mine)

    def close(self) -> None:
        with self._driver.errors():
            self._consumer.close()

    def _complain(self, error: KafkaError) -> None:
        """What the cluster tells between records."""
        if _is_fatal(KafkaException(error)) or error.code() in (*REFUSED, KafkaError.UNKNOWN_TOPIC_OR_PART):
            self._trouble.append(error)
        log.info("%s: %s", self._driver.url, error.str())

    def _hold(self, partitions: set[int]) -> None:
        parts = [TopicPartition(self._topic, number) for number in partitions]
        (self._consumer.pause if self._paused else self._consumer.resume)(parts)

    def _assigned(self, consumer: Consumer, parts: Sequence[TopicPartition]) -> None:
        new = {part.partition for part in parts}
        self._mine |= new
        self._member.assigned(frozenset(self._mine))
        if self._paused:
            consumer.incremental_assign(list(parts))
            self._hold(new)

    def _revoked(self, consumer: Consumer, parts: Sequence[TopicPartition]) -> None:
        self._member.revoking(frozenset(part.partition for part in parts))
        self.commit(self._member.to_commit(), wait=True)
        self._lost(consumer, parts)

    def _lost(self, consumer: Consumer, parts: Sequence[TopicPartition]) -> None:
        self._mine -= {part.partition for part in parts}
        self._member.assigned(frozenset(self._mine))


_headers = methodcaller("headers")  # called directly it may fail later, in whatever is called next


def _record(message: Message) -> Record:
    headers: Any = ()
    with suppress(SystemError):  # names that are no UTF-8: no event has such
        headers = _headers(message) or ()
    return Record(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.key(),
        message.value(),
        headers,
        message.timestamp()[1] / 1000,
    )
