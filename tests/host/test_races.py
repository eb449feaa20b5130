from __future__ import annotations

import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.toys import Toy, cancellation, deliver, invoker, submission
from store.racers import race
from varloop import runs
from varloop.context import Context, Resources
from varloop.events import CircuitExecuted, Event, RunCancelled, RunCompleted
from varloop.store import Store
from varloop.store.folder import FolderStore
from varloop.store.memory import MemoryStore


class Noisy(Toy):
    """A toy whose jobs have other outcomes in every process: who records first decides."""

    def __init__(self, name: str, **options: Any) -> None:
        self._noise = random.Random(name)
        super().__init__(**options)

    def execute(self, event: Event[Any], ctx: Context) -> CircuitExecuted:
        """Measure with the noise of this process."""
        done = super().execute(event, ctx)
        values = [value + self._noise.random() for value in done.measurement.values or []]
        measurement = msgspec.structs.replace(done.measurement, values=values)
        return msgspec.structs.replace(done, measurement=measurement)


def everything(store: Store, name: str, count: int) -> list[list[Any]]:
    """Drive every run as far as it is not another's; the ends that came of it."""
    host = invoker(Noisy(name).app, store=store)
    ends = []
    for number in range(count):
        for event, _ in deliver(host, submission(f"r{number}")):
            if isinstance(event.data, RunCompleted):
                ends.append([event.run, event.data.value, event.data.parameters])
    return ends


def cancel_or_drive(store: Store, name: str, count: int) -> list[list[str]]:
    """Half of the processes drive the runs, the others cancel them: ids of the ends that each emitted."""
    host = invoker(Noisy(name, iterations=6).app, store=store)
    ends: list[list[str]] = []
    for number in range(count):
        run = f"r{number}"
        host.resources.register(submission(run))
        cause = submission(run) if int(name[-1]) % 2 else cancellation(run, id=f"cancel-{name}-{number}")
        events = [event for event, _ in deliver(host, cause)]
        ends.append([event.id for event in events if isinstance(event.data, RunCompleted | RunCancelled)])
    return ends


def recorded(store: Store, count: int) -> list[list[Any]]:
    """The ends of all runs, as the store knows them."""
    resources = Resources(store)
    ends = [runs.StoredRun(resources, f"r{number}").ending() for number in range(count)]
    return [[end.run, end.data.value, end.data.parameters] for end in ends if end is not None]


def test_processes_that_race_agree(tmp_path: Path) -> None:
    """Processes that all drive the same runs over one folder end each run, and with the recorded result."""
    seen = race("host.test_races", "everything", f"folder:{tmp_path}", processes=4, count=20)
    ends = recorded(FolderStore(tmp_path), 20)

    assert len({value for _, value, _ in ends}) == 20
    assert all(end in ends for process in seen for end in process)
    assert {run for process in seen for run, *_ in process} == {run for run, *_ in ends}


def test_a_race_of_cancelling_with_completing(tmp_path: Path) -> None:
    """Whoever is faster, each run has exactly one end, for the processes that drive it and those that cancel."""
    ends = race("host.test_races", "cancel_or_drive", f"folder:{tmp_path}", processes=4, count=20)

    for number in range(20):
        assert len({id for process in ends for id in process[number]}) == 1, number


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_threads_that_race_agree(kind: str, tmp_path: Path) -> None:
    """The same within one process: hosts in threads of their own share the store only."""
    store: Store = MemoryStore() if kind == "memory" else FolderStore(tmp_path)
    found: dict[str, list[list[Any]]] = {}
    threads = [
        threading.Thread(target=lambda name=name: found.update({name: everything(store, name, 10)}))
        for name in ("racer-0", "racer-1", "racer-2")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ends = recorded(store, 10)
    assert len(ends) == 10
    assert all(end in ends for seen in found.values() for end in seen)


def test_events_dealt_out_to_hosts_in_any_order() -> None:
    """Any of several hosts may get any event, twice, in any order: every run has its one end."""
    draw = random.Random(7)
    for _ in range(30):
        store = MemoryStore()
        hosts = [invoker(Noisy(f"racer-{number}").app, store=store) for number in range(3)]
        queue, ends = [submission(), submission()], Counter[str]()
        while queue:
            event = queue.pop(draw.randrange(len(queue)))
            outcome = draw.choice(hosts).invoke(event)
            copies = outcome.events * (2 if draw.random() < 0.3 else 1)
            queue += copies
            ends.update(event.id for event in copies if isinstance(event.data, RunCompleted))
        assert len(ends) == 1
