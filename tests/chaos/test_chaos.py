from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.nursery import Nursery
from chaos.scenarios import SCENARIOS, Scenario
from chaos.servers import Server, bucket
from chaos.stage import Stage
from chaos.table import Row, Table

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

SIZE = "1m"
"""of the disk that gets full"""


@pytest.fixture
def small_disk(world: Path) -> Iterator[Path]:
    """A disk of its own."""
    place = world / "disk"
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "chaos", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    nursery: Nursery,
    servers: dict[str, Server],
    tmp_path: Path,
) -> Iterator[Stage]:
    """The world of one scenario."""
    scenario: Scenario = request.param
    for server in servers.values():
        server.start()
    place = request.getfixturevalue("small_disk") if scenario.store == "full" else servers[scenario.store]
    if isinstance(place, Server):
        bucket(place, "chaos")
    stage = Stage(nursery, tmp_path, servers["kafka"], place, "chaos", scenario.seed)
    yield stage
    stage.close()


@pytest.mark.parametrize(
    ("stage", "scenario"),
    [(each, each) for each in SCENARIOS],
    ids=lambda each: each.name,
    indirect=["stage"],
)
def test_chaos(stage: Stage, scenario: Scenario, table: Table) -> None:
    """Whatever breaks: every run ends as in quiet, each step has one outcome, and there are no dead letters."""
    started, done, outcome = time.monotonic(), "", "FAILED"
    try:
        done = scenario.harm(stage)
        stage.judge()
        outcome = "as in quiet"
    finally:
        seconds = time.monotonic() - started
        table.rows.append(Row(scenario.name, done, len(stage.submitted), stage.fleet.lives, seconds, outcome))
