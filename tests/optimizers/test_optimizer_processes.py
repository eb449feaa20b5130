from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from optimizers import replayer
from optimizers.landscape import drive
from varloop.optimizers import NAMES, create
from varloop.spec import OptimizerSpec

TESTS = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run the replayer in a process of its own."""
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", replayer.__file__, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, check=False)


def test_every_process_finds_the_same_trajectories() -> None:
    """Asks and states of every optimizer, SciPy's included, agree to the bit between two processes,
    whatever their hash seeds and numbers of BLAS threads.
    """
    expected = {name: replayer.trajectory(name) for name in NAMES}
    done = run("trajectories", *NAMES)

    assert done.returncode == 0, done.stderr.decode()
    assert msgspec.json.decode(done.stdout) == expected


def test_a_killed_process_changes_nothing(tmp_path: Path) -> None:
    """Killed by SIGKILL before and after writing its state, and resumed, a replay ends where it would have."""
    file = tmp_path / "state.json"
    for iteration, moment in (("0", "unwritten"), ("9", "written")):
        assert run("cobyla", str(file), iteration, moment).returncode == -signal.SIGKILL
    last = run("cobyla", str(file), "never", "")
    assert last.returncode == 0, last.stderr.decode()

    optimizer = create(OptimizerSpec(name="cobyla"), 7)
    *_, (_, whole) = drive(optimizer, optimizer.start(replayer.X0), replayer.ITERATIONS)
    assert repr(msgspec.json.decode(file.read_bytes())) == repr(whole)
