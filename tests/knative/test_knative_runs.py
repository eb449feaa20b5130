from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

import msgspec
import pytest

from knative.bench import H2, MAXCUT, STEPS, Bench
from varloop import embedded
from varloop.events import Event, RunCompleted, RunSubmitted
from varloop.runs import StoredRun
from varloop.wire.codec import to_json

pytestmark = [pytest.mark.knative, pytest.mark.timeout(240)]


def test_nothing_runs_at_rest_and_one_event_brings_up_what_it_needs(bench: Bench) -> None:
    """At rest no function has a pod; a run that fails in the first step brings up one pod of that step; then none."""
    bench.rest()
    seen: set[tuple[str, str]] = set()

    run = bench.post("dev.varloop.run.submitted", {"spec": {"problem": {"kind": "nonsense"}}})

    def ended() -> bool:
        seen.update((service, name) for service, names in bench.pods().items() for name in names)
        return bench.store.find(f"runs/{run}/journal/end") is not None

    bench.until(ended)
    bench.until(lambda: not ended() or not bench.pods(), 90)
    assert [service for service, _ in seen] == ["encode"]


def test_a_run_from_zero_brings_up_each_step(bench: Bench) -> None:
    """A run that finds nothing running ends, with one pod of each of the four functions doing all of its calls.

    On a busy machine the autoscaler starts a second pod now and then: it counts an event that waits for the first one
    both where it waits and where it has just arrived. More than that would be events delivered side by side.
    """
    bench.rest()
    seen: dict[str, set[str]] = {}

    run = bench.client.submit(H2)
    while run.state().outcome is None:
        for service, names in bench.pods().items():
            seen.setdefault(service, set()).update(names)

    assert sorted(seen) == sorted(STEPS)
    assert max(len(names) for names in seen.values()) <= 2


@pytest.mark.parametrize("spec", [H2, MAXCUT], ids=["h2", "maxcut"])
def test_a_run_ends_as_it_does_embedded(
    spec: dict[str, Any], bench: Bench, sink: Callable[[str], list[dict[str, Any]]]
) -> None:
    """A spec posted as plain JSON ends with the embedded host's numbers, bit for bit, and the application is told."""
    here = embedded("memory:").submit(spec)
    expected = here.result()

    run = bench.post("dev.varloop.run.submitted", {"spec": spec})
    result = bench.run(run).result()

    assert result == expected
    assert StoredRun(bench.resources, run).history() == here.history()
    (told,) = bench.until(lambda: sink(run))
    assert told["ce-type"] == "dev.varloop.run.completed"
    assert msgspec.convert(told["data"], RunCompleted) == expected


def test_a_run_is_as_long_as_it_likes(bench: Bench) -> None:
    """A broker may drop an event after 255 hops; a run of three times as many ends, with the embedded numbers."""
    long = H2 | {"budget": {"iterations": 260}}

    assert bench.client.submit(long).result() == embedded("memory:").submit(long).result()


def test_a_run_is_cancelled(bench: Bench, sink: Callable[[str], list[dict[str, Any]]]) -> None:
    """A plain CloudEvent ends a run that would take long; the application is told why."""
    long = H2 | {"budget": {"iterations": 5000}}
    run = bench.post("dev.varloop.run.submitted", {"spec": long})
    bench.until(lambda: len(bench.run(run).history()) > 3)

    bench.post("dev.varloop.run.cancel.requested", {"reason": "enough"}, subject=run, id=f"{run}-cancel")

    (told,) = bench.until(lambda: sink(run))
    assert (told["ce-type"], told["data"]["reason"]) == ("dev.varloop.run.cancelled", "enough")
    assert bench.client.run(run).state().state == "cancelled"


def test_any_mode_of_cloudevents_is_taken(bench: Bench) -> None:
    """A structured event does as well as a binary one."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    event = Event(id=name, source="/test", run=name, data=RunSubmitted(spec=H2), time=0.0)
    request = Request(bench.broker, to_json(event), {"content-type": "application/cloudevents+json"})
    with urlopen(request, timeout=30) as answer:
        assert answer.status == 202

    assert bench.run(name).result().iterations == H2["budget"]["iterations"]
