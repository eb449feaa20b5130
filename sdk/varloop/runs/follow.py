"""Follow a run from its store, from the beginning to the end, whatever process drives it.

A :class:`Follower` never waits: its caller asks for news as often as it likes. :func:`looks` asks for the caller, and rides
out a store that is away for a while.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from varloop.context import Resources
from varloop.errors import StoreUnavailable, UnknownRun
from varloop.events import Event, Terminal
from varloop.journal import read_record
from varloop.runs import StoredRun
from varloop.store.layout import is_step, iteration_prefix
from varloop.support.masking import mask
from varloop.wire.codec import to_json

__all__ = ["ITERATION", "LOOK", "Follower", "News", "looks"]

log = logging.getLogger("varloop.runs")

LOOK = 0.2
"""seconds between two looks at the store"""
OUTAGE = 5.0
"""seconds between two looks at a store that is away, at most"""

ITERATION = "iteration"
_ENDS = frozenset(body.type for body in Terminal)


@dataclass(frozen=True)
class News:
    """Something that happened in a run."""

    at: int
    """the iteration whose record it comes from"""
    kind: str
    """a CloudEvents type, or ``iteration`` for the summary of a finished one"""
    data: bytes
    """the structured CloudEvent, or a :class:`varloop.runs.Iteration`, as JSON"""


class _Head(msgspec.Struct):
    type: str


class Follower:
    """What is new in a run since the last look: recorded events, and a summary of each finished iteration.

    Events of pure functions are not recorded; the summary tells what came of them.

    :param since: leave out what happened before this iteration.
    :raises UnknownRun: if there is no such run.
    """

    def __init__(self, resources: Resources, run: str, since: int = 0) -> None:
        self._submitted: Event[Any] | None = resources.submitted(run) if since == 0 else None
        self._run = StoredRun(resources, run)
        self._journal = resources.journal(run)
        self._since = self._at = since
        self._seen: set[str] = set()
        self.ended = False
        """whether the run's end has been told"""

    def news(self) -> Iterator[News]:
        """Everything that was recorded since the last call."""
        end = self._run.ending()  # first: nothing is recorded after it that matters
        if self._submitted is not None:
            yield News(0, self._submitted.type, to_json(self._submitted))
            self._submitted = None
        yield from (news for news in self._recorded() if news.kind not in _ENDS)
        if end is not None and not self.ended:
            self.ended = True
            yield News(self._at, end.type, to_json(end))

    def _recorded(self) -> Iterator[News]:
        """From the records of the iteration before the latest one, of that one, and of those that follow."""
        at = max(self._at - 1, self._since)
        while (keys := list(self._keys(at))) or at <= self._at:
            for key in keys:
                if key not in self._seen:
                    yield from self._read(at, key)
            self._at = at if keys else self._at
            at += 1

    def _keys(self, iteration: int) -> Iterator[str]:
        return filter(is_step, self._journal.keys(iteration_prefix(iteration)))

    def _read(self, at: int, key: str) -> Iterator[News]:
        record = read_record(self._journal.find(key) or b"{}", key)
        self._seen.add(key)
        if record.progress is not None:
            yield News(at, ITERATION, msgspec.json.encode(record.progress))
        for raw in record.events:
            yield News(at, msgspec.json.decode(raw, type=_Head).type, bytes(raw))


def looks(resources: Resources, run: str, *, since: int = 0, appear: float = 0.0) -> Iterator[list[News]]:
    """What is new at each look, one every ``LOOK`` seconds, until the run's end was told.

    A store that does not answer is asked again for as long as it takes; whoever has enough stops asking here.

    :param since: leave out what happened before this iteration.
    :param appear: seconds to wait for a run that nobody has taken up yet.
    :raises UnknownRun: if there is no such run by then.
    """
    clock = resources.clock
    follower: Follower | None = None
    limit, delay = clock.now() + appear, LOOK
    while follower is None or not follower.ended:
        news: list[News] = []
        try:
            follower = follower or Follower(resources, run, since)
            news.extend(follower.news())  # what was read before the store went away is in it
            delay = LOOK
        except StoreUnavailable as error:
            if delay == LOOK:
                log.warning("run %s: looking again until the store answers: %s", run, mask(str(error)))
            delay = min(2 * delay, OUTAGE)
        except UnknownRun:
            if clock.now() >= limit:
                raise
        yield news
        if follower is None or not follower.ended:
            clock.sleep(delay)
