from __future__ import annotations

import pytest

from chaos.scenarios import SCENARIOS, Scenario
from chaos.stage import Stage
from chaos.table import Table

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_chaos(stage: Stage, scenario: Scenario, table: Table) -> None:
    """Whatever breaks: every run ends as in quiet, each step has one outcome, and there are no dead letters."""
    with table.row(scenario.name, stage) as row:
        row.done = scenario.harm(stage)
        stage.judge()
