from __future__ import annotations

import pytest

from varloop.bus.kafka.settings import parse_url
from varloop.errors import UsageError


@pytest.mark.parametrize(
    ("url", "servers", "topic"),
    [
        ("kafka://a:9092/runs", ("a:9092",), "runs"),
        ("kafka://a:9092,b-1.x:9093/runs.v1", ("a:9092", "b-1.x:9093"), "runs.v1"),
        ("kafka://[::1]:9092", ("[::1]:9092",), "varloop"),
    ],
)
def test_a_url_names_servers_and_topic(url: str, servers: tuple[str, ...], topic: str) -> None:
    """Servers and topic come from the URL, which the settings give back."""
    settings = parse_url(url, {})

    assert (settings.servers, settings.topic) == (servers, topic)
    assert parse_url(settings.url, {}) == settings


@pytest.mark.parametrize(
    "url",
    [
        "kafka://",
        "kafka://a/t",
        "kafka://a:9092/t/u",
        "kafka://a:9092/t?x=1",
        "http://a:9092/t",
        "kafka://a:9/..",
    ],
)
def test_a_bad_url_is_refused(url: str) -> None:
    """What is not the URL of a topic is a usage error that shows one."""
    with pytest.raises(UsageError, match="kafka://HOST:PORT"):
        parse_url(url, {})


def test_credentials_do_not_belong_into_the_url() -> None:
    """A password in the URL is refused and not repeated."""
    with pytest.raises(UsageError, match="VARLOOP_KAFKA_SASL_PASSWORD") as caught:
        parse_url("kafka://me:hush@a:9092/t", {})
    assert "hush" not in str(caught.value)


def test_security_comes_from_the_environment_and_is_not_shown() -> None:
    """Kafka's settings are read by their names; neither the URL nor the repr has them."""
    settings = parse_url(
        "kafka://a:9092/t",
        {
            "VARLOOP_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "VARLOOP_KAFKA_SASL_PASSWORD": "hush",
            "VARLOOP_KAFKA_SSL_CA_LOCATION": "/ca.pem",
            "OTHER": "x",
        },
    )

    assert settings.security == {
        "security.protocol": "SASL_SSL",
        "sasl.password": "hush",
        "ssl.ca.location": "/ca.pem",
    }
    assert "hush" not in repr(settings) + settings.url


def test_security_without_its_protocol_is_refused() -> None:
    """Credentials that would be sent to nobody are a usage error."""
    with pytest.raises(UsageError, match="SECURITY_PROTOCOL"):
        parse_url("kafka://a:9092/t", {"VARLOOP_KAFKA_SASL_USERNAME": "me"})
