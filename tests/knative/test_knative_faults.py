from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from knative.bench import H2, MAXCUT, STEPS, Bench
from varloop import embedded
from varloop.runs import StoredRun

pytestmark = [
    pytest.mark.knative,
    pytest.mark.timeout(240),
    # kafka-python reads its schemas in a way that Python 3.11 deprecates
    pytest.mark.filterwarnings("ignore:(read_text|open_text) is deprecated:DeprecationWarning"),
]

TOPIC = "varloop.dead-letters"


def letters(bench: Bench, subject: str) -> list[dict[str, str]]:
    """Attributes of the dead letters of one subject."""
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(
        TOPIC, bootstrap_servers=bench.kafka, auto_offset_reset="earliest", consumer_timeout_ms=1500
    )
    try:
        found = [{name: value.decode() for name, value in record.headers} for record in consumer]
    finally:
        consumer.close()
    return [each for each in found if each.get("ce_subject") == subject]


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b'{"spec": 7}', "does not fit its schema"), (b"not json", "does not fit its schema")],
)
def test_a_poison_event_is_set_aside_with_its_reason(data: bytes, reason: str, bench: Bench) -> None:
    """What no function can read ends in the dead letters, with the reason; a run beside it is not held up."""
    run = bench.client.submit(H2)

    poison = bench.post("dev.varloop.run.submitted", data)

    (letter,) = bench.until(lambda: letters(bench, poison))
    assert letter["ce_knativeerrorcode"] == "400"
    assert reason in _reason(letter)
    assert run.result() == embedded("memory:").submit(H2).result()


def _reason(letter: dict[str, str]) -> str:
    import base64

    problem: dict[str, str] = json.loads(base64.b64decode(letter["ce_knativeerrordata"]))
    return problem["detail"]


def test_an_event_of_no_run_is_set_aside(bench: Bench) -> None:
    """To cancel what does not exist is refused, and says which run is not known."""
    lost = bench.post("dev.varloop.run.cancel.requested", {"reason": ""})

    (letter,) = bench.until(lambda: letters(bench, lost))
    assert letter["ce_knativeerrorcode"] == "422"
    assert f"run {lost}" in _reason(letter)


@pytest.mark.parametrize("step", STEPS)
def test_a_pod_killed_in_mid_run_changes_nothing(step: str, bench: Bench) -> None:
    """The pods of a step end without warning while they work: the run ends with the same numbers."""
    spec = MAXCUT | {"budget": {"iterations": 75}}
    run = bench.client.submit(spec)
    bench.until(lambda: len(run.history()) >= 5)

    for pod in bench.pods().get(step, ()):
        bench.cluster.kubectl("delete", "pod", pod, "--grace-period", "0", "--force")
    assert run.state().outcome is None, "the run was over before the pods were killed"

    here = embedded("memory:").submit(spec)
    assert run.result() == here.result()
    assert StoredRun(bench.resources, run.id).history() == here.history()


@pytest.fixture
def twice(bench: Bench) -> Iterator[None]:
    """A second Trigger beside each: every event is delivered twice."""
    twins: list[dict[str, Any]] = []
    for step in STEPS:
        (trigger,) = bench.cluster.get("trigger", step)
        twins.append(
            {
                "apiVersion": trigger["apiVersion"],
                "kind": "Trigger",
                "metadata": {"name": f"twin-{step}", "labels": {"test": "twin"}},
                "spec": {
                    key: trigger["spec"][key] for key in ("broker", "filters", "subscriber", "delivery")
                },
            }
        )
    bench.cluster.apply(twins)
    for twin in twins:
        bench.cluster.wait_ready("trigger", twin["metadata"]["name"])
    yield
    bench.cluster.delete_triggers("test=twin")


@pytest.mark.usefixtures("twice")
def test_every_event_delivered_twice_changes_nothing(bench: Bench) -> None:
    """With two deliveries of every event, side by side, the run ends once and with the same numbers."""
    name = f"twice-{uuid.uuid4().hex[:8]}"
    here = embedded("memory:").submit(MAXCUT)

    run = bench.client.submit(MAXCUT, run=name)

    assert run.result() == here.result()
    assert StoredRun(bench.resources, name).history() == here.history()
    letters_of_run = letters(bench, name)
    assert letters_of_run == []
