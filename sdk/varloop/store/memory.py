"""A store in this process's memory."""

from __future__ import annotations

from collections.abc import Iterator

from varloop.store import Store

__all__ = ["MemoryStore"]


class MemoryStore(Store):
    """Objects in a dict; gone with the process."""

    url = "memory:"

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def exists(self) -> bool:
        return bool(self._objects)

    def _keys(self, prefix: str) -> Iterator[str]:
        yield from sorted(key for key in list(self._objects) if key.startswith(prefix))

    def _delete(self, key: str) -> None:
        self._objects.pop(key, None)

    def _read(self, key: str) -> bytes | None:
        return self._objects.get(key)

    def _write(self, key: str, sealed: bytes) -> None:
        self._objects[key] = sealed

    def _create(self, key: str, sealed: bytes) -> bool:
        return self._objects.setdefault(key, sealed) is sealed
