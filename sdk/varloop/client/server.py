"""A server that takes CloudEvents (``varloop serve``), as its clients talk to it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import IO, Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
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
from varloop.runs import STATES, History, Iteration, RunState
from varloop.runs.follow import ITERATION
from varloop.support.connections import address, authorization, endpoint
from varloop.wire.codec import STRUCTURED, from_json, to_json

__all__ = ["Server"]

REFUSALS = {kind.__name__: kind for kind in (ConflictError, SchemaError, UnknownRun)}
"""by the titles of a server's problems"""
END = "end"
"""id of a stream's last message"""
PAUSE = 1.0
"""seconds before a stream that broke is taken up again"""
TIMEOUT = 30.0
"""seconds without a byte; a stream says more often that it is still there"""


class Told(NamedTuple):
    """A message of a stream."""

    id: str
    kind: str
    """a CloudEvents type, or ``iteration``"""
    data: bytes


class _Problem(msgspec.Struct):
    title: str = ""
    detail: str = ""
    faults: list[str] = []


class Server:
    """Publishes to a server and asks it about runs. Every method raises TemporaryError if it does not answer.

    :param url: ``http(s)://[USER:PASSWORD@]HOST:PORT``; a token is the password or in ``VARLOOP_TOKEN``.
    :raises UsageError: if this is not the URL of an HTTP server.
    """

    def __init__(self, url: str, pause: Callable[[], None] = lambda: time.sleep(PAUSE)) -> None:
        parts = endpoint(url)
        if parts is None:
            raise UsageError(f"{url!r} is not the URL of a server", hint="http://127.0.0.1:8765")
        self.url = address(parts).rstrip("/")
        self._pause = pause
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
        """Where a run stands.

        :raises UnknownRun: if there is no such run.
        """
        return _state(self._get(f"/runs/{run}"))

    def history(self, run: str) -> History:
        """Its finished iterations, oldest first."""
        return History(msgspec.convert(self._get(f"/runs/{run}/history"), list[Iteration]))

    def find_iteration(self, run: str, iteration: int) -> Iteration | None:
        """One iteration, or None if it is not finished."""
        return msgspec.convert(self._get(f"/runs/{run}/history/{iteration}"), Iteration | None)

    def ending(self, run: str) -> Event[Any] | None:
        """The event that ended it, or None."""
        with self._open(f"/runs/{run}/end") as answer:
            data = answer.read()
        return from_json(data) if data else None

    def states(self, limit: int, state: str = "", before: str = "") -> list[RunState]:
        """Where runs stand, the newest first, as :func:`varloop.runs.listing.states`."""
        wanted = urlencode({"limit": limit, "state": state, "before": before})
        return [_state(each) for each in self._get(f"/runs?{wanted}")]

    def follow(self, run: str) -> Iterator[Iteration]:
        """Finished iterations of a run, until it ends."""
        for told in self.stream(run):
            if told is not None and told.kind == ITERATION:
                yield msgspec.json.decode(told.data, type=Iteration)

    def stream(self, run: str) -> Iterator[Told | None]:
        """What the server tells of a run, from its start to its end, and None now and then while there is no news.

        A server that goes away is waited for, its stream taken up where it broke.
        """
        last, told = "", set[int]()
        while last != END:
            try:
                for each in self._messages(run, last):
                    if each is None:
                        yield None
                    elif hash(each) not in told:  # a stream that is taken up begins with what was told
                        last = each.id
                        told.add(hash(each))
                        yield each
            except TemporaryError:
                if not last:
                    raise
            if last != END:
                yield None
                self._pause()

    def _messages(self, run: str, last: str) -> Iterator[Told | None]:
        fields: dict[bytes, bytes] = {}
        with self._open(f"/runs/{run}/events", headers={"last-event-id": last} if last else {}) as answer:
            for line in answer:
                field, _, value = line.rstrip(b"\n").partition(b": ")
                if field:
                    fields[field] = value
                elif b"data" in fields:
                    yield Told(fields[b"id"].decode(), fields[b"event"].decode(), fields[b"data"])
                    fields = {}
                else:
                    yield None

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
