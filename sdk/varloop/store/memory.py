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

    def _keys(self, prefix: str, after: str) -> Iterator[str]:
        yield from sorted(key for key in list(self._objects) if key.startswith(prefix) and key > after)

    def _older(self, prefix: str, before: float) -> Iterator[str]:
        """None: all of it is as young as the process."""
        yield from ()

    def _folders(self, prefix: str) -> Iterator[str]:
        rests = (key.removeprefix(prefix) for key in list(self._objects) if key.startswith(prefix))
        yield from sorted({rest.partition("/")[0] for rest in rests if "/" in rest})

    def _delete(self, key: str) -> None:
        self._objects.pop(key, None)

    def _read(self, key: str) -> bytes | None:
        return self._objects.get(key)

    def _write(self, key: str, sealed: bytes) -> None:
        self._objects[key] = sealed

    def _create(self, key: str, sealed: bytes) -> bool:
        return self._objects.setdefault(key, sealed) is sealed
