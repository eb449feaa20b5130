"""A server that takes CloudEvents (``varloop serve``), as the command line talks to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import msgspec

from varloop.errors import (
    ConflictError,
    EventError,
    SchemaError,
    SpecError,
    TemporaryError,
    UnknownRun,
    UsageError,
)
from varloop.events import Event
from varloop.runs import STATES, Iteration, RunState
from varloop.runs.follow import ITERATION
from varloop.support.connections import address, authorization, endpoint
from varloop.wire.codec import STRUCTURED, to_json

__all__ = ["Remote"]

REFUSALS = {kind.__name__: kind for kind in (ConflictError, SchemaError, UnknownRun)}
"""by the titles of a server's problems"""
TIMEOUT = 30.0
"""seconds without a byte; a stream says more often that it is still there"""


class _Problem(msgspec.Struct):
    title: str = ""
    detail: str = ""
    faults: list[str] = []


class Remote:
    """Publishes to a server and asks it about runs.

    :raises UsageError: if this is not the URL of an HTTP server.
    """

    def __init__(self, url: str) -> None:
        parts = endpoint(url)
        if parts is None:
            raise UsageError(f"{url!r} is not the URL of a server", hint="http://127.0.0.1:8765")
        self.url = address(parts).rstrip("/")
        self._shown = authorization(parts) or _token()

    def publish(self, event: Event[Any]) -> None:
        """Publish an event; on return the server has it for good.

        :raises SpecError: if it submits a spec with faults.
        :raises EventError: if the server does not accept it.
        :raises TemporaryError: if the server does not answer.
        """
        with self._open("/", to_json(event), {"content-type": STRUCTURED}):
            pass

    def state(self, run: str) -> RunState:
        """Where a run stands."""
        return _state(self._get(f"/runs/{run}"))

    def states(self) -> list[RunState]:
        """Where every run stands, the newest first."""
        return [_state(each) for each in self._get("/runs")]

    def follow(self, run: str) -> Iterator[Iteration]:
        """Finished iterations of a run, until it ends."""
        kind = ""
        with self._open(f"/runs/{run}/events") as answer:
            for line in answer:
                field, _, value = line.rstrip(b"\n").partition(b": ")
                if field == b"event":
                    kind = value.decode()
                elif field == b"data" and kind == ITERATION:
                    yield msgspec.json.decode(value, type=Iteration)

    def _get(self, path: str) -> Any:
        with self._open(path) as answer:
            return msgspec.json.decode(answer.read())

    @contextmanager
    def _open(
        self, path: str, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Iterator[IO[bytes]]:
        """The one place where errors of HTTP become ours."""
        request = Request(self.url + path, data, {**self._shown, **(headers or {})})
        try:
            with urlopen(request, timeout=TIMEOUT) as answer:
                yield answer
        except HTTPError as error:
            with error:
                raise self._refused(error) from error
        except (URLError, OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise TemporaryError(f"{self.url} does not answer: {reason}", hint="varloop serve") from error

    def _refused(self, error: HTTPError) -> Exception:
        try:
            problem = msgspec.json.decode(error.read(), type=_Problem)
        except msgspec.MsgspecError:
            problem = _Problem(detail=f"{error.reason}; is this a varloop server?")
        if problem.faults:
            return SpecError(problem.faults)
        if error.code == 503:
            return TemporaryError(f"{self.url}: {problem.detail}")
        kind = REFUSALS.get(problem.title, EventError)
        return kind(f"{self.url} answered {error.code}: {problem.detail}")


def _token() -> dict[str, str]:
    """The header for the environment's token."""
    token = os.environ.get("VARLOOP_TOKEN", "")
    return {"authorization": f"Bearer {token}"} if token else {}


def _state(data: dict[str, Any]) -> RunState:
    """A run's state from JSON: the state tells what kind of end its outcome is."""
    kinds = {name: kind for kind, name in STATES.items()}
    outcome = data.get("outcome") and msgspec.convert(data["outcome"], kinds[data["state"]])
    return RunState(**{**data, "outcome": outcome})
