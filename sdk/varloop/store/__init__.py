"""Stores: objects under keys, with conditional create. What a store never does: know what it stores.

Every object is sealed with its digest when written and checked when read, so a truncated or altered
object is an error and never a wrong number. Where there is a key (:mod:`varloop.support.signing`) the seal is signed,
and what somebody without the key wrote is an error too.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from importlib.metadata import entry_points
from os import PathLike, fspath
from pathlib import Path

from varloop.errors import CorruptObject, MissingObject, PermanentError, UsageError
from varloop.support.signing import sign

__all__ = ["DEFAULT", "VARIABLE", "Store", "default_store", "open_store", "set_up"]

DEFAULT = ".varloop"
"""folder where runs lie unless told otherwise"""
GROUP = "varloop.stores"
"""entry points: kinds of stores by their schemes"""
VARIABLE = "VARLOOP_STORE"
"""environment variable that tells otherwise"""

_DIGEST, _SEAL = 32, 33
"""bytes of SHA-256, and with what follows: a newline, or a plus and 32 bytes of signature"""
_SIGNED = _SEAL + 32
_PART = re.compile(r"(?!\.{1,2}$|\.partial-)[^/\x00-\x1f\x7f\\]+")
_LONGEST_PART, _LONGEST_KEY = 200, 800
"""in bytes of UTF-8: what file systems and S3 take, with room for a prefix"""


class Store(ABC):
    """Objects under slash-separated keys. Safe to share between threads and processes.

    Subclasses store opaque bytes under valid keys; sealing and checking happens here, once. No key may be
    a folder of another. Every method raises StoreUnavailable if the store does not answer, and
    PermanentError for an invalid key.
    """

    url: str
    """what :func:`open_store` needs to open the same store again, without secrets"""

    def get(self, key: str) -> bytes:
        """Read an object.

        :raises MissingObject: if there is none.
        :raises CorruptObject: if it is not what was written.
        """
        sealed = self._read(_valid(key))
        if sealed is None:
            raise MissingObject(f"{self.url} has no object {key}")
        signed = sealed[_DIGEST:_SEAL] == b"+"
        seal, data = (sealed[:_SIGNED], sealed[_SIGNED:]) if signed else (sealed[:_SEAL], sealed[_SEAL:])
        digest = hashlib.sha256(data).digest()
        if seal[:_DIGEST] != digest or seal[_DIGEST:_SEAL] not in (b"\n", b"+"):
            raise CorruptObject(
                f"object {key} in {self.url} does not match its digest ({len(sealed)} bytes read)",
                hint="it was truncated or altered after varloop wrote it; restore it or start a new run",
            )
        signature = self._signature(key, digest)
        if signature and not hmac.compare_digest(seal[_SEAL:], signature):
            raise CorruptObject(
                f"object {key} in {self.url} is not signed with the key that is used here",
                hint="somebody without VARLOOP_KEY wrote it, or moved it; see `varloop docs security`",
            )
        return data

    def find(self, key: str) -> bytes | None:
        """Read an object, or None if there is none. Raises like :meth:`get` otherwise."""
        try:
            return self.get(key)
        except MissingObject:
            return None

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing what is there; readers see the old or the new one, whole."""
        self._write(_valid(key), self._sealed(key, data))

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless the key exists, atomically. True for the one caller that wrote it.

        After StoreUnavailable it may have been written or not: read it.
        """
        return self._create(_valid(key), self._sealed(key, data))

    def keys(self, prefix: str = "", *, after: str = "") -> Iterator[str]:
        """All keys that start with a prefix, in lexical order.

        :param after: only those that come after this key.
        """
        _valid(prefix + "x")
        return self._keys(prefix, after)

    def folders(self, prefix: str) -> Iterator[str]:
        """What stands between a prefix and the next slash in keys that have one there, in lexical order, each once.

        :param prefix: ends with a slash.
        """
        _valid(prefix + "x")
        return self._folders(prefix)

    def older(self, prefix: str, before: float) -> Iterator[str]:
        """Keys that start with a prefix, of objects that were last written before this time (seconds since the epoch)."""
        _valid(prefix + "x")
        return self._older(prefix, before)

    def sweep(self, before: float) -> None:
        """Remove what writers who died before this time left half written."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens if there is none."""
        self._delete(_valid(key))

    def close(self) -> None:
        """Release connections."""

    def exists(self) -> bool:
        """False if nothing can be here, as nothing was ever written: perhaps the name is mistyped."""
        return True

    def _sealed(self, key: str, data: bytes) -> bytes:
        digest = hashlib.sha256(data).digest()
        signature = self._signature(key, digest)
        return digest + (b"+" if signature else b"\n") + signature + data

    def _signature(self, key: str, digest: bytes) -> bytes:
        """Of an object under its key; empty if nothing is signed here."""
        try:
            return sign("object", key.encode(), digest)
        except ValueError as error:
            raise UsageError(str(error)) from error

    @abstractmethod
    def _read(self, key: str) -> bytes | None: ...

    @abstractmethod
    def _write(self, key: str, sealed: bytes) -> None: ...

    @abstractmethod
    def _create(self, key: str, sealed: bytes) -> bool: ...

    @abstractmethod
    def _keys(self, prefix: str, after: str) -> Iterator[str]: ...

    @abstractmethod
    def _older(self, prefix: str, before: float) -> Iterator[str]: ...

    @abstractmethod
    def _folders(self, prefix: str) -> Iterator[str]: ...

    @abstractmethod
    def _delete(self, key: str) -> None: ...


def _valid(key: str) -> str:
    """The key, if every store can hold it."""
    try:
        sizes = [len(part.encode()) for part in key.split("/") if _PART.fullmatch(part)]
    except UnicodeEncodeError:
        sizes = []
    parts = key.count("/") + 1
    if len(sizes) != parts or max(sizes) > _LONGEST_PART or sum(sizes) + parts > _LONGEST_KEY:
        raise PermanentError(
            f"{key[:120]!r} is not a valid object key",
            hint=f"parts of 1 to {_LONGEST_PART} bytes between slashes, not . or .., no control characters",
        )
    return key


def set_up(url: str, *, dry_run: bool = False) -> list[str]:
    """Make a store what it should be: a bucket or folder that is not there is created.

    :return: what was done, or would be.
    :raises UsageError: if it cannot be used, or never lasts.
    """
    scheme, separator, rest = url.partition(":")
    if scheme == "s3":
        from varloop.store.s3 import S3Store

        store = S3Store(url, missing="report" if dry_run else "create")
        store.close()
        return [f"create bucket {store.bucket}"] if store.is_new else []
    if scheme != "folder" and separator:
        raise UsageError(
            f"there is nothing to set up at {url}", hint="s3://BUCKET/PREFIX?endpoint=URL or a folder"
        )
    folder = Path(rest if separator else url)
    if folder.is_dir():
        return []
    if not dry_run:
        folder.mkdir(parents=True)
    return [f"create folder {folder}"]


def default_store() -> str:
    """Where Python and the command line keep runs unless told otherwise: ``VARLOOP_STORE``, or a folder here."""
    return os.environ.get(VARIABLE) or DEFAULT


def open_store(url: str | PathLike[str]) -> Store:
    """Open a store by its URL: ``memory:``, a folder (``folder:PATH`` or a plain path), ``s3://…``, or another scheme.

    Of another scheme is what an installed package offers under its name as entry point of the group
    ``varloop.stores``: called with the URL it gives a :class:`Store`.

    :raises UsageError: for an unknown scheme or a store that cannot be used as it is.
    :raises MissingExtra: if its client is not installed.
    """
    url = fspath(url)
    scheme, separator, rest = url.partition(":")
    if url == "memory:":
        from varloop.store.memory import MemoryStore

        return MemoryStore()
    if scheme == "folder" or not separator:
        from varloop.store.folder import FolderStore

        return FolderStore(rest if separator else url)
    if scheme == "s3":
        from varloop.store.s3 import S3Store

        return S3Store(url)
    for point in entry_points(group=GROUP, name=scheme):
        opened: Store = point.load()(url)
        return opened
    raise UsageError(
        f"unknown store {url!r}",
        hint="use memory:, folder:PATH, a plain path or s3://BUCKET/PREFIX?endpoint=URL",
    )
