"""Worker processes: started, killed by pid, started again. Nothing is left running."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from chaos.nursery import Nursery

__all__ = ["Fleet", "Worker"]


class Worker:
    """A process and its successors.

    :param fuses: how each of the first lives ends; the next one has none.
    """

    def __init__(
        self, nursery: Nursery, name: str, arguments: Sequence[str], log: Path, fuses: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.lives = 0
        self._nursery = nursery
        self._arguments = list(arguments)
        self._log = log
        self._fuses = list(fuses)
        self._burning = False
        self._pid = 0
        self._status: int | None = 0

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        if self._pid and self._status is None:
            self._status = self._nursery.ended(self._pid)
        return self._status is None

    @property
    def fuses_left(self) -> bool:
        """Whether a life is still to be ended by a fuse."""
        return bool(self._fuses) or (self._burning and self.alive)

    @property
    def deaths(self) -> list[str]:
        """``POINT:FUNCTION`` of every death by fuse."""
        return re.findall(r"^died (\S+)$", self.output, re.MULTILINE)

    @property
    def output(self) -> str:
        """All that its lives said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Live, unless it does already."""
        if self.alive:
            return
        self.lives += 1
        fuse = ["--fuse", self._fuses.pop(0)] if self._fuses else []
        self._burning = bool(fuse)
        self._pid = self._nursery.start([*self._arguments, *fuse], self._log)
        self._status = None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.alive:
            os.kill(self._pid, number)

    def kill(self) -> None:
        """kill −9."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, patience: float = 20.0) -> int | None:
        """Its exit status, or None if it does not end."""
        deadline = time.monotonic() + patience
        while self.alive and time.monotonic() < deadline:
            time.sleep(0.01)
        return self._status


class Fleet:
    """Workers by name."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self._nursery = nursery
        self._folder = folder
        self.workers: dict[str, Worker] = {}

    def __getitem__(self, name: str) -> Worker:
        return self.workers[name]

    def add(self, name: str, *arguments: str, fuses: Sequence[str] = ()) -> Worker:
        """Start one more."""
        worker = Worker(self._nursery, name, arguments, self._folder / f"{name}.log", fuses)
        self.workers[name] = worker
        worker.start()
        return worker

    def tend(self) -> None:
        """Start again whoever died."""
        for worker in self.workers.values():
            worker.start()

    @property
    def lives(self) -> int:
        """Processes that there were."""
        return sum(worker.lives for worker in self.workers.values())

    def kill(self) -> None:
        """kill −9 all of them."""
        for worker in self.workers.values():
            worker.kill()

    def stop(self) -> dict[str, int | None]:
        """Ask all of them to stop; exit statuses by name."""
        for worker in self.workers.values():
            worker.signal(signal.SIGTERM)
        return {name: worker.wait() for name, worker in self.workers.items()}
