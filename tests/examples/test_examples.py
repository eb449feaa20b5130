"""Every numbered example runs as it stands and meets the expectation it states."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NUMBERED = sorted(path for path in EXAMPLES.glob("[0-9][0-9]_*") if path.is_file())
LINES = 60


def test_there_are_six_numbered_examples() -> None:
    """The numbers run from 01 without a gap."""
    assert [path.name[:2] for path in NUMBERED] == [f"{number:02}" for number in range(1, len(NUMBERED) + 1)]
    assert len(NUMBERED) >= 6


@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
def test_it_is_short(path: Path) -> None:
    """An example fits on a screen."""
    assert len(path.read_text().splitlines()) < LINES


@pytest.mark.timeout(180)
@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
def test_it_runs_as_it_stands(path: Path, tmp_path: Path) -> None:
    """It exits with 0, which it does only if its own expectation holds, and says what it found."""
    command = [sys.executable, str(path)] if path.suffix == ".py" else ["bash", str(path)]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
