"""Processes that stand in a chain: started together, ready together, ended together."""

from __future__ import annotations

import selectors
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

READY, MOST = 60.0, 180.0
"""seconds for all to be ready, and for what is measured"""

Process = subprocess.Popen[str]


@contextmanager
def drive(commands: list[list[str]]) -> Iterator[list[Process]]:
    """Start processes, each of which prints a line when it is ready; end them all, whatever happens."""
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for command in commands
    ]
    try:
        for process in processes:
            _line([process], READY)
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def last_line(processes: list[Process]) -> str:
    """The next line that any of them prints."""
    return _line(processes, MOST)


def _line(processes: list[Process], seconds: float) -> str:
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for process in processes:
            if process.stdout:
                selector.register(process.stdout, selectors.EVENT_READ)
        while (left := end - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if line := key.fileobj.readline():  # type: ignore[union-attr]
                    return str(line).strip()
                raise SystemExit("a process of the chain ended early")
    raise SystemExit(f"no answer within {seconds:g} s")
