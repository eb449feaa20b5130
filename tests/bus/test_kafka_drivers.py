"""What the client libraries are told and what is made of their errors; what they do is in tests/services."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
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


@pytest.fixture
def python(monkeypatch: pytest.MonkeyPatch) -> KafkaPython:
    """Without a cluster."""
    monkeypatch.setattr(kafka_python, "KafkaProducer", Producer)
    return KafkaPython(parse_url(URL, {}))


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
