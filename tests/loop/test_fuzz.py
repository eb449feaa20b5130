from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from loop.cases import RUNS
from loop.mutate import Mutant, Mutator
from varloop.app import Pipelines
from varloop.client import EmbeddedClient
from varloop.context import Resources
from varloop.errors import SchemaError
from varloop.events import Event, RunCompleted, RunSubmitted
from varloop.host import load_pipelines
from varloop.host.embedded import EmbeddedHost
from varloop.store.memory import MemoryStore
from varloop.testing import FakeClock
from varloop.wire.codec import encode_body, to_json

PIPELINES = load_pipelines()
NAMES = ("spsa, 64 shots", "adam", "maxcut, CVaR", "cobyla", "rotosolve", "readout mitigation")
RUN_IDS = {f"run-{number}": name for number, name in enumerate(NAMES)}
DAMAGED, FORGED = 6000, 4000


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of refusals need not be logged."""
    caplog.set_level(logging.CRITICAL, "varloop")


def a_client(pipelines: Pipelines = PIPELINES, store: MemoryStore | None = None) -> EmbeddedClient:
    """A host of its own."""
    resources = Resources(store if store is not None else MemoryStore(), FakeClock(), pipelines.types)
    return EmbeddedClient(EmbeddedHost(pipelines, resources))


def submitted(client: EmbeddedClient) -> None:
    """All runs, each under its own name."""
    for run, name in RUN_IDS.items():
        client.submit(RUNS[name], run=run)


@pytest.fixture(scope="module")
def straight() -> tuple[list[Event[Any]], list[dict[str, bytes]], dict[str, bytes]]:
    """The runs without faults: their events, the store before each of them, and their results."""
    store = MemoryStore()
    client = a_client(store=store)
    submitted(client)
    events, stores = [], []
    for event in client.host.run():
        events.append(event)
        stores.append(dict(store._objects))
    return events, stores, results(events)


def results(events: list[Event[Any]], runs: Iterable[str] = RUN_IDS) -> dict[str, bytes]:
    """The result of each run that completed, bit for bit; all its ends must agree."""
    found: dict[str, bytes] = {}
    for event in events:
        if isinstance(event.data, RunCompleted) and event.run in runs:
            body = encode_body(event.data)
            assert found.setdefault(event.run, body) == body
    return found


def read(mutant: Mutant) -> Event[Any] | None:
    """What a host reads, or None if it refuses; anything else than a refusal is a failure of the test."""
    try:
        return mutant.read()
    except SchemaError as error:
        return None if 0 < len(str(error)) < 1500 else pytest.fail(str(error))


def interleaved(client: EmbeddedClient, mutator: Mutator, fresh: set[str], each: int) -> Iterator[Event[Any]]:
    """Drive a host; after each event of the runs' own, some damaged copies of what was delivered so far."""
    for event in client.host.run():
        yield event
        if event.id in fresh:
            fresh.remove(event.id)
            mutator.add(to_json(event))
            mutants = [read(mutator.damaged()) for _ in range(each)]
            client.publish(*(mutant for mutant in mutants if mutant is not None))


def test_damage_on_the_way_changes_no_run(straight: Any) -> None:
    """Thousands of events damaged in one place, among those of the runs they come from, change no result."""
    events, _, expected = straight
    client, mutator = a_client(), Mutator(seed=4)
    submitted(client)

    delivered = list(interleaved(client, mutator, {event.id for event in events}, 40))
    assert results(delivered) == expected
    assert len(expected) == len(RUN_IDS)
    missing = DAMAGED - mutator.made
    assert 0 < missing < DAMAGED
    assert sum(read(mutator.damaged()) is None for _ in range(missing)) > missing / 2


def test_forged_events_leave_the_host_alive(straight: Any) -> None:
    """Thousands of events with faults inside and ids that fit, each at its moment, end in an event or a reason."""
    events, stores, _ = straight
    draw = random.Random(2)
    verdicts: Counter[str] = Counter()
    for number in range(FORGED):
        moment = draw.randrange(len(events))
        mutator = Mutator(seed=number)
        mutator.add(*[to_json(events[moment])] * 3, to_json(draw.choice(events)))
        event = read(mutator.forged())
        verdicts["refused" if event is None else "read"] += 1
        if event is not None:
            verdicts.update(consequences(event, stores[moment]))

    assert verdicts["refused"] + verdicts["read"] == FORGED
    assert verdicts["failed"] > 100
    assert verdicts["dead"] > 10
    assert verdicts["completed"] > 50


def consequences(event: Event[Any], objects: dict[str, bytes]) -> list[str]:
    """How it ends if an event is delivered to a host over this store, which must not raise."""
    store = MemoryStore()
    store._objects = dict(objects)
    if isinstance(event.data, RunSubmitted):
        store.delete(f"runs/{event.run}/submitted")
    client = a_client(store=store)
    client.publish(event)
    ends = []
    for number, delivered in enumerate(client.host.run()):
        ends.append(delivered.type.rpartition(".")[2])
        if number > 30:
            break
    for letter in client.host.dead_letters:
        assert letter.reason
        assert letter.error
    return [*set(ends), *["dead"] * len(client.host.dead_letters)]


def test_forged_events_harm_no_other_run(straight: Any) -> None:
    """Runs in the same host as forged events of another run end as they would alone."""
    _, _, expected = straight
    client, mutator = a_client(), Mutator(seed=4)
    submitted(client)

    others = set(expected) - {"run-0"}
    delivered = []
    for event in client.host.run():
        delivered.append(event)
        if event.run == "run-0" and mutator.made < 1000:
            mutator.add(to_json(event))
            client.publish(*(mutant for _ in range(20) if (mutant := read(mutator.forged())) is not None))
    assert mutator.made >= 400
    assert results(delivered, others) == {run: expected[run] for run in others}


def test_mutants_are_their_seeds(straight: Any) -> None:
    """The same seed makes the same mutants, so a failure can be looked at again."""

    def mutants(seed: int) -> list[Mutant]:
        mutator = Mutator(seed)
        mutator.add(*map(to_json, straight[0]))
        return [make() for make in (mutator.forged, mutator.damaged) for _ in range(5)]

    assert mutants(4) == mutants(4)
    assert mutants(4) != mutants(5)
