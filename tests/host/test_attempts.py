"""A call that kills its process is made a few times, not for ever; nobody else is blamed for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.toys import Toy, cancellation, deliver, invoker, submission
from varloop.context import Resources
from varloop.errors import HostDied, StoreUnavailable, TemporaryError
from varloop.events import Event, RunFailed
from varloop.host import Invoker, Verdict
from varloop.host.attempts import Attempts, Process, this_process
from varloop.runs import StoredRun
from varloop.settings import Settings
from varloop.store.folder import FolderStore
from varloop.store.memory import MemoryStore
from varloop.testing import FakeClock

STEP = "000000/execute"


def process(number: int) -> Process:
    """A process that is none here."""
    return Process(f"pod-{number}", 1, f"life {number}")


def attempts(store: MemoryStore, clock: FakeClock, who: Process | None = None) -> Attempts:
    """What a process has."""
    return Attempts(store, clock, Settings(deaths=3, lease=30.0), who)


def die(store: MemoryStore, clock: FakeClock, who: Process) -> None:
    """Make a call and never come back."""
    kept = dict(store._objects)
    with attempts(store, clock, who).marked("r", STEP):
        kept = dict(store._objects)
    store._objects.update(kept)


def test_a_call_that_comes_back_leaves_nothing() -> None:
    """Whatever came of it."""
    store, clock = MemoryStore(), FakeClock()
    with attempts(store, clock).marked("r", STEP):
        assert list(store.keys()) == [f"runs/r/attempts/{STEP}/1"]
    with pytest.raises(KeyError), attempts(store, clock).marked("r", STEP):
        raise KeyError

    assert list(store.keys()) == []


def test_deaths_are_counted() -> None:
    """After three deaths the call is not made, and the processes are named."""
    store, clock = MemoryStore(), FakeClock()
    for number in range(3):
        die(store, clock, process(number))
        clock.sleep(31.0)

    with pytest.raises(HostDied) as caught, attempts(store, clock).marked("r", STEP):
        raise AssertionError
    assert caught.value.detail == "3 processes died during this call: pod-0/1, pod-1/1, pod-2/1"
    with attempts(store, clock).marked("r", "000001/execute"):
        pass


def test_a_process_elsewhere_is_not_taken_for_dead_at_once() -> None:
    """A mark from elsewhere is waited for, as long as a lease; however many try, none is a death before."""
    store, clock = MemoryStore(), FakeClock()
    die(store, clock, process(1))
    for number in range(2, 12):
        with pytest.raises(TemporaryError, match="pod-1/1 is at this call"):
            attempts(store, clock, process(number)).marked("r", STEP).__enter__()
    clock.sleep(31.0)
    with attempts(store, clock, process(2)).marked("r", STEP):
        assert len(list(store.keys())) == 2


def test_processes_here_are_dead_when_they_are_gone() -> None:
    """On the same machine nobody needs to wait: a process runs or not; a number used again is another process."""
    here, clock = this_process(), FakeClock()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for dead in (
        Process(here.host, gone.pid, here.life),
        Process(here.host, here.pid, "an earlier life in this container"),
    ):
        store = MemoryStore()
        die(store, clock, dead)
        with attempts(store, clock).marked("r", STEP):
            assert len(list(store.keys())) == 2

    store = MemoryStore()
    die(store, clock, Process(here.host, os.getppid(), "alive"))
    with pytest.raises(TemporaryError):
        attempts(store, clock).marked("r", STEP).__enter__()


class Uncertain(MemoryStore):
    """Writes what it says it could not, and removes nothing."""

    def _create(self, key: str, sealed: bytes) -> bool:
        if super()._create(key, sealed):
            raise StoreUnavailable("away")
        return False

    def _delete(self, key: str) -> None:
        raise StoreUnavailable("away")


def test_a_process_is_no_victim_of_its_own_marks() -> None:
    """A mark that was written, or stayed, against what the store said is used again."""
    store, clock = Uncertain(), FakeClock()
    for _ in range(10):
        with pytest.raises(StoreUnavailable):
            attempts(store, clock).marked("r", STEP).__enter__()
        with attempts(store, clock).marked("r", STEP):
            pass
        clock.sleep(100.0)
        store._objects.clear()
    assert attempts(store, clock)


def test_marked_calls_are_made_one_at_a_time() -> None:
    """A call that did nothing is not under way when another one kills the process."""
    store, clock, entered = MemoryStore(), FakeClock(), threading.Event()

    def call() -> None:
        with attempts(store, clock).marked("other", STEP):
            entered.set()

    thread = threading.Thread(target=call)
    with attempts(store, clock).marked("r", STEP):
        thread.start()
        assert not entered.wait(0.1)
        assert len(list(store.keys())) == 1
    thread.join()
    assert entered.is_set()


# ------------------------------------------------------------------ as the invoker has it


def later(store: MemoryStore, toy: Toy, seconds: float = 100.0, **options: Any) -> Invoker:
    """A process that starts so long after the events were made."""
    pipelines = invoker(toy.app).pipelines
    clock = FakeClock(1_800_000_000.0 + seconds)
    return Invoker(pipelines, Resources(store, clock, pipelines.types), **options)


def until(step: str, store: MemoryStore) -> Event[Any]:
    """Drive a run until a step is due."""
    host, queue = invoker(Toy().app, store=store), [submission()]
    while (function := host.pipelines.route("default", queue[0].type)) and function.name != step:
        queue += host.invoke(queue.pop(0)).events
    return queue[0]


@pytest.mark.parametrize("step", ["encode", "execute", "postprocess", "optimize"])
def test_a_run_that_kills_its_host_is_failed(step: str) -> None:
    """Whichever step kills, a pure one too: it is called three times, then the run fails with the reason."""
    store, killed = MemoryStore(), []
    event = until(step, store)

    class Kill(BaseException):
        pass

    def before(name: str, event: Event[Any]) -> None:
        if name == step:
            killed.append(dict(store._objects))
            raise Kill

    for number in range(1, 4):
        host = later(store, Toy(before=before), 100.0 * number)
        host._attempts._process = process(number)
        with pytest.raises(Kill):
            host.invoke(event)
        store._objects.update(killed[-1])  # a process that dies removes nothing
    host = later(store, Toy(before=before), 1000.0)
    deliveries = deliver(host, event)

    failed = deliveries[-1][0].data
    assert isinstance(failed, RunFailed)
    assert (failed.error, failed.function) == ("HostDied", step)
    assert "pod-1/1, pod-2/1, pod-3/1" in failed.detail
    assert len(killed) == 3
    assert later(store, Toy(before=before), 2000.0).invoke(event).verdict in (Verdict.EMIT, Verdict.DROP)
    assert len(killed) == 3


@pytest.mark.parametrize("step", ["encode", "execute", "postprocess", "optimize"])
def test_events_of_a_run_that_has_ended_call_nothing(step: str) -> None:
    """What is left of a cancelled run is dropped by whoever gets it later."""
    store, toy = MemoryStore(), Toy()
    event = until(step, store)
    deliver(invoker(Toy().app, store=store), cancellation())

    assert later(store, toy).invoke(event).verdict is Verdict.DROP
    assert not toy.calls


def test_an_ended_run_spends_nothing_on_events_from_elsewhere() -> None:
    """Who makes up events of the next iterations has nothing executed, neither where the run was nor elsewhere."""
    store, toy = MemoryStore(), Toy()
    host = invoker(toy.app, store=store)
    proposed = next(event for event, _ in deliver(host, submission()) if event.iteration == 2)
    before = dict(toy.calls)
    for number in range(3, 6):
        forged = msgspec.structs.replace(
            proposed, id=f"f{number}", source="varloop/optimize", iteration=number
        )
        for each in (host, invoker(toy.app, store=store)):
            assert each.invoke(forged).verdict is Verdict.DROP

    assert toy.calls == before


def test_fresh_events_are_not_marked() -> None:
    """What was emitted a moment ago has killed nobody: nothing is written for it."""
    store, toy = MemoryStore(), Toy()

    def before(name: str, event: Event[Any]) -> None:
        assert not list(store.keys("runs/r/attempts/"))

    deliver(invoker(Toy(before=before).app, store=store), submission())
    deliver(later(store, Toy(before=before), 9.0), cancellation())
    assert not toy.calls


def test_the_end_is_emitted_again_if_its_record_was_lost() -> None:
    """A process that died between ending a run and recording the call: the end is emitted all the same."""
    store = MemoryStore()
    event = until("optimize", store)
    toy = Toy(iterations=1)
    end = invoker(toy.app, store=store).invoke(event).events
    store.delete("runs/r/journal/000000/optimize")

    assert later(store, toy).invoke(event).events == end


KILLER = """
import os, signal, sys
from core.toys import Toy
from varloop.app import Pipelines
from varloop.context import Resources
from varloop.host.embedded import EmbeddedHost
from varloop.runs import StoredRun
from varloop.settings import Settings
from varloop.store.folder import FolderStore

def before(name, event):
    if name == "postprocess":
        os.kill(os.getpid(), signal.SIGKILL)

pipelines = Pipelines([Toy(before=before).app])
resources = Resources(FolderStore(sys.argv[1]), types=pipelines.types)
host = EmbeddedHost(pipelines, resources, settings=Settings(fresh=-1.0))
host.bus.publish(*StoredRun(resources, "r").pending())
host.drain()
"""


def test_a_process_that_is_started_again_and_again(tmp_path: Path) -> None:
    """Real processes, killed by signal 9: the fourth fails the run and lives."""
    store = FolderStore(tmp_path)
    invoker(Toy().app, store=store).resources.register(submission())
    codes = [
        subprocess.run(
            [sys.executable, "-c", KILLER, str(tmp_path)], cwd="tests", timeout=60, check=False
        ).returncode
        for _ in range(4)
    ]

    assert codes == [-signal.SIGKILL] * 3 + [0]
    end = StoredRun(Resources(store), "r").ending()
    assert end is not None
    assert end.data.error == "HostDied"
