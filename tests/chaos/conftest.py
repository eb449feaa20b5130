"""The servers that the chaos suite starts and kills, and the table of its outcomes.

``SERVICES`` is the folder with the scripts that start them. Without it the suite is skipped, in CI it fails.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from chaos.nursery import Nursery
from chaos.scenarios import Scenario
from chaos.servers import PASSWORD, USER, Server, bucket
from chaos.stage import Stage
from chaos.table import Table

TABLE = pytest.StashKey[Table]()


def pytest_configure(config: pytest.Config) -> None:
    """An empty table."""
    config.stash[TABLE] = Table()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table and keep it."""
    table = config.stash[TABLE]
    if table.rows:
        terminalreporter.section("chaos")
        terminalreporter.write_line(table.text())
        table.keep(config.rootpath / "build" / "chaos.md")


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Table:
    """Where outcomes are noted."""
    return request.config.stash[TABLE]


@pytest.fixture(scope="session")
def scripts() -> Path:
    """The scripts that start real servers."""
    found = os.environ.get("SERVICES", "")
    if not found:
        _missing("SERVICES is not set: there are no scripts to start real servers with")
    return Path(found)


def _missing(what: str) -> NoReturn:
    """Skip, or fail in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def world() -> Iterator[Path]:
    """A folder for what servers store."""
    with tempfile.TemporaryDirectory(prefix="varloop-chaos-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def nursery(scripts: Path, _credentials: None) -> Iterator[Nursery]:
    """Where worker processes come from."""
    with Nursery() as started:
        yield started


@pytest.fixture(scope="session")
def _credentials() -> Iterator[None]:
    """Of the S3 servers, for this process and for the workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARLOOP_S3_ACCESS_KEY", USER)
        patch.setenv("VARLOOP_S3_SECRET_KEY", PASSWORD)
        yield


@pytest.fixture(scope="session")
def servers(scripts: Path, world: Path) -> Iterator[dict[str, Server]]:
    """A broker and S3 servers of this suite's own."""
    found = {kind: Server(kind, scripts, world / kind) for kind in ("kafka", "minio", "versitygw")}
    try:
        for server in found.values():
            server.start()
        yield found
    finally:
        for server in found.values():
            server.stop()


@pytest.fixture
def small_disk(world: Path) -> Iterator[Path]:
    """A disk that is soon full."""
    place = world / "disk"
    place.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "chaos", place], check=False).returncode:
        _missing("a small disk takes the right to mount one")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    nursery: Nursery,
    servers: dict[str, Server],
    tmp_path: Path,
    scenario: Scenario,
) -> Iterator[Stage]:
    """The world of one scenario."""
    for server in servers.values():
        server.start()
    place = request.getfixturevalue("small_disk") if scenario.store == "full" else servers[scenario.store]
    if isinstance(place, Server):
        bucket(place, "chaos")
    stage = Stage(nursery, tmp_path, servers["kafka"], place, "chaos", scenario.seed)
    yield stage
    stage.close()
