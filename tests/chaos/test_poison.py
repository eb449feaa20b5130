from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence

import pytest

from chaos.harms import nothing, nothing_fused
from chaos.poison import BAD, FOREIGN, OVERSIZE, Poison
from chaos.scenarios import Scenario
from chaos.stage import Stage
from chaos.table import Table

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]


def publish(stage: Stage, records: Sequence[Poison]) -> None:
    """Publish records as they are, by a client that knows nothing of varloop, each in a batch of its own."""
    from kafka import KafkaProducer

    producer = KafkaProducer(
        bootstrap_servers=stage.broker.address, enable_idempotence=True, max_request_size=2**21
    )
    for poison in records:
        headers = list(poison.headers)
        sent = producer.send(stage.bus.settings.topic, poison.value, poison.name.encode(), headers)
        sent.get(timeout=30)
    producer.close(timeout=10)


@pytest.mark.parametrize(
    "scenario",
    [Scenario("poison", nothing), Scenario("poison, fused", nothing_fused, "minio")],
    ids=lambda each: each.name,
)
def test_poison(stage: Stage, scenario: Scenario, table: Table) -> None:
    """Each bad record is in the dead letters with its reason, once; runs among them end as in quiet."""
    with table.row(scenario.name, stage) as row:
        everything = [*BAD, *FOREIGN]
        random.Random(5).shuffle(everything)
        row.done = f"{len(BAD)} bad records, {len(FOREIGN)} foreign ones; offsets lost"
        publish(stage, everything[::2])
        scenario.harm(stage)
        publish(stage, everything[1::2])
        stage.judge(letters=len(BAD))

        found = {(letter.key or b"").decode(): letter.reason for letter in stage.bus.dead_letters()}
        assert found.keys() == {poison.name for poison in BAD}
        wrong = {each.name: found[each.name] for each in BAD if not re.search(each.reason, found[each.name])}
        assert not wrong
        buried = Counter(record.key for record in stage.bus.driver.scan(stage.bus.settings.dead))
        assert set(buried.values()) == {1}

        stage.fleet.stop()
        stage.forget_offsets()
        stage.fleet.tend()
        stage.pause(2.0)
        stage.judge(letters=len(BAD))


@pytest.mark.parametrize("scenario", [Scenario("poison, oversize", nothing)], ids=lambda each: each.name)
def test_oversize(stage: Stage, scenario: Scenario, table: Table) -> None:
    """A bad record of the largest size a broker takes is in the dead letters too, and holds nothing up."""
    with table.row(scenario.name, stage) as row:
        row.done = "a bad record of the broker's limit"
        publish(stage, [OVERSIZE])
        scenario.harm(stage)
        stage.judge(letters=1)
        (letter,) = stage.bus.dead_letters()
        assert OVERSIZE.reason in letter.reason
        assert letter.raw == OVERSIZE.value
