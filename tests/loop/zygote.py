"""Forks one process for each line it reads: a run, from its submission or from its journal, perhaps until its death.

Run as a program. It imports what a run needs once and runs nothing itself, so that a fork is as good as a
process of its own and takes milliseconds. A line is a :class:`Life` in JSON; the answer is a :class:`Death`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

__all__ = ["Death", "Life", "Zygote"]

RUN = "r"
IMPORTED = ("qiskit.qpy", "qiskit.transpiler", "qiskit_aer", "scipy.optimize")
Place = Literal["boundary", "before create", "after create"]


class Life(msgspec.Struct, kw_only=True):
    """What a process shall do."""

    store: str
    spec: dict[str, Any] | None = None
    """submit this; None resumes what is there"""
    kill: int = -1
    """die by SIGKILL at the n-th place of its kind, from 0; -1 lives on"""
    place: Place = "boundary"


class Death(msgspec.Struct, kw_only=True):
    """How a process ended."""

    signal: int
    """that killed it; 0 if it lived on, -1 if it failed (stderr says why)"""
    places: dict[str, int] = {}
    """how many places of each kind it passed"""
    end: str = ""
    """JSON of the body of the run's last event"""


class Zygote:
    """The other side: starts the program, hands it lives."""

    def __enter__(self) -> Zygote:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def live(self, life: Life) -> Death:
        """Let a process live until its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(life) + b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=Death)


class Reaper:
    """Counts places and kills this very process at one of them."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self.passed: dict[str, int] = {}

    def at(self, place: Place) -> None:
        """The process is at a place."""
        number = self.passed.get(place, 0)
        self.passed[place] = number + 1
        if (place, number) == (self._life.place, self._life.kill):
            os.kill(os.getpid(), signal.SIGKILL)


def live(life: Life) -> Death:
    """Do what a life asks for, in this process."""
    from varloop.client import EmbeddedClient
    from varloop.context import Resources
    from varloop.host import load_pipelines
    from varloop.host.embedded import EmbeddedHost
    from varloop.runs import StoredRun
    from varloop.store.folder import FolderStore
    from varloop.testing import Boundaries
    from varloop.wire.codec import encode_body

    reaper = Reaper(life)

    class Store(FolderStore):
        def _create(self, key: str, sealed: bytes) -> bool:
            reaper.at("before create")
            created = super()._create(key, sealed)
            reaper.at("after create")
            return created

    pipelines = load_pipelines()
    resources = Resources(Store(life.store), types=pipelines.types)
    host = EmbeddedHost(
        pipelines, resources, observer=Boundaries(lambda boundary, event: reaper.at("boundary"))
    )
    client = EmbeddedClient(host)
    run = client.submit(life.spec, run=RUN) if life.spec is not None else client.run(RUN).resume()
    host.drain()
    end = StoredRun(resources, run.id).ending()
    assert end is not None
    return Death(signal=0, places=reaper.passed, end=encode_body(end.data).decode())


def fork(life: Life) -> Death:
    """Do it in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, msgspec.json.encode(live(life)))
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Death(signal=os.WTERMSIG(status))
    return Death(signal=-1) if status else msgspec.json.decode(said, type=Death)


def main() -> None:
    """Import everything, then fork for every line."""
    for module in IMPORTED:
        import_module(module)
    from varloop.host import load_pipelines

    load_pipelines()
    for line in sys.stdin.buffer:
        answer = fork(msgspec.json.decode(line, type=Life))
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
