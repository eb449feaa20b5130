"""A process that optimises with its state in a file, and may be told to die. Run as a script by the tests."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec

from optimizers.landscape import drive, measured
from varloop.optimizers import create
from varloop.spec import OptimizerSpec

X0 = [0.3, -0.7, 1.9]
ITERATIONS = 25


def trajectory(name: str) -> list[str]:
    """Every ask and state of a run, exactly."""
    optimizer = create(OptimizerSpec(name=name), 7)
    return [repr(step) for step in drive(optimizer, optimizer.start(X0), ITERATIONS)]


def resume(name: str, file: Path, die_at: str, written: bool) -> None:
    """Optimise from the state in the file to the end.

    :param die_at: kills this process with SIGKILL in this iteration, after the measurement; or "never".
    :param written: die after the new state was written, not before.
    """
    optimizer = create(OptimizerSpec(name=name), 7)
    state = msgspec.json.decode(file.read_bytes()) if file.exists() else optimizer.start(X0)
    while (ask := optimizer.ask(state)) is not None and state["iteration"] < ITERATIONS:
        dying = str(state["iteration"]) == die_at
        state = optimizer.tell(state, measured(ask))
        if not dying or written:
            file.with_suffix(".new").write_bytes(msgspec.json.encode(state))
            file.with_suffix(".new").replace(file)
        if dying:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["trajectories", *names]:
            found = {name: trajectory(name) for name in names}
            sys.stdout.buffer.write(msgspec.json.encode(found))
        case [name, file, die_at, written]:
            resume(name, Path(file), die_at, written == "written")
