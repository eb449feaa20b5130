"""Two threads that import Qiskit from different ends at once deadlock: first calls are made one at a time."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

from core.toys import Toy, deliver, invoker, submission
from varloop.events import Event
from varloop.host.first_call import FIRST_CALL
from varloop.settings import Settings

THREADS = """
import threading

from core.toys import invoker, submission
from varloop.app import App
from varloop.events import RunSubmitted

def app(module):
    app = App(module.replace(".", "-"))
    app.function(on=RunSubmitted, name="import")(lambda event, ctx: __import__(module) and None)
    return app

modules = ["qiskit.quantum_info", "qiskit_aer", "qiskit.circuit.library", "qiskit.providers"]
together = threading.Barrier(len(modules))

def call(module):
    host = invoker(app(module))
    together.wait()
    outcomes.append(host.invoke(submission(run=module, pipeline=module.replace(".", "-"))).events)

outcomes = []
threads = [threading.Thread(target=call, args=(module,)) for module in modules]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert outcomes == [()] * len(modules), outcomes
"""


def free() -> bool:
    """Whether another thread could make a first call now."""
    found = []

    def attempt() -> None:
        if FIRST_CALL.acquire(0.0):
            FIRST_CALL.release()
            found.append(True)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return bool(found)


def test_first_calls() -> None:
    """The first call of each function is made alone, later ones are not."""
    calls: dict[str, list[bool]] = {}

    def before(name: str, event: Event[Any]) -> None:
        calls.setdefault(name, []).append(free())

    deliver(invoker(Toy(before=before).app), submission())
    assert calls
    assert all(frees[0] is False and all(frees[1:]) for frees in calls.values())
    assert any(len(frees) > 1 for frees in calls.values())


def test_a_first_call_that_hangs_holds_up_nobody() -> None:
    """After a while others are called for the first time all the same."""
    hang, hanging = threading.Event(), threading.Event()

    def before(name: str, event: Event[Any]) -> None:
        hanging.set()
        hang.wait(10)

    thread = threading.Thread(target=invoker(Toy(before=before).app).invoke, args=(submission(),))
    thread.start()
    hanging.wait(10)
    done = deliver(invoker(Toy().app, settings=Settings(first_call=0.01)), submission())
    assert thread.is_alive()
    assert done
    hang.set()
    thread.join()


def test_imports() -> None:
    """Steps that import Qiskit from different ends at once all succeed."""
    subprocess.run([sys.executable, "-c", THREADS], check=True, cwd="tests", timeout=60)
