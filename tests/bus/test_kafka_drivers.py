"""What the client libraries are told and what is made of their errors; what they do is in tests/services."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, errors
from kafka.errors import (
    CorruptRecordError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    UnsupportedCodecError,
)
from kafka.future import Future

from varloop.bus.kafka import confluent, kafka_python
from varloop.bus.kafka.confluent import Confluent
from varloop.bus.kafka.driver import Driver
from varloop.bus.kafka.kafka_python import KafkaPython
from varloop.bus.kafka.settings import NAMES, parse_url
from varloop.errors import PermanentError, TemporaryError

URL = "kafka://127.0.0.1:1/t"
SECURE = {
    "VARLOOP_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "VARLOOP_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "VARLOOP_KAFKA_SASL_USERNAME": "me",
    "VARLOOP_KAFKA_SASL_PASSWORD": "hush",
}


def test_librdkafka_takes_the_security_settings() -> None:
    """Every client of librdkafka accepts TLS and SASL by the names they are set by, and unknown ones not."""
    driver = Confluent(parse_url(URL, SECURE))
    assert {name: driver.common[name] for name in ("sasl.mechanism", "sasl.password")} == {
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.password": "hush",
    }
    driver.writer().close()
    assert driver.admin is not None
    driver.common["sasl.passphrase"] = "hush"
    with pytest.raises(TemporaryError, match="No such configuration property"):
        driver.writer()


def test_kafka_python_takes_the_security_settings() -> None:
    """Every setting has a name that each client of kafka-python knows."""
    driver = KafkaPython(parse_url(URL, SECURE))
    given = {"security_protocol", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password"}
    assert [driver.common[name] for name in sorted(given)] == ["SCRAM-SHA-512", "hush", "me", "SASL_SSL"]

    assert kafka_python._SECURITY.keys() == set(NAMES)
    for client in (KafkaAdminClient, KafkaConsumer, KafkaProducer):
        assert client.DEFAULT_CONFIG.keys() >= set(kafka_python._SECURITY.values())


@pytest.mark.parametrize("module", [confluent, kafka_python], ids=lambda module: module.__name__)
def test_secrets_are_in_no_error(module: Any) -> None:
    """What an error says of the cluster is its URL."""
    assert "hush" not in str(module.translate(RuntimeError("refused"), parse_url(URL, SECURE).url))


@pytest.mark.parametrize("code", [10, 18, 87])
def test_what_a_broker_never_takes_is_permanent(code: int) -> None:
    """Records and batches that are too large or invalid are told apart from a broker that is away, by both."""
    of_python = next(error for error in vars(errors).values() if getattr(error, "errno", None) == code)
    for told in (
        confluent.translate(KafkaException(KafkaError(code)), URL),
        kafka_python.translate(of_python(), URL),
    ):
        assert isinstance(told, PermanentError)


class Producer:
    """Of either library: does as told."""

    def __init__(self, **options: Any) -> None:
        self.futures: list[Any] = []
        self.refusal: Exception | None = None

    def send(self, *record: Any) -> Any:
        """As kafka-python's."""
        self.futures.append(Future())
        return self.futures[-1]

    def produce(self, *record: Any, **options: Any) -> None:
        """As librdkafka's."""
        if self.refusal:
            raise self.refusal


def sent(driver: Driver, count: int) -> tuple[Any, list[Any]]:
    """A writer, and what becomes of so many records."""
    writer: Any = driver.writer()
    writer._producer = Producer()
    told: list[Any] = []
    for _ in range(count):
        writer.send("t", None, b"", [], told.append)
    return writer, told


class Message:
    """What librdkafka's consumer hands over."""

    def __init__(self, offset: int = 0, error: KafkaError | None = None, unreadable: bool = False) -> None:
        self.offset, self.error = lambda: offset, lambda: error
        self.unreadable = unreadable

    def headers(self) -> Any:
        """As the library does it."""
        if self.unreadable:
            raise SystemError("returned a result with an exception set")

    topic = partition = key = value = lambda self: None

    def timestamp(self) -> tuple[int, int]:
        """Never."""
        return 0, 0


class Consumer:
    """Hands over these messages, one by one."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)

    def poll(self, timeout: float) -> Message | None:
        """The next."""
        return self.messages.pop(0) if self.messages else None


@pytest.fixture
def reader() -> Any:
    """Of librdkafka, without a cluster."""
    member: Any = None
    reader = Confluent(parse_url(URL, {})).reader("t", "g", "", member)
    reader._consumer.close()
    return reader


def test_an_error_takes_nothing_along(reader: Any) -> None:
    """Records that were read before and after an error are handed over; the error is told next."""
    refused = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    reader._consumer = Consumer(Message(1), Message(error=refused), Message(2))

    assert [record.offset for record in reader.poll(0.0)] == [1, 2]
    with pytest.raises(TemporaryError, match="check the credentials"):
        reader.poll(0.0)
    assert reader.poll(0.0) == []


@pytest.mark.parametrize("code", [KafkaError._FATAL, KafkaError._FENCED, KafkaError.FENCED_INSTANCE_ID])
def test_a_member_that_is_fenced_ends(reader: Any, code: int) -> None:
    """librdkafka says so by a code that claims not to be fatal; that member would read nothing ever again."""
    reader._consumer = Consumer(Message(error=KafkaError(code, "Static consumer fenced by other consumer")))

    assert reader.poll(0.0) == []
    with pytest.raises(PermanentError, match="each needs an --instance of its own"):
        reader.poll(0.0)


def test_unreadable_headers_are_none(reader: Any) -> None:
    """A header whose name is no UTF-8 costs its record the headers, and no other record anything."""
    reader._consumer = Consumer(Message(1), Message(2, unreadable=True))

    assert [(record.offset, record.headers) for record in reader.poll(0.0)] == [(1, ()), (2, ())]


@pytest.fixture
def python(monkeypatch: pytest.MonkeyPatch) -> KafkaPython:
    """Without a cluster."""
    monkeypatch.setattr(kafka_python, "KafkaProducer", Producer)
    return KafkaPython(parse_url(URL, {}))


class Silent:
    """A consumer of kafka-python whose broker went away after it told where the topic ends."""

    def __init__(self, **options: Any) -> None:
        self.position = lambda part: 0
        self.poll: Any = lambda milliseconds: {}
        self.assign = self.seek_to_beginning = self.close = lambda *parts: None

    def end_offsets(self, parts: Any) -> Any:
        """One record."""
        return dict.fromkeys(parts, 1)


def test_kafka_python_does_not_scan_without_end(python: KafkaPython, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that do not come are a temporary error after a while."""
    monkeypatch.setattr(kafka_python, "KafkaConsumer", Silent)
    monkeypatch.setattr(python, "partitions", lambda topic: 1)

    with pytest.raises(TemporaryError, match="not read to its end"):
        python.scan("t")


def test_kafka_python_says_who_can_read_on() -> None:
    """What only the other client can read is said to be so, and which package is missing; it is not the broker."""
    assert "confluent-kafka does" in str(kafka_python.translate(CorruptRecordError("header"), URL))
    for codec, package in {"lz4": "lz4", "zstd": "zstandard", "snappy": "python-snappy"}.items():
        error = UnsupportedCodecError(f"Libraries for {codec} compression codec not found")
        assert f"pip install {package}, or confluent-kafka" in str(kafka_python.translate(error, URL))


def test_a_refused_record_breaks_kafka_python(python: KafkaPython) -> None:
    """Its producer drops all other records with the error of the refused one; only that one is to blame."""
    writer, told = sent(python, 3)
    first, second, third = writer._producer.futures
    first.success(None)
    assert not writer.broken
    second.failure(MessageSizeTooLargeError())
    third.failure(MessageSizeTooLargeError())

    assert writer.broken
    assert [type(error) for error in told] == [type(None), PermanentError, TemporaryError]


def test_a_late_answer_breaks_nothing(python: KafkaPython) -> None:
    """A record that may be sent again leaves the producer whole."""
    writer, told = sent(python, 1)
    writer._producer.futures[0].failure(KafkaTimeoutError())

    assert not writer.broken
    assert isinstance(told[0], TemporaryError)


@pytest.mark.parametrize(("code", "broken"), [(KafkaError._FATAL, True), (KafkaError._QUEUE_FULL, False)])
def test_a_fatal_error_breaks_librdkafka(code: int, broken: bool) -> None:
    """A producer that lost track of its sequence says so at the next record; a full queue is no such thing."""
    writer, _ = sent(Confluent(parse_url(URL, {})), 0)
    told: list[Any] = []
    writer._producer.refusal = KafkaException(KafkaError(code))
    writer.send("t", None, b"", [], told.append)

    assert writer.broken is broken
    assert isinstance(told[0], TemporaryError)
