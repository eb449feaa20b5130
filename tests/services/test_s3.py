from __future__ import annotations

import itertools
import os
import socket
import uuid
from collections.abc import Iterator

import pytest

from journal.journal_contract import SharedJournalContract
from store.store_contract import SharedStoreContract
from varloop.errors import StoreUnavailable, UsageError
from varloop.store import Store, open_store

pytestmark = pytest.mark.services
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARLOOP_S3_ACCESS_KEY", os.environ.get("S3_USER", "minioadmin"))
    monkeypatch.setenv("VARLOOP_S3_SECRET_KEY", os.environ.get("S3_PASS", "minioadmin"))


@pytest.fixture(scope="session")
def bucket_name() -> str:
    """A bucket of this session's own."""
    return f"test-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def bucket(s3_endpoint: str, bucket_name: str) -> str:
    """The bucket, on this server."""
    from minio import Minio

    user, password = os.environ["VARLOOP_S3_ACCESS_KEY"], os.environ["VARLOOP_S3_SECRET_KEY"]
    client = Minio(s3_endpoint.partition("://")[2], user, password, secure=False, region="us-east-1")
    if not client.bucket_exists(bucket_name):
        client.make_bucket(bucket_name)
    return bucket_name


@pytest.fixture
def empty(s3_endpoint: str, bucket: str) -> Iterator[Store]:
    """An empty store on a real server."""
    store = open_store(f"s3://{bucket}/run{next(_numbers)}/a%20b?endpoint={s3_endpoint}")
    yield store
    store.close()


class TestS3(SharedStoreContract):
    @pytest.fixture
    def store(self, empty: Store) -> Store:
        """Under a prefix."""
        return empty


class TestJournalOnS3(SharedJournalContract):
    @pytest.fixture
    def store(self, empty: Store) -> Store:
        """Under a prefix."""
        return empty


def test_another_prefix_is_another_store(s3_endpoint: str, bucket: str) -> None:
    """Stores under different prefixes of a bucket, or without one, do not see each other's keys."""
    one, other = (open_store(f"s3://{bucket}/{name}?endpoint={s3_endpoint}") for name in ("x/one", "x/on"))
    one.put("a", b"1")

    assert list(other.keys()) == []
    assert list(one.keys()) == ["a"]
    one.close()
    other.close()


def test_a_missing_bucket_is_a_usage_error(s3_endpoint: str) -> None:
    """A bucket that does not exist is refused at once, by name."""
    with pytest.raises(UsageError, match=r"never-made.*NoSuchBucket"):
        open_store(f"s3://never-made?endpoint={s3_endpoint}")


def test_wrong_credentials_are_a_usage_error(
    s3_endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret that the server refuses is a usage error at start, and is not in the message."""
    monkeypatch.setenv("VARLOOP_S3_SECRET_KEY", "not-the-secret")

    with pytest.raises(UsageError, match="check the bucket") as caught:
        open_store(f"s3://{bucket}?endpoint={s3_endpoint}")
    assert "not-the-secret" not in str(caught.value)


def test_no_server_is_temporary() -> None:
    """A server that does not answer is StoreUnavailable, not a usage error: it may come back."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
        with pytest.raises(StoreUnavailable, match="is the server up"):
            open_store(f"s3://bucket?endpoint=http://127.0.0.1:{port}")
