"""Every error varloop raises, and what a host does with it.

VarloopError
├── UsageError               the caller's program is wrong: fix the code            (raised, never retried)
│   └── MissingExtra         an optional dependency is not installed                (says the pip line)
├── DeployError              a cluster or a program that deploying needs said no    (raised to the caller)
├── WorkerEnded              a worker ended otherwise than it was told to            (raised to its program)
├── RunEnded                 a run you wait for ended without a result              (raised to the caller)
├── RunTimeout               a run you wait for has not ended in time               (raised to the caller)
├── EventError               this event cannot be understood or accepted            → dead letters
│   ├── SchemaError          its bytes, attributes or data do not fit the schema
│   ├── ConflictError        its run id belongs to another spec, or its call to another event
│   └── UnknownRun           there is no such run
├── PermanentError           this run cannot go on                                  → run.failed
│   ├── SpecError            its spec has faults; `faults` lists all of them
│   ├── CircuitError         a circuit cannot be read, bound, compiled or measured
│   ├── HostDied             the processes that made a call died of it
│   ├── TimedOut             a call took too long
│   ├── CorruptObject        a stored object does not match its digest
│   └── MissingObject        a stored object that must exist does not
└── TemporaryError           the same call may work later; `retry_after` seconds    → delivered again
    └── StoreUnavailable     the store did not answer
"""

from __future__ import annotations

from collections.abc import Sequence

from varloop.support.installation import install_line
from varloop.support.masking import mask, printable

__all__ = [
    "CircuitError",
    "ConflictError",
    "CorruptObject",
    "DeployError",
    "EventError",
    "HostDied",
    "MissingExtra",
    "MissingObject",
    "PermanentError",
    "RunEnded",
    "RunTimeout",
    "SchemaError",
    "SpecError",
    "StoreUnavailable",
    "TemporaryError",
    "TimedOut",
    "UnknownRun",
    "UsageError",
    "VarloopError",
    "WorkerEnded",
]


def _clean(text: str) -> str:
    return printable(mask(text))


class VarloopError(Exception):
    """Base of all errors of varloop.

    :param detail: what happened, with the observed and the expected value.
    :param hint: what to do about it.
    :param run: the run it happened to, if one is known.

    Whatever they quote, no error holds a secret or a control character.
    """

    def __init__(self, detail: str, *, hint: str = "", run: str = "") -> None:
        self.detail = _clean(detail)
        super().__init__(self.detail)
        self.hint = _clean(hint)
        self.run = run

    def __str__(self) -> str:
        head = f"run {self.run}: " if self.run else ""
        tail = f" ({self.hint})" if self.hint else ""
        return f"{head}{self.detail}{tail}"


class UsageError(VarloopError):
    """The calling program is wrong; nothing was published or stored."""


class MissingExtra(UsageError):
    """An optional dependency is needed here and not installed."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed", hint=install_line(extra))


class DeployError(VarloopError):
    """A program that deploying needs failed, or the cluster refused what it was given."""


class WorkerEnded(VarloopError):
    """A worker ended otherwise than it was told to."""


class RunEnded(VarloopError):
    """The run failed, was cancelled, or stopped; there is no result.

    :param faults: every fault of its spec, if that is why.
    """

    def __init__(self, detail: str, *, hint: str = "", run: str = "", faults: Sequence[str] = ()) -> None:
        super().__init__(detail, hint=hint, run=run)
        self.faults = tuple(map(_clean, faults))


class RunTimeout(VarloopError, TimeoutError):
    """The run has not ended in the time that the caller gave it. It is as it was: it can be waited for again."""


class EventError(VarloopError):
    """This event cannot be accepted: it goes to the dead letters with this reason."""


class SchemaError(EventError):
    """The event's bytes, attributes or data do not fit varloop's schema."""


class ConflictError(EventError):
    """The event's place is taken: its run id by another spec, or its call by another event. Both are untouched."""


class UnknownRun(EventError):
    """The store knows no such run."""


class PermanentError(VarloopError):
    """This run cannot go on; it ends with ``run.failed`` and this text."""


class SpecError(PermanentError):
    """The run's spec has faults.

    :param faults: every fault found, each ``field: what is wrong, what is expected``. The error has the first 40, and
        says how many more there are: an answer is no larger than what it answers.
    """

    TOLD, LONGEST = 40, 400

    def __init__(self, faults: Sequence[str], *, hint: str = "", run: str = "") -> None:
        more = [f"and {len(faults) - self.TOLD} more faults"] if len(faults) > self.TOLD else []
        self.faults = tuple(_clean(fault[: self.LONGEST]) for fault in [*faults[: self.TOLD], *more])
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"the spec has {count}: " + "; ".join(self.faults), hint=hint, run=run)


class CircuitError(PermanentError):
    """A circuit cannot be read, bound, compiled or measured as asked."""


class HostDied(PermanentError):
    """The processes that made a call died during it, so often that it is not made again."""


class TimedOut(PermanentError):
    """A call did not come back in time; its thread is left to itself."""


class CorruptObject(PermanentError):
    """A stored object does not match its digest."""


class MissingObject(PermanentError):
    """A stored object that must exist does not."""


class TemporaryError(VarloopError):
    """The same call may work later.

    :param retry_after: seconds to wait before the next attempt.
    """

    def __init__(self, detail: str, *, retry_after: float = 1.0, hint: str = "", run: str = "") -> None:
        super().__init__(detail, hint=hint, run=run)
        self.retry_after = retry_after


class StoreUnavailable(TemporaryError):
    """The object store did not answer or refused a request that it may accept later."""
