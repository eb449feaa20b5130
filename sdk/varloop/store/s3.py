"""A store in an S3 bucket: AWS, MinIO, Versity's gateway, Ceph, R2, whatever honours ``If-None-Match: *``.

``s3://BUCKET[/PREFIX]?endpoint=URL&region=NAME&sse=AES256|aws:kms&kms_key=ID``. Credentials come from the
environment alone: ``VARLOOP_S3_ACCESS_KEY`` and ``VARLOOP_S3_SECRET_KEY``, else AWS's usual names, among them those of
files that are renewed: ``AWS_SHARED_CREDENTIALS_FILE``, ``AWS_WEB_IDENTITY_TOKEN_FILE``.
"""

from __future__ import annotations

import configparser
import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any, Literal, ParamSpec, TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit
from xml.etree import ElementTree

from varloop.errors import MissingExtra, PermanentError, StoreUnavailable, UsageError, VarloopError
from varloop.store import Store
from varloop.support.connections import Connections, UnsentError, endpoint

try:
    import certifi
    import urllib3
    from minio import Minio
    from minio.credentials.credentials import Credentials
    from minio.credentials.providers import AWSConfigProvider, IamAwsProvider, Provider, StaticProvider
    from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
    from minio.signer import sign_v4_s3
except ImportError as missing:
    raise MissingExtra("minio", "s3") from missing

__all__ = ["S3Store"]

Missing = Literal["refuse", "create", "report"]
P = ParamSpec("P")
R = TypeVar("R")

HOPELESS = {400, 405, 411, 413, 414, 501}
"""statuses that the same request will meet again"""
RAISED = (
    MinioException,
    urllib3.exceptions.HTTPError,
    HTTPException,
    ElementTree.ParseError,
    OSError,
    UnicodeError,
)
"""all that the client and its HTTP library raise over a server's answer or silence"""
_OPTIONS = {"endpoint", "region", "sse", "kms_key"}
_CONDITION = {"If-None-Match": "*"}
_EXISTS = 412
BUSY = (500, 502, 503, 504)
PAUSES = (0.1, 0.2)
"""seconds before each further attempt"""
PROBES = 3
"""attempts to see whether conditions are honoured"""
CONNECT, ANSWER = 3.0, 15.0
"""seconds for a connection, and seconds without a byte of an answer"""


class S3Store(Store):
    """One object an object, under ``PREFIX/``. Connections are kept and shared by all threads.

    A create is never repeated once it may have reached the server: repeated, it could find its own object
    and take it for somebody else's.

    :param missing: what to do about a bucket that is not there; ``is_new`` says whether it was not.
    :raises UsageError: if the URL, the credentials or the bucket are wrong, or the server ignores conditions.
    :raises StoreUnavailable: if the server does not answer.
    """

    def __init__(
        self, url: str, environment: Mapping[str, str] = os.environ, *, missing: Missing = "refuse"
    ) -> None:
        self.url, parts, options = _parse(url)
        self.bucket, self._prefix = parts.netloc, parts.path.strip("/")
        self._prefix += "/" if self._prefix else ""
        self._region = options.get("region") or environment.get("AWS_REGION", "us-east-1")
        self._encryption = _encryption(options)
        given = options.get("endpoint") or environment.get("AWS_ENDPOINT_URL_S3") or _aws(self._region)
        self._endpoint = _server(given)
        self._credentials = _credentials(environment)
        trusted = environment.get("SSL_CERT_FILE") or certifi.where()
        self._connections = Connections(self._endpoint, trusted, (CONNECT, ANSWER))
        self._pool = urllib3.PoolManager(
            maxsize=16,
            timeout=urllib3.Timeout(connect=CONNECT, read=ANSWER),
            retries=urllib3.Retry(
                total=len(PAUSES), backoff_factor=PAUSES[0], status_forcelist=BUSY, raise_on_status=False
            ),
            cert_reqs="CERT_REQUIRED",
            ca_certs=trusted,
        )
        self._client = Minio(
            self._endpoint.netloc,
            credentials=self._credentials,
            secure=self._endpoint.scheme == "https",
            region=self._region,
            http_client=self._pool,
        )
        try:
            self.is_new = missing != "refuse" and not self._call(self._client.bucket_exists, self.bucket)
            if self.is_new and missing == "create":
                self._call(self._client.make_bucket, self.bucket, self._region)
            if not (self.is_new and missing == "report"):
                self._probe()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for key in self._pool.pools.keys():  # clear() alone leaves open connections to the garbage collector
            self._pool.pools[key].close()
        self._pool.clear()
        self._connections.close()

    def _read(self, key: str) -> bytes | None:
        try:
            response = self._call(self._client.get_object, self.bucket, self._prefix + key)
        except _Absent:
            return None
        try:
            data: bytes = self._call(response.read)
        finally:
            response.close()
            response.release_conn()
        return data

    def _write(self, key: str, sealed: bytes) -> None:
        self._put(key, sealed, {})

    def _create(self, key: str, sealed: bytes) -> bool:
        return self._put(key, sealed, _CONDITION)

    def _delete(self, key: str) -> None:
        try:
            self._call(self._client.remove_object, self.bucket, self._prefix + key)
        except _Absent:
            return

    def _keys(self, prefix: str, after: str) -> Iterator[str]:
        start = self._prefix + after if after else None
        for item in self._list(self._prefix + prefix, recursive=True, start_after=start):
            yield item.object_name.removeprefix(self._prefix)

    def _older(self, prefix: str, before: float) -> Iterator[str]:
        for item in self._list(self._prefix + prefix, recursive=True):
            if item.last_modified.timestamp() < before:
                yield item.object_name.removeprefix(self._prefix)

    def _folders(self, prefix: str) -> Iterator[str]:
        for item in self._list(self._prefix + prefix):
            if item.is_dir:
                yield item.object_name.removeprefix(self._prefix + prefix).removesuffix("/")

    def _list(self, prefix: str, **options: Any) -> Iterator[Any]:
        """Objects and, unless recursive, folders, as the client gives them."""
        found = self._client.list_objects(self.bucket, prefix, **options)
        while (item := self._call(next, found, None)) is not None:
            yield item

    def _put(self, key: str, sealed: bytes, condition: dict[str, str]) -> bool:
        """Write an object by a request of our own: the client has no argument for conditions."""
        path = f"/{self.bucket}/{quote(self._prefix + key, safe='/')}"
        target = SplitResult(self._endpoint.scheme, self._endpoint.netloc, path, "", "")
        digest = hashlib.sha256(sealed).hexdigest()
        now = datetime.now(UTC)
        headers = {
            "Host": self._endpoint.netloc,
            "Content-Length": str(len(sealed)),
            "Content-Type": "application/octet-stream",
            "x-amz-content-sha256": digest,
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            **self._encryption,
            **condition,
        }
        credentials = self._call(self._credentials.retrieve)
        signed = sign_v4_s3(
            method="PUT",
            url=target,
            region=self._region,
            headers=headers,  # type: ignore[arg-type]
            credentials=credentials,
            content_sha256=digest,
            date=now,
        )
        status, answer = self._call(self._send, path, signed, sealed, repeat=not condition)
        if condition and status == _EXISTS:
            return False
        if status != 200:
            raise _refused(self.url, status, _detail(answer))
        return True

    def _send(self, path: str, headers: Mapping[str, Any], body: bytes, repeat: bool) -> tuple[int, bytes]:
        """Send a PUT request; again if it failed and the server has not seen it, or may see it twice."""
        for pause in PAUSES:
            with contextlib.suppress(*(RAISED if repeat else (UnsentError,))):
                answer = self._connections.send("PUT", path, headers, body)
                if not repeat or answer[0] not in BUSY:
                    return answer
            time.sleep(pause)
        return self._connections.send("PUT", path, headers, body)

    def _call(self, function: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
        """Call the client; whatever it raises becomes ours, here and nowhere else."""
        try:
            return function(*args, **options)
        except RAISED as error:
            raise translate(self.url, error) from error

    def _probe(self) -> None:
        """See whether conditional creates are honoured. What another process's probe disturbs is tried again."""
        for attempt in range(1, PROBES + 1):
            try:
                honoured = self._honours_conditions(f"probe/{uuid.uuid4().hex}")
                break
            except _Conflict:  # Versity's gateway removes a folder with the last probe in it
                if attempt == PROBES:
                    raise
        if not honoured:
            raise UsageError(
                f"{self.url}: the server ignores If-None-Match, so no two processes could agree on anything",
                hint="use AWS S3, MinIO, Versity S3 Gateway, Ceph 19 or another server with conditional writes",
            )

    def _honours_conditions(self, key: str) -> bool:
        """Create one object twice: the second time must be refused."""
        try:
            honoured = self._create(key, b"") and not self._create(key, b"")
            self._delete(key)
            return honoured
        except (PermanentError, _Refused) as error:
            raise UsageError(error.detail, hint=error.hint) from error


class _Absent(PermanentError):
    """The object is not there."""


class _Conflict(StoreUnavailable):
    """Another request was in the way (HTTP 409)."""


class _Refused(StoreUnavailable):
    """The server knows us and says no; somebody has to change its settings or ours."""


def translate(url: str, error: Exception) -> VarloopError:
    """Varloop's error for anything that the client or its HTTP library raises."""
    match error:
        case S3Error(code="NoSuchKey" | "NoSuchVersion"):
            return _Absent(f"{url}: no such object")
        case S3Error():
            return _refused(url, error.response.status, f"{error.code}: {error.message}")
        case ServerError():
            return _refused(url, error.status_code, str(error))
        case InvalidResponseError():
            return _refused(url, error._code, str(error))
        case _:
            reason = getattr(error, "reason", None) or error
            return StoreUnavailable(f"{url}: {type(reason).__name__}: {reason}", hint="is the server up?")


def _refused(url: str, status: int, detail: str) -> VarloopError:
    """An answer that is no success."""
    text = f"{url}: {' '.join(detail.split())[:300]} (HTTP {status})"
    if status in HOPELESS:
        return PermanentError(text)
    if status in (401, 403, 404):
        absent = "NoSuchBucket" in detail
        hint = "varloop setup" if absent else "check the bucket, its policy, the credentials and the clock"
        return _Refused(text, retry_after=5.0, hint=hint)
    return _Conflict(text) if status == 409 else StoreUnavailable(text)


def _detail(body: bytes) -> str:
    """Code and message of an S3 error, or the body's beginning."""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return body[:300].decode(errors="replace")
    texts = {node.tag.rpartition("}")[2]: node.text or "" for node in root}
    return f"{texts.get('Code', '')}: {texts.get('Message', '')}"


def _parse(url: str) -> tuple[str, SplitResult, dict[str, str]]:
    """The URL without secrets, its parts and its options."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise UsageError(
            f"s3://…@{parts.netloc.rpartition('@')[2]} holds credentials",
            hint="put them into the environment: VARLOOP_S3_ACCESS_KEY, VARLOOP_S3_SECRET_KEY",
        )
    options = dict(parse_qsl(parts.query))
    if not parts.netloc or parts.fragment or not options.keys() <= _OPTIONS:
        raise UsageError(f"{url!r} is not an S3 store", hint="s3://BUCKET/PREFIX?endpoint=http://host:port")
    return url, parts, options


def _server(url: str) -> SplitResult:
    parts = endpoint(url)
    if parts is None or "@" in parts.netloc or parts.path.strip("/") or parts.query:
        raise UsageError("an S3 endpoint is http://host:port or https://host, without credentials or a path")
    return parts


def _aws(region: str) -> str:
    """AWS's endpoint in a region: for reads and writes, which the region's buckets take there alone."""
    return f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


class _Renewed(Provider):
    """Credentials that somebody else renews, in a file: asked for at each request, read when they have changed."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def retrieve(self) -> Credentials:
        try:
            return self._provider.retrieve()
        except (ValueError, configparser.Error) as error:
            raise MinioException(f"no credentials: {error}") from error


def _credentials(environment: Mapping[str, str]) -> Provider:
    for names in (
        ("VARLOOP_S3_ACCESS_KEY", "VARLOOP_S3_SECRET_KEY", "VARLOOP_S3_SESSION_TOKEN"),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    ):
        user, secret, token = (environment.get(name) for name in names)
        if user and secret:
            return StaticProvider(user, secret, token)
    if file := environment.get("AWS_SHARED_CREDENTIALS_FILE"):
        return _Renewed(AWSConfigProvider(file, environment.get("AWS_PROFILE")))
    if environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return _Renewed(IamAwsProvider())
    raise UsageError(
        "there are no credentials for S3",
        hint="set VARLOOP_S3_ACCESS_KEY and VARLOOP_S3_SECRET_KEY, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
        "or AWS_SHARED_CREDENTIALS_FILE, or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
    )


def _encryption(options: Mapping[str, str]) -> dict[str, str]:
    """Headers that ask the server to encrypt what it stores."""
    if "sse" not in options:
        return {}
    headers = {"x-amz-server-side-encryption": options["sse"]}
    if "kms_key" in options:
        headers["x-amz-server-side-encryption-aws-kms-key-id"] = options["kms_key"]
    return headers
