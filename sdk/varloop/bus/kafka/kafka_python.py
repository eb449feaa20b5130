"""The driver over kafka-python: pure Python, nothing to compile."""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from varloop.bus.kafka.complaints import HEARD, advice, listen
from varloop.bus.kafka.driver import (
    LIMIT,
    METADATA,
    NAMESAKE,
    SERVE,
    Done,
    Headers,
    Membership,
    Record,
    Topic,
)
from varloop.bus.kafka.settings import HEARTBEAT, SESSION, Settings
from varloop.errors import MissingExtra, PermanentError, TemporaryError, VarloopError

try:
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
    from kafka.consumer.subscription_state import ConsumerRebalanceListener
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    from kafka.errors import (
        AuthorizationError,
        CorruptRecordError,
        FencedInstanceIdError,
        InvalidRecordError,
        KafkaConnectionError,
        KafkaError,
        KafkaTimeoutError,
        MessageSizeTooLargeError,
        NodeNotReadyError,
        RecordListTooLargeError,
        RetriableError,
        SaslAuthenticationFailedError,
        TopicAlreadyExistsError,
        UnsupportedCodecError,
    )
    from kafka.structs import OffsetAndMetadata
except ImportError as missing:
    raise MissingExtra("kafka-python", "kafka") from missing

__all__ = ["KafkaPython"]

log = logging.getLogger("varloop.bus")

ANSWER = 10
"""seconds to wait for records that are there"""
FLUSH = 10
"""seconds to wait for what is under way at the end"""
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError)
CODECS = {"lz4": "lz4", "zstd": "zstandard", "snappy": "python-snappy"}
"""packages by compression: kafka-python reads no record that came by one that is not installed"""
ABSENT = (KafkaTimeoutError, KafkaConnectionError, NodeNotReadyError)
"""what is known when no broker answers; why is in what the client complained of"""
_SECURITY = {
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
    "ssl.key.password": "ssl_password",
}


def translate(error: Exception, url: str) -> VarloopError:
    """Varloop's error for any error of the client."""
    text = f"{url}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if isinstance(error, TOO_LARGE):
        return PermanentError(text, hint="large data belongs into the store")
    if isinstance(error, FencedInstanceIdError):
        return PermanentError(text, hint=NAMESAKE)
    if isinstance(error, AuthorizationError | SaslAuthenticationFailedError):
        return TemporaryError(text, retry_after=5.0, hint="check the credentials and what they may do")
    if isinstance(error, UnsupportedCodecError):
        needed = next((package for codec, package in CODECS.items() if codec in text), "the codec's package")
        return TemporaryError(text, hint=f"pip install {needed}, or confluent-kafka, which needs none")
    if isinstance(error, CorruptRecordError):
        return TemporaryError(text, hint="this client reads no further; confluent-kafka does")
    if isinstance(error, ABSENT) and (reason := HEARD.reason()):
        text = f"{url}: {reason}"
    return TemporaryError(text, hint=advice(text))


class KafkaPython:
    """A cluster, by kafka-python."""

    def __init__(self, settings: Settings) -> None:
        listen("kafka")
        self.url = settings.url
        self.common: dict[str, Any] = {
            "bootstrap_servers": list(settings.servers),
            "client_id": f"varloop-{uuid.uuid4().hex[:12]}",
            "reconnect_backoff_max_ms": 500,
            "metadata_max_age_ms": int(METADATA * 1000),
            **{_SECURITY[name]: value for name, value in settings.security.items()},
        }

    def partitions(self, topic: str) -> int:
        with _Admin(self) as admin:
            return len(admin.describe_topics([topic])[0]["partitions"])

    def reader(self, topic: str, group: str, instance: str, member: Membership) -> _Reader:
        return _Reader(self, topic, group, instance, member)

    def writer(self) -> _Writer:
        return _Writer(self)

    def scan(self, topic: str) -> list[Record]:
        found: list[Record] = []
        try:
            consumer = KafkaConsumer(**self.common, allow_auto_create_topics=False, enable_auto_commit=False)
            try:
                parts = [TopicPartition(topic, number) for number in range(self.partitions(topic))]
                ends = consumer.end_offsets(parts)
                consumer.assign(parts)
                consumer.seek_to_beginning()
                silence = 0
                while any(consumer.position(part) < ends[part] for part in parts):
                    records = _records(consumer.poll(1000))
                    found += records
                    silence = 0 if records else silence + 1
                    if silence >= ANSWER:
                        raise TemporaryError(f"{self.url}: {topic} is not read to its end")
            finally:
                consumer.close()
        except (KafkaError, OSError) as error:
            raise translate(error, self.url) from error
        return [record for record in found if record.offset < ends[TopicPartition(topic, record.partition)]]

    def create(self, topic: Topic) -> None:
        new = NewTopic(topic.name, topic.partitions, topic.replicas, topic_configs=topic.config)
        with _Admin(self) as admin, contextlib.suppress(TopicAlreadyExistsError):
            admin.create_topics([new], wait_for_metadata=True)

    def grow(self, topic: str, partitions: int) -> None:
        with _Admin(self) as admin:
            admin.create_partitions({topic: NewPartitions(partitions)})

    def config(self, topic: str) -> Mapping[str, str]:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        with _Admin(self) as admin:
            found = admin.describe_configs([resource], config_filter="all")["topic"]
        return {name: entry["value"] for name, entry in found.get(topic, {}).items()}

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        with _Admin(self) as admin:
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(config))])


class _Admin:
    """The cluster's administration while it is needed."""

    def __init__(self, driver: KafkaPython) -> None:
        self._driver = driver

    def __enter__(self) -> Any:
        try:
            self._client = KafkaAdminClient(**self._driver.common, bootstrap_timeout_ms=5000)
        except (KafkaError, OSError) as error:
            raise translate(error, self._driver.url) from error
        return self._client

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._client.close()
        if isinstance(error, KafkaError | OSError):
            raise translate(error, self._driver.url) from error


class _Writer:
    def __init__(self, driver: KafkaPython) -> None:
        self._url = driver.url
        self._news = threading.Event()
        self.broken = False
        try:
            self._producer = KafkaProducer(
                **driver.common,
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                max_block_ms=5000,
                max_request_size=LIMIT,
                allow_auto_create_topics=False,
            )
        except (KafkaError, OSError) as error:
            raise translate(error, self._url) from error

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, done: Done) -> None:
        try:
            future = self._producer.send(topic, value, key, list(headers))
        except (KafkaError, OSError) as error:
            done(translate(error, self._url))
            return

        def delivered(error: Exception | None) -> None:
            done(error)
            self._news.set()

        future.add_callback(lambda _: delivered(None))
        future.add_errback(lambda error: delivered(self._lost(error)))

    def _lost(self, error: Exception) -> VarloopError:
        """What became of a record. One that is refused breaks the producer, which drops all others with its error."""
        if self.broken:
            return TemporaryError(f"{self._url}: dropped together with a record that was refused")
        self.broken = not isinstance(error, RetriableError)
        return translate(error, self._url)

    def serve(self, timeout: float = 0.0) -> None:
        if timeout:  # the client has a thread that tells
            self._news.wait(min(timeout, SERVE))
            self._news.clear()

    def flush(self) -> None:
        try:
            self._producer.flush(timeout=FLUSH)
        except (KafkaError, OSError) as error:
            log.warning("not everything is published: %s", translate(error, self._url))

    def close(self) -> None:
        self._producer.close(timeout=FLUSH)


class _Reader(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(
        self, driver: KafkaPython, topic: str, group: str, instance: str, member: Membership
    ) -> None:
        self._url = driver.url
        self._topic = topic
        self._member = member
        self._paused = False
        try:
            self._consumer = KafkaConsumer(
                **driver.common,
                group_id=group,
                group_instance_id=instance or None,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                allow_auto_create_topics=False,
                session_timeout_ms=int(SESSION * 1000),
                heartbeat_interval_ms=int(HEARTBEAT * 1000),
                max_poll_interval_ms=3_600_000,
                max_poll_records=200,
                partition_assignment_strategy=[CooperativeStickyAssignor],
            )
            # A member that is to assign partitions of a topic it has not heard of assigns none, and may stay at that.
            self._consumer.partitions_for_topic(topic)
            self._consumer.subscribe([topic], listener=self)
        except (KafkaError, OSError) as error:
            raise translate(error, self._url) from error

    def poll(self, timeout: float) -> list[Record]:
        try:
            if self._paused:
                self._consumer.pause(*self._consumer.assignment())
            found = _records(self._consumer.poll(int(timeout * 1000)))
            if not found and self._is_fenced():
                raise FencedInstanceIdError("the heartbeat was refused")
            return found
        except (KafkaError, OSError) as error:
            raise translate(error, self._url) from error

    def _is_fenced(self) -> bool:
        """Whether the client has given up its heartbeat without a word, as it does when it is fenced."""
        coordinator = self._consumer._coordinator
        return (
            bool(coordinator.stable())
            and not coordinator.rejoin_needed
            and not coordinator._heartbeat_enabled
        )

    def commit(self, offsets: Mapping[int, int], wait: bool = False) -> None:
        if not offsets:
            return
        positions = {
            TopicPartition(self._topic, partition): OffsetAndMetadata(offset, "", -1)
            for partition, offset in offsets.items()
        }
        try:
            if wait:
                self._consumer.commit(positions, timeout_ms=5000)
            else:
                self._consumer.commit_async(positions)
        except FencedInstanceIdError as error:
            raise translate(error, self._url) from error
        except (KafkaError, OSError) as error:
            log.warning("offsets are not committed: %s", translate(error, self._url))

    def pause(self, paused: bool) -> None:
        self._paused = paused
        if not paused:
            self._consumer.resume(*self._consumer.paused())

    def close(self) -> None:
        self._consumer.close(timeout_ms=5000)

    def on_partitions_revoked(self, revoked: Any) -> None:
        self._member.revoking(frozenset(part.partition for part in revoked))
        self.commit(self._member.to_commit())
        self._tell(revoked)

    def on_partitions_assigned(self, assigned: Any) -> None:
        self._tell(())

    def on_partitions_lost(self, lost: Any) -> None:
        self._tell(lost)

    def _tell(self, gone: Any) -> None:
        ours = self._consumer.assignment() - set(gone)
        self._member.assigned(frozenset(part.partition for part in ours))


def _records(batches: Mapping[Any, Sequence[Any]]) -> list[Record]:
    return [
        Record(
            record.topic,
            record.partition,
            record.offset,
            record.key,
            record.value,
            record.headers,
            record.timestamp / 1000,
        )
        for batch in batches.values()
        for record in batch
    ]
