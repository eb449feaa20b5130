"""Replay: run a record again, from its submission alone, and compare."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from varloop.app import App
from varloop.context import Resources
from varloop.events import RunCancelled, RunCompleted, RunFailed
from varloop.progress import Iteration
from varloop.runs import StoredRun
from varloop.support.versions import versions

__all__ = ["Difference", "Replayed", "replay"]

COMPARED = ("value", "error", "parameters", "gradient", "gradient_errors", "shots", "solution", "final")
INTERRUPTED = ("deadline", "stopped")
"""reasons that come of time or of people: what was measured at the end would not come again"""


class Difference(msgspec.Struct, frozen=True):
    """Where the record and its replay first part."""

    iteration: int
    field: str
    """of :class:`varloop.Iteration`; ``iteration`` if only one of them has it"""
    recorded: Any
    again: Any


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a replay."""

    run: str
    compared: int
    """iterations of the record that were run again"""
    equal: int
    """of these, so many before the first difference"""
    difference: Difference | None
    versions: dict[str, tuple[str, str]]
    """what has another version now: recorded, and here; absent is empty"""
    calibration: tuple[str, str] | None
    """of the device, recorded and here, if it is another one"""

    @property
    def same(self) -> bool:
        """Whether every iteration is the same, bit for bit."""
        return self.difference is None


def replay(resources: Resources, run: str, apps: Iterable[App] = ()) -> Replayed:
    """Run a record again in memory, with nothing but its submission, and compare iteration by iteration.

    :param resources: where the record is.
    :param apps: of the pipeline, if it is one of your own.
    :raises UnknownRun: if there is no such run.
    """
    from varloop.client import embedded

    stored = StoredRun(resources, run)
    submitted, recorded = stored.submitted(), _repeatable(stored)
    again = embedded("memory:", apps).submit(submitted.data.spec, run=run, pipeline=submitted.pipeline)
    found: list[Iteration] = []
    for iteration in again.iterations() if recorded else ():
        found.append(iteration)
        if len(found) == len(recorded) or _first(recorded, found) is not None:
            break
    difference = _first(recorded, found, whole=True)
    before, now = stored.encoded(), again.stored.encoded()  # type: ignore[attr-defined]
    old = before.provenance if before else None
    new = now.provenance if now else None
    return Replayed(
        run=run,
        compared=len(found),
        equal=len(found) if difference is None else min(difference.iteration, len(found)),
        difference=difference,
        versions=_differing(old.versions if old else {}, new.versions if new else versions()),
        calibration=(old.calibration, new.calibration)
        if old and new and old.calibration != new.calibration
        else None,
    )


def _repeatable(stored: StoredRun) -> list[Iteration]:
    """The iterations that the submission alone decides."""
    history, end = stored.history(), stored.ending()
    match end.data if end else None:
        case RunCompleted(reason=reason) if reason not in INTERRUPTED:
            return history
        case RunCompleted() | RunFailed() | RunCancelled() | None:
            return [each for each in history if not each.final]
        case other:
            raise AssertionError(other)


def _first(recorded: list[Iteration], found: list[Iteration], whole: bool = False) -> Difference | None:
    """The first difference of two histories.

    :param whole: whether a history that is shorter than the other differs.
    """
    for one, other in zip(recorded, found, strict=False):
        for name in COMPARED:
            if getattr(one, name) != getattr(other, name):
                return Difference(one.iteration, name, getattr(one, name), getattr(other, name))
    if whole and len(found) < len(recorded):
        return Difference(recorded[len(found)].iteration, "iteration", recorded[len(found)].iteration, None)
    return None


def _differing(old: dict[str, str], new: dict[str, str]) -> dict[str, tuple[str, str]]:
    names = sorted(old.keys() | new.keys()) if old else []
    return {name: (old.get(name, ""), new.get(name, "")) for name in names if old.get(name) != new.get(name)}
