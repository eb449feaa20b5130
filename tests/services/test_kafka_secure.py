"""TLS and SASL against a broker that demands both; SERVICES has the scripts that start it."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.bus_contract import CANCEL, cancel
from chaos.servers import Server
from varloop.bus.kafka import CLIENTS, KafkaBus, apply_topics, complaints
from varloop.errors import TemporaryError

pytestmark = pytest.mark.services

JAAS = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_me="hush";'


def sign(folder: Path) -> Path:
    """A certificate of a broker on this machine, signed by itself; with its key it lies in ``store.pem``."""
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", *names]
    done = subprocess.run([*command, "-days", "2"], cwd=folder, check=True, capture_output=True)
    found = folder / "certificate.pem"
    found.write_bytes(done.stdout)
    (folder / "store.pem").write_bytes((folder / "key.pem").read_bytes() + done.stdout)
    return found


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The broker's."""
    return sign(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secure(scripts: Path, certificate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a broker that speaks TLS and knows one user."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = {
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
        "listener.name.secure.ssl.keystore.type": "PEM",
        "listener.name.secure.ssl.keystore.location": certificate.with_name("store.pem"),
        "listener.name.secure.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.secure.plain.sasl.jaas.config": JAAS,
    }
    server = Server("kafka", scripts, tmp_path_factory.mktemp("kafka"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAFKA_EXTRA", f"SECURE={address}/{address}")
        patch.setenv("KAFKA_PROPS", "\n".join(f"{name}={value}" for name, value in settings.items()))
        server.start()
    yield address
    server.stop()


@pytest.fixture(params=CLIENTS)
def url(
    secure: str, certificate: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Of a topic on the broker, with the settings that it takes, for each client library."""
    settings = {
        "CLIENT": request.param,
        "SECURITY_PROTOCOL": "SASL_SSL",
        "SASL_MECHANISM": "PLAIN",
        "SASL_USERNAME": "me",
        "SASL_PASSWORD": "hush",
        "SSL_CA_LOCATION": str(certificate),
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"VARLOOP_KAFKA_{name}", value)
    return f"kafka://{secure}/{request.param}"


def test_events_travel_by_tls_and_sasl(url: str) -> None:
    """Topics are made, and an event is delivered, with the settings from the environment."""
    assert apply_topics(url, partitions=1)
    bus = KafkaBus(url)
    consumer = bus.consumer("g", [CANCEL])
    bus.publish(cancel("r"))

    delivery = consumer.poll(20)
    assert delivery is not None
    delivery.ack()
    consumer.close()
    bus.close()


REASONS = {
    "SASL_PASSWORD": (
        "nvalid username or password|uthentication failed",
        "check VARLOOP_KAFKA_SASL_USERNAME",
    ),
    "SASL_MECHANISM": ("PLAIN", "set VARLOOP_KAFKA_SASL_MECHANISM"),
    "SSL_CA_LOCATION": ("certificate", "check VARLOOP_KAFKA_SECURITY_PROTOCOL"),
    "name": ("no-such-host.invalid|DNS", "is the host's name right"),
    "port": ("refused|REFUSED", "is the broker up, and is this its port"),
}
"""what is wrong, what the error says of it, and what to do"""


@pytest.mark.parametrize(
    "url", ["confluent-kafka"], indirect=True
)  # the other leaves sockets and threads then
@pytest.mark.parametrize("wrong", REASONS)
def test_each_cause_has_a_text_of_its_own(
    url: str, wrong: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password, mechanism, certificate, name or port: the error names it and what to set, no secret; few
    lines come before it.
    """
    monkeypatch.setattr(complaints.HEARD, "_last", "")
    monkeypatch.setattr("varloop.bus.kafka.confluent.ANSWER", 3.0)
    match wrong:
        case "name":
            url = "kafka://no-such-host.invalid:9092/t"
        case "port":
            url = "kafka://127.0.0.1:1/t"
        case "SSL_CA_LOCATION":
            monkeypatch.setenv("VARLOOP_KAFKA_SSL_CA_LOCATION", str(sign(tmp_path)))
        case _:
            value = "wrong-password" if wrong == "SASL_PASSWORD" else "SCRAM-SHA-256"
            monkeypatch.setenv(f"VARLOOP_KAFKA_{wrong}", value)

    with pytest.raises(TemporaryError) as caught:
        apply_topics(url)
    reason, hint = REASONS[wrong]
    assert re.search(reason, caught.value.detail), caught.value.detail
    assert hint in caught.value.hint, str(caught.value)
    assert "wrong-password" not in str(caught.value)
    assert len(caplog.records) <= 5
