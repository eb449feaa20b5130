"""Forks workers from one process that has imported all they need, so that a worker starts in milliseconds.

Run as a program it answers lines of JSON: an :class:`Order` each, answered by a number. It starts no thread
and runs no circuit itself, so a fork is as good as a process of its own. When its input ends, it kills all.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import msgspec

__all__ = ["Nursery"]

TESTS = Path(__file__).parents[1]
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
COMMAND = "from varloop.cli import main; main()"
ALIVE = 256
"""the answer for a process that has not ended"""


class Order(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Start a worker, or tell how one ended."""

    arguments: list[str] = []
    """of the worker to be started; answered by its process id. If the first is ``varloop``, the command itself
    takes the fork's place"""
    log: str = ""
    """file that its output is appended to"""
    ended: int = 0
    """process id; answered by its exit status, −number of the signal, or ALIVE"""


class Nursery:
    """The other side: starts the program and gives it orders."""

    def __enter__(self) -> Nursery:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **THREADS},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=30)

    def start(self, arguments: Sequence[str], log: Path) -> int:
        """Start a worker; its process id."""
        return self._order(Order(arguments=list(arguments), log=str(log)))

    def ended(self, pid: int) -> int | None:
        """Exit status of a worker, −number of the signal that killed it, or None while it runs."""
        status = self._order(Order(ended=pid))
        return None if status == ALIVE else status

    def _order(self, order: Order) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def main() -> None:
    """Import everything, then do as told."""
    from chaos import subject

    for name in _needed():
        importlib.import_module(name)
    statuses: dict[int, int | None] = {}
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=Order)
        if order.ended:
            answer = _ended(order.ended, statuses)
        else:
            answer = os.fork()
            if not answer:
                _become(order, subject.main)
            statuses[answer] = None
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()
    for pid, status in statuses.items():
        if status is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _needed() -> list[str]:
    """Modules that runs need. A fork finds out: it runs one of each kind, and its threads die with it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        from chaos.specs import SPECS, quiet
        from varloop.bus.kafka import confluent  # noqa: F401
        from varloop.store import s3  # noqa: F401

        for name in SPECS:
            quiet(name)
        with os.fdopen(writing, "w") as pipe:
            pipe.write(" ".join(name for name in sys.modules if _importable(name)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        names = pipe.read().split()
    os.waitpid(child, 0)
    return names


def _importable(name: str) -> bool:
    module = sys.modules[name]
    return (
        name != "__main__" and getattr(module, "__spec__", None) is not None and module.__spec__.name == name
    )


def _ended(pid: int, statuses: dict[int, int | None]) -> int:
    """How a child ended. It is reaped here only, so that its number is nobody else's before."""
    if statuses[pid] is None:
        gone, status = os.waitpid(pid, os.WNOHANG)
        statuses[pid] = os.waitstatus_to_exitcode(status) if gone else None
    status_now = statuses[pid]
    return ALIVE if status_now is None else status_now


def _become(order: Order, worker: Callable[[Sequence[str]], int]) -> NoReturn:
    """Turn this fork into a worker."""
    status = 1
    try:
        log = os.open(order.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        if order.arguments[0] == "varloop":
            os.execv(sys.executable, [sys.executable, "-c", COMMAND, *order.arguments[1:]])
        status = worker(order.arguments)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    main()
