"""The quick starts of docs/kafka.md, literally, from nothing: no topics, no bucket."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/kafka.md").read_text("utf-8")
COMPOSE = (ROOT / "compose.yaml").read_text("utf-8")
ELSEWHERE = ("pip install", "docker compose")
"""what the test has instead: an installed varloop, and servers of its own"""


@pytest.fixture
def addresses(kafka_bootstrap: str, s3_endpoint: str) -> dict[str, str]:
    """What stands in the documents, and what is there instead: other ports, and names that nobody has used."""
    name = f"quick-{uuid.uuid4().hex[:8]}"
    return {
        "kafka://127.0.0.1:9092/varloop": f"kafka://{kafka_bootstrap}/{name}",
        "s3://varloop?endpoint=http://127.0.0.1:9000": f"s3://{name}?endpoint={s3_endpoint}",
        "VARLOOP_S3_ACCESS_KEY=varloop ": f"VARLOOP_S3_ACCESS_KEY={os.environ.get('S3_USER', 'minioadmin')} ",
        "SECRET_KEY=varloop-local": f"SECRET_KEY={os.environ.get('S3_PASS', 'minioadmin')}",
    }


def here(text: str, addresses: dict[str, str]) -> str:
    """A document's text with the addresses of the servers that there are."""
    for theirs, ours in addresses.items():
        text = text.replace(theirs, ours)
    return text


@pytest.fixture
def commands() -> list[str]:
    """The shell's, without comments."""
    block = re.findall(r"(?m)(?:^    .*\n)+", PAGE)[0]
    return [line.partition("  #")[0].strip() for line in block.splitlines()]


@pytest.fixture
def shell(addresses: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A shell with the variables of compose.yaml. What it starts ends with it."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(tmp_path), "OPENBLAS_NUM_THREADS": "1"}
    shell = subprocess.Popen(
        ["bash", "-e"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with shell:
        yield shell
        with contextlib.suppress(ProcessLookupError):  # all have ended
            os.killpg(shell.pid, signal.SIGTERM)


def test_the_quick_starts_work_from_nothing(
    shell: subprocess.Popen[str], commands: list[str], addresses: dict[str, str], tmp_path: Path
) -> None:
    """Each command as it stands; then the Python program against the worker that they started."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "program.py").write_text(here(program, addresses))
    exports = re.findall(r"(?m)^#   (export .*)$", COMPOSE)
    assert len(exports) == 3
    ours = [command for command in commands if not command.startswith(ELSEWHERE)]
    assert len(ours) == len(commands) - len(ELSEWHERE)
    script = [here(line, addresses) for line in [*exports, *ours]]
    script += ["python program.py", "kill -TERM $(jobs -p)", "wait", "echo THE END"]

    told, _ = shell.communicate("\n".join(script), timeout=100)
    assert "create bucket" in told, told
    assert "submitted first" in told, told
    assert told.endswith("THE END\n"), told
    (value,) = re.findall(r"(?m)^(-\d\.\d+)$", told)
    assert float(value) < -1.0
