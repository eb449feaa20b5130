"""The S3 store against a server that answers as told; against real ones in tests/services."""

from __future__ import annotations

import builtins
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import minio.error
import pytest
import urllib3
from minio.credentials.providers import IamAwsProvider
from minio.error import S3Error
from urllib3.util import wait_for_read

from varloop.errors import PermanentError, StoreUnavailable, UsageError, VarloopError
from varloop.store import open_store
from varloop.store.s3 import HOPELESS, RAISED, S3Store, _credentials, _Renewed, translate
from varloop.support.connections import Connections, UnsentError

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "user-name", "AWS_SECRET_ACCESS_KEY": "the-secret"}
Answer = Callable[[str, dict[str, str]], int | None]
"""status for (method and path, headers); None hangs up"""


class Server(ThreadingHTTPServer):
    """Answers with a status and nothing else; notes all requests."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.answer: Answer = lambda request, headers: 200
        self.keys: set[str] = set()
        self.ports: set[int] = set()
        """of the clients that wrote"""
        self.hang_up = False
        """after the answer, without a word"""

    @property
    def url(self) -> str:
        """Of a bucket here."""
        return f"s3://bucket/p?endpoint=http://127.0.0.1:{self.server_port}"

    def honest(self, request: str, headers: dict[str, str]) -> int:
        """Honours conditions, as far as the probe can tell."""
        method, path = request.split(" ")
        if method == "DELETE":
            return 204
        if "if-none-match" in headers and path in self.keys:
            return 412
        self.keys.add(path)
        return 200


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def handle_one(self) -> None:
        """Any method."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.ports |= {self.client_address[1]} if self.command == "PUT" else set()
        self.close_connection = self.server.hang_up
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((f"{self.command} {self.path}", headers))
        status = self.server.answer(*self.server.seen[-1])
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_PUT = do_DELETE = handle_one  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on loopback."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def store(server: Server) -> Iterator[S3Store]:
    """A store on the server, past its probe."""
    server.answer = server.honest
    store = S3Store(server.url, ENVIRONMENT)
    store.close()
    server.seen.clear()
    server.ports.clear()
    yield store
    store.close()


def test_a_server_that_ignores_conditions_is_refused(server: Server) -> None:
    """A server that creates what exists is a usage error at start-up that says what is needed."""
    with pytest.raises(UsageError, match=r"ignores If-None-Match.*conditional writes"):
        S3Store(server.url, ENVIRONMENT)


def test_a_create_is_not_repeated_once_it_was_sent(server: Server, store: S3Store) -> None:
    """A create whose answer is lost or bad is reported as temporary, after one request."""
    for status in (None, 500, 503):
        server.answer = lambda request, headers, status=status: status  # type: ignore[misc]
        server.seen.clear()
        with pytest.raises(StoreUnavailable):
            store.create("k", b"1")
        assert len(server.seen) == 1


def test_reads_and_puts_are_repeated(server: Server, store: S3Store) -> None:
    """What may be done twice is tried again on the spot when the server is busy."""
    answers = iter([503, 200])
    server.answer = lambda request, headers: next(answers)

    store.put("k", b"1")
    assert len(server.seen) == 2


def test_connections_are_kept_and_shared(server: Server, store: S3Store) -> None:
    """Writes one after the other use one connection; after the server hung up a new one is made, unnoticed."""
    for number in range(5):
        store.create(f"a{number}", b"1")
    assert len(server.ports) == 1

    server.hang_up = True
    store.create("b", b"1")
    server.hang_up = False
    (connection,) = store._connections._idle
    assert wait_for_read(connection, timeout=5.0)  # the news has come
    assert store.create("c", b"1")
    assert len(server.ports) == 2


def test_a_server_that_refuses_connections_is_tried_again(
    server: Server, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A create that could not even be sent is sent once the server is back."""
    real, refusals = Connections._connect, iter([True, True, False])

    def connect(connections: Connections) -> socket.socket:
        if next(refusals):
            raise UnsentError("refused")
        return real(connections)

    store.close()
    monkeypatch.setattr(Connections, "_connect", connect)
    monkeypatch.setattr("varloop.store.s3.PAUSES", (0.0, 0.0))

    assert store.create("k", b"1")
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 400, 413, 429, 500, 503])
def test_every_refusal_is_an_error(server: Server, store: S3Store, status: int) -> None:
    """No answer but success is success; only requests that can never work are permanent."""
    server.answer = lambda request, headers: status
    for verb in (lambda: store.put("k", b""), lambda: store.create("k", b""), lambda: list(store.keys())):
        with pytest.raises(PermanentError if status in HOPELESS else StoreUnavailable, match=str(status)):
            verb()


def test_asks_for_encryption(server: Server) -> None:
    """The options for server-side encryption are headers of every write, and are signed."""
    server.answer = server.honest
    store = S3Store(f"{server.url}&sse=aws:kms&kms_key=key-1", ENVIRONMENT)
    store.put("k", b"1")
    store.close()

    writes = [headers for request, headers in server.seen if request.startswith("PUT")]
    assert len(writes) == 3
    for headers in writes:
        assert headers["x-amz-server-side-encryption"] == "aws:kms"
        assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-1"
        assert "x-amz-server-side-encryption-aws-kms-key-id" in headers["authorization"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://user:hush-hush@bucket", "credentials"),
        ("s3://bucket?endpoint=http://user:hush-hush@host", "credentials"),
        ("s3://bucket?secret_key=x", "not an S3 store"),
        ("s3:///prefix", "not an S3 store"),
        ("s3://bucket#x", "not an S3 store"),
        ("s3://bucket?endpoint=host:9000", "http://host:port"),
        ("s3://bucket?endpoint=http://host:port", "http://host:port"),
        ("s3://bucket?endpoint=http://host/minio", "or a path"),
    ],
)
def test_a_bad_url_is_a_usage_error(url: str, words: str) -> None:
    """Faults of the URL are found before anything is sent, and secrets in it are not repeated."""
    with pytest.raises(UsageError, match=words) as caught:
        open_store(url)
    assert "hush" not in str(caught.value)


def test_credentials_come_from_the_environment() -> None:
    """Without credentials the names to set are in the error; no secret is in the URL kept."""
    with pytest.raises(UsageError, match="VARLOOP_S3_ACCESS_KEY"):
        S3Store("s3://bucket", {"AWS_ACCESS_KEY_ID": "half"})


def test_keys_that_are_renewed_are_read_again(server: Server, tmp_path: Path) -> None:
    """A file of credentials may change while a worker runs: the next request is signed with the new ones."""
    file = tmp_path / "credentials"
    profile = "[default]\naws_access_key_id = {}\naws_secret_access_key = hush-hush\n"
    file.write_text(profile.format("first"))
    server.answer = server.honest
    store = S3Store(server.url, {"AWS_SHARED_CREDENTIALS_FILE": str(file)})
    file.write_text(profile.format("second"))
    store.put("a", b"")
    store.delete("a")
    file.write_text("")
    with pytest.raises(StoreUnavailable, match="no credentials"):
        store.put("a", b"")
    store.close()

    signers = [
        headers["authorization"].partition("Credential=")[2].partition("/")[0] for _, headers in server.seen
    ]
    assert signers[:2] == ["first", "first"]
    assert signers[-2:] == ["second", "second"]


def test_a_web_identity_is_known(tmp_path: Path) -> None:
    """A token that the platform renews is exchanged by the client, at the first request."""
    found = _credentials(
        {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ROLE_ARN": "arn:aws:iam::1:role/x"}
    )
    assert isinstance(found, _Renewed)
    assert isinstance(found._provider, IamAwsProvider)


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening an S3 store without its client says what to install."""
    monkeypatch.delitem(__import__("sys").modules, "varloop.store.s3")
    real = builtins.__import__

    def absent(name: str, *args: Any, **options: Any) -> Any:
        if name == "minio":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UsageError, match="minio is not installed"):
        open_store("s3://bucket")


def _classes(module: Any) -> list[type[Exception]]:
    return [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Exception)
        and not issubclass(kind, Warning)
        and kind.__module__ == module.__name__
        and kind.__name__ not in ("MinioAdminException", "ProxySchemeUnsupported")  # not of what is used here
    ]


@pytest.mark.parametrize(
    "kind",
    [
        *_classes(minio.error),
        *_classes(urllib3.exceptions),
        *_classes(http.client),
        ConnectionError,
        TimeoutError,
        ParseError,
    ],
)
def test_whatever_the_client_raises_becomes_ours(kind: type[Exception]) -> None:
    """Every exception of the client and its HTTP library is caught, and is translated with the store's URL."""
    error = kind.__new__(kind)
    Exception.__init__(error, "what happened")
    for name in ("code", "_code", "message", "_body", "expected", "length"):
        error.__dict__.setdefault(name, 500)
    error.__dict__["partial"] = b"" if kind.__module__ == "http.client" else 500
    error.__dict__["_status_code"] = 500
    error.__dict__["response"] = urllib3.HTTPResponse(b"", status=500)

    assert isinstance(error, RAISED)
    ours = translate("s3://bucket", error)
    assert isinstance(ours, VarloopError)
    assert "s3://bucket" in str(ours)


def test_an_absent_object_is_no_outage() -> None:
    """NoSuchKey means that the object is not there; it is not for the caller to try again."""
    response = urllib3.HTTPResponse(b"", status=404)
    error = S3Error(response, "NoSuchKey", "gone", None, None, None)

    assert isinstance(translate("s3://bucket", error), PermanentError)


@pytest.mark.parametrize(
    ("options", "environment", "host"),
    [
        ("", {}, "s3.us-east-1.amazonaws.com"),
        ("?region=eu-central-1", {}, "s3.eu-central-1.amazonaws.com"),
        ("", {"AWS_REGION": "eu-west-3"}, "s3.eu-west-3.amazonaws.com"),
        ("?region=cn-north-1", {}, "s3.cn-north-1.amazonaws.com.cn"),
        ("?region=eu-central-1", {"AWS_ENDPOINT_URL_S3": "https://here:9"}, "here:9"),
        (
            "?region=eu-central-1&endpoint=http://there:9",
            {"AWS_ENDPOINT_URL_S3": "https://here:9"},
            "there:9",
        ),
    ],
)
def test_reads_and_writes_go_to_the_same_host(
    monkeypatch: pytest.MonkeyPatch, options: str, environment: dict[str, str], host: str
) -> None:
    """Of AWS that of the bucket's region, which no other serves."""
    monkeypatch.setattr(S3Store, "_probe", lambda store: None)
    store = S3Store(f"s3://bucket{options}", {**ENVIRONMENT, **environment})
    store.close()

    assert store._connections._address[0] == host.partition(":")[0]
    assert store._client._base_url.build(method="GET", region=store._region).netloc == host


@pytest.mark.parametrize(("conflicts", "opens"), [(2, True), (3, False)])
def test_a_probe_that_was_disturbed_is_made_again(conflicts: int, opens: bool, server: Server) -> None:
    """A conflict with the probe of another process is no answer; a server that has nothing else to say is unavailable."""
    left = iter([True] * conflicts)
    server.answer = lambda request, headers: (
        409 if request.startswith("PUT") and next(left, False) else server.honest(request, headers)
    )
    if opens:
        S3Store(server.url, ENVIRONMENT).close()
    else:
        with pytest.raises(StoreUnavailable, match="HTTP 409"):
            S3Store(server.url, ENVIRONMENT)
