"""What client libraries say of their connections."""

from __future__ import annotations

import logging

import pytest

from varloop.bus.kafka.complaints import Complaints, advice, listen

AFTER = "(after 0ms in state CONNECT)"
LIBRDKAFKA = {
    f"[thrd:a:9092/bootstrap]: a:9092/bootstrap: Failed to resolve 'a:9092': Name or service not known {AFTER}": (
        "a:9092: Failed to resolve 'a:9092': Name or service not known",
        "host's name",
    ),
    f"[thrd:b:9092/1]: b:9092/1: Connect to ipv4#10.0.0.1:9092 failed: Connection refused {AFTER}": (
        "b:9092: Connect to ipv4#10.0.0.1:9092 failed: Connection refused",
        "is the broker up",
    ),
    "[thrd:sasl_ssl://c:9093/bootstrap]: sasl_ssl://c:9093/bootstrap: SASL authentication error: Authentication "
    "failed: Invalid username or password (after 300ms in state AUTH_REQ, 3 identical error(s) suppressed)": (
        "sasl_ssl://c:9093: SASL authentication error: Authentication failed: Invalid username or password",
        "SASL_PASSWORD",
    ),
    "[thrd:sasl_ssl://c:9093/bootstrap]: sasl_ssl://c:9093/bootstrap: SASL SCRAM-SHA-256 mechanism handshake failed: "
    "Broker: Unsupported SASL mechanism: broker's supported mechanisms: PLAIN (after 1ms in state AUTH_HANDSHAKE)": (
        "sasl_ssl://c:9093: SASL SCRAM-SHA-256 mechanism handshake failed: Broker: Unsupported SASL mechanism: "
        "broker's supported mechanisms: PLAIN",
        "SASL_MECHANISM",
    ),
}


def record(text: str, level: int = logging.ERROR) -> logging.LogRecord:
    """Of librdkafka."""
    return logging.LogRecord(
        "varloop.bus.librdkafka", level, "", 0, "%s [%s] %s", ("FAIL", "x#1", text), None
    )


@pytest.mark.parametrize("text", LIBRDKAFKA)
def test_the_reason_is_what_was_complained_of(text: str) -> None:
    """Without what the library puts around it; each cause has an advice of its own."""
    complaints = Complaints()
    complaints.filter(record(text))
    complaints.filter(record("[thrd:main]: 1/1 brokers are down"))

    reason, hint = LIBRDKAFKA[text]
    assert complaints.reason() == reason
    assert hint in advice(reason)
    assert len({advice(reason) for reason, _ in LIBRDKAFKA.values()}) == len(LIBRDKAFKA)


def test_a_telling_reason_is_kept() -> None:
    """What comes after it and tells nothing, as kafka-python's time-outs, does not take its place."""
    complaints = Complaints()
    for text in (
        "Connection failed: KafkaConnectionError: 111 ECONNREFUSED",
        "RequestTimedOutError: after 278 ms",
    ):
        complaints.filter(logging.LogRecord("kafka.net", logging.ERROR, "", 0, text, None, None))
    assert complaints.reason() == "Connection failed: KafkaConnectionError: 111 ECONNREFUSED"
    transport = "<KafkaSSLTransport [127.0.0.1:9093<-43150]>: "
    for text in (
        "Abort (SaslAuthenticationFailedError: Invalid username or password)",
        "socket disconnected",
    ):
        told = logging.LogRecord("kafka.net", logging.ERROR, "", 0, transport + text, None, None)
        complaints.filter(told)
    assert complaints.reason() == "Abort (SaslAuthenticationFailedError: Invalid username or password)"
    assert "SASL_PASSWORD" in advice(complaints.reason())


def test_a_broker_that_is_away_is_one_line_a_minute() -> None:
    """However many clients complain however often, of its names as a server and as a node."""
    complaints = Complaints()
    passed = [
        complaints.filter(record(f"[thrd:{name}]: {name}: Connect failed: Connection refused {AFTER}"))
        for _ in range(1000)
        for name in ("a:9092/bootstrap", "a:9092/1", "b:9092/2")
    ]
    assert sum(passed) == 2


def test_old_complaints_are_no_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happened a while ago is no cause of what goes wrong now."""
    complaints = Complaints()
    complaints.filter(record(next(iter(LIBRDKAFKA))))
    monkeypatch.setattr("varloop.bus.kafka.complaints.RECENT", 0.0)
    assert complaints.reason() == ""


def test_all_loggers_of_a_library_are_heard() -> None:
    """Each of its modules has one."""
    logging.getLogger("some_library.net.connection")
    listen("some_library")
    listen("some_library")
    heard = [logging.getLogger(name).filters for name in ("some_library", "some_library.net.connection")]
    assert [len(filters) for filters in heard] == [1, 1]
