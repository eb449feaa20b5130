"""A store in a folder of a local file system, safe between processes."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from varloop.errors import StoreUnavailable
from varloop.store import Store

__all__ = ["FolderStore"]

_PARTIAL = ".partial-"
_ATTEMPTS = 100
"""to find a folder that stays long enough to write into it"""
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class FolderStore(Store):
    """One file an object. Files appear whole: written aside, then linked or renamed into place.

    Survives the death of any process at any instruction; objects are not fsynced, so the newest may be
    lost (never half written) when the machine itself dies.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root).absolute()
        self.url = f"folder:{self._root}"

    def exists(self) -> bool:
        return self._root.is_dir()

    def _keys(self, prefix: str, after: str) -> Iterator[str]:
        yield from sorted(key for key, _ in self._files(prefix) if key > after and not _is_partial(key))

    def _older(self, prefix: str, before: float) -> Iterator[str]:
        for key, path in sorted(self._files(prefix)):
            if not _is_partial(key) and _written(path) < before:
                yield key

    def sweep(self, before: float) -> None:
        for key, path in self._files(""):
            if _is_partial(key) and _written(path) < before:
                path.unlink(missing_ok=True)

    def _files(self, prefix: str) -> Iterator[tuple[str, Path]]:
        """All files whose keys start with a prefix, those that are being written too."""
        for folder, _, names in os.walk(self._root / prefix.rpartition("/")[0]):
            for name in names:
                path = Path(folder) / name
                if (key := path.relative_to(self._root).as_posix()).startswith(prefix):
                    yield key, path

    def _folders(self, prefix: str) -> Iterator[str]:
        try:
            with os.scandir(self._path(prefix.removesuffix("/"))) as found:
                names = sorted(each.name for each in found if each.is_dir())
        except _ABSENT:
            return
        except OSError as error:
            raise _unavailable(self.url, error) from error
        yield from (name for name in names if next(self._keys(f"{prefix}{name}/", ""), None))

    def _delete(self, key: str) -> None:
        path = self._path(key)
        try:
            path.unlink()
        except _ABSENT:
            return
        except OSError as error:
            raise _unavailable(self.url, error) from error
        with contextlib.suppress(OSError):  # the first folder that holds something ends this
            for folder in path.parents[: key.count("/")]:
                folder.rmdir()

    def _read(self, key: str) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except _ABSENT:
            return None
        except OSError as error:
            raise _unavailable(self.url, error) from error

    def _write(self, key: str, sealed: bytes) -> None:
        with self._partial(key, sealed) as (partial, path):
            os.replace(partial, path)

    def _create(self, key: str, sealed: bytes) -> bool:
        with self._partial(key, sealed) as (partial, path):
            try:
                os.link(partial, path)
            except FileExistsError:
                if path.is_dir():
                    raise
                return False
        return True

    @contextlib.contextmanager
    def _partial(self, key: str, sealed: bytes) -> Iterator[tuple[str, Path]]:
        """The object's bytes in a file of their own beside its place; removed afterwards."""
        path = self._path(key)
        partial = ""
        try:
            handle, partial = _beside(path)
            with os.fdopen(handle, "wb") as file:
                file.write(sealed)
            yield partial, path
        except OSError as error:
            raise _unavailable(self.url, error) from error
        finally:
            if partial:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(partial)

    def _path(self, key: str) -> Path:
        return self._root.joinpath(*key.split("/"))


def _is_partial(key: str) -> bool:
    return key.rpartition("/")[2].startswith(_PARTIAL)


def _written(path: Path) -> float:
    """When a file was last written; now, as it were, if it is gone."""
    try:
        return path.stat().st_mtime
    except _ABSENT:
        return math.inf


def _beside(path: Path) -> tuple[int, str]:
    """A new file in the folder of a path, which whoever deletes there may remove while it is made."""
    attempt = 0
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return tempfile.mkstemp(prefix=_PARTIAL, dir=path.parent)
        except (FileNotFoundError, FileExistsError):
            attempt += 1
            if attempt == _ATTEMPTS:
                raise


def _unavailable(url: str, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"{url}: {error.strerror or error}", hint="check space and permissions")
