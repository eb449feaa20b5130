"""One scenario's world: a topic, a store, workers, and the application that submits and judges."""

from __future__ import annotations

import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from chaos.fleet import Fleet, Worker
from chaos.nursery import Nursery
from chaos.proxy import Fault, Proxy
from chaos.servers import Server
from chaos.specs import SPECS, Outcome, outcome, quiet
from varloop import runs
from varloop.bus.kafka import KafkaBus, apply_topics
from varloop.bus.kafka.driver import Record
from varloop.client.remote import RemoteClient
from varloop.context import Resources
from varloop.errors import SchemaError, TemporaryError
from varloop.events import CircuitExecuted, RunSubmitted
from varloop.store import Store, open_store
from varloop.store.layout import step_key
from varloop.wire.codec import from_kafka

__all__ = ["STEPS", "Stage"]

STEPS = ("encode", "execute", "postprocess", "optimize")
PARTITIONS = 4
PATIENCE = 60.0
"""seconds in which every run has to end once the world is whole again"""


class Stage:
    """Where a scenario plays.

    :param place: what the workers' store is: an S3 server behind a proxy, or a folder.
    """

    def __init__(
        self, nursery: Nursery, folder: Path, broker: Server, place: Server | Path, bucket: str, seed: int
    ) -> None:
        self.random = random.Random(seed)
        self.broker = broker
        self.s3 = place if isinstance(place, Server) else None
        self.disk = place if isinstance(place, Path) else None
        self.proxy = Proxy(self.s3.port, seed) if self.s3 else None
        self.fleet = Fleet(nursery, folder)
        self.submitted: dict[str, str] = {}
        """names of specs by run"""
        self.bus_url = f"kafka://{broker.address}/c-{uuid.uuid4().hex[:8]}"
        self.store_url, direct = self._stores(place, f"{bucket}/{uuid.uuid4().hex[:8]}")
        apply_topics(self.bus_url, partitions=PARTITIONS)
        self.bus = KafkaBus(self.bus_url)
        self.store: Store = open_store(direct)
        self.client = RemoteClient(self.bus, Resources(self.store))

    def _stores(self, place: Server | Path, path: str) -> tuple[str, str]:
        if self.proxy is None or self.s3 is None:
            return f"folder:{place}", f"folder:{place}"
        base = f"s3://{path}?endpoint=http://"
        return f"{base}127.0.0.1:{self.proxy.port}", base + self.s3.address

    # ------------------------------------------------------------ workers

    def worker(
        self, name: str, *functions: str, options: Sequence[str] = (), fuses: Sequence[str] = ()
    ) -> Worker:
        """Start a worker of some functions, or of all."""
        named = [word for function in functions for word in ("--function", function)]
        where = ["--bus", self.bus_url, "--store", self.store_url]
        return self.fleet.add(name, *where, *named, *options, fuses=fuses)

    def command(self, name: str) -> Worker:
        """Start ``varloop worker``, as its users do."""
        where = ["--bus", self.bus_url, "--store", self.store_url]
        return self.fleet.add(name, "varloop", "worker", *where, "--instance", name)

    def four(self, fuses: dict[str, Sequence[str]] | None = None, options: Sequence[str] = ()) -> None:
        """One worker per step; each keeps its name when it is started again."""
        for step in STEPS:
            static = ("--instance", step)
            self.worker(step, step, options=[*static, *options], fuses=(fuses or {}).get(step, ()))

    def pair(self, *options: str) -> None:
        """Two workers of all steps."""
        for name in ("left", "right"):
            self.worker(name, options=["--concurrency", "2", *options])

    # ------------------------------------------------------------ the application

    def submit(self, *names: str) -> list[str]:
        """Submit a run of each of these specs, of all by default."""
        ids = []
        for name in names or tuple(SPECS):
            run = f"{name}-{len(self.submitted)}"
            patiently(lambda run=run, name=name: self.client.submit(SPECS[name], run=run))  # type: ignore[misc]
            self.submitted[run] = name
            ids.append(run)
        return ids

    def until(self, run: str, iteration: int, timeout: float = PATIENCE) -> None:
        """Wait until a run has finished an iteration."""
        key = f"runs/{run}/journal/{step_key(iteration, 'optimize')}"
        self.wait(lambda: self.store.find(key) is not None, f"iteration {iteration} of {run}", timeout)

    def wait(self, true: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
        """Wait until something is so; whoever died meanwhile is started again.

        :raises AssertionError: if it takes too long.
        """
        deadline = time.monotonic() + timeout
        while not patiently(true):
            self.fleet.tend()
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {timeout:g} s\n{self.why()}")
            time.sleep(0.02)

    def pause(self, seconds: float) -> None:
        """Let time pass; whoever dies meanwhile is started again."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.fleet.tend()
            time.sleep(0.02)

    def why(self) -> str:
        """The end of what each worker said."""
        lines = {name: worker.output.splitlines()[-12:] for name, worker in self.fleet.workers.items()}
        return "\n".join(f"--- {name}\n" + "\n".join(tail) for name, tail in lines.items())

    def records(self) -> list[Record]:
        """All records of the topic."""
        found: list[Record] = patiently(lambda: self.bus.driver.scan(self.bus.settings.topic))
        return found

    def republish(self, records: Iterable[Record]) -> int:
        """Publish records once more, byte for byte, in another order."""
        again = list(records)
        self.random.shuffle(again)
        writer = self.bus.driver.writer()
        failed: list[Exception] = []
        for record in again:
            writer.send(
                record.topic,
                record.key,
                record.value,
                record.headers,
                lambda error: failed.append(error) if error else None,
            )
        writer.close()
        assert not failed, failed[0]
        return len(again)

    def forget_offsets(self) -> None:
        """Set all groups back to the beginning of the topic. They must be empty."""
        from kafka import KafkaConsumer, TopicPartition
        from kafka.structs import OffsetAndMetadata

        topic = self.bus.settings.topic
        start = {TopicPartition(topic, part): OffsetAndMetadata(0, "", -1) for part in range(PARTITIONS)}
        for step in STEPS:
            consumer = KafkaConsumer(
                bootstrap_servers=self.broker.address, group_id=f"{topic}.{step}", enable_auto_commit=False
            )
            with closing(consumer):
                consumer.assign(list(start))
                deadline = time.monotonic() + 30  # a member that keeps its name is missed after its session
                while not _commit(consumer, start):
                    assert time.monotonic() < deadline, f"{step} still has members"
                    time.sleep(0.1)

    # ------------------------------------------------------------ judgement

    def heal(self) -> None:
        """Make the world whole again."""
        self.broker.start()
        if self.s3:
            self.s3.start()
        if self.proxy:
            self.proxy.set(Fault())
        self.fleet.tend()

    def judge(self, letters: int = 0) -> None:
        """Every run ended as in quiet, did each step once, and nothing is in the dead letters.

        :param letters: how many dead letters there should be.
        """
        self.heal()
        for run in self.submitted:
            self.wait(partial(self.ended, run), f"the end of {run}")
        for run, name in self.submitted.items():
            expected = quiet(name)
            # the record of the step that ends a run is written after the end
            self.wait(partial(self._recorded, run, expected.records), f"all records of {run}", 20)
            found = self._outcome(run)
            assert found.end == expected.end, run
            assert found.history == expected.history, run
            assert found.records == expected.records, run
        self._one_execution_each()
        self.wait(lambda: len(self.bus.dead_letters()) >= letters, f"{letters} dead letters", 20)
        dead = patiently(self.bus.dead_letters)
        told = "\n".join(f"{letter.id} {letter.key!r} {letter.function}: {letter.reason}" for letter in dead)
        assert len(dead) == letters, f"{len(dead)} dead letters\n{told}"

    def ended(self, run: str) -> bool:
        """Whether a run has ended."""
        return runs.StoredRun(Resources(self.store), run).ending() is not None

    def _recorded(self, run: str, keys: frozenset[str]) -> bool:
        return self._outcome(run).records >= keys

    def _outcome(self, run: str) -> Outcome:
        return outcome(Resources(self.store), run)

    def _one_execution_each(self) -> None:
        """No two outcomes of one step were ever published."""
        published = defaultdict(set)
        for record in self.records():
            try:
                event = from_kafka(record.headers, record.value)
            except SchemaError:
                continue  # poison
            if event.run in self.submitted and event.type != RunSubmitted.type:
                published[event.run, event.iteration, event.type].add(event.id)
        forked = {step: ids for step, ids in published.items() if len(ids) != 1}
        assert not forked, f"steps with several outcomes: {forked}"
        executed = [step for step in published if step[2] == CircuitExecuted.type]
        expected = sum(
            key.endswith("/execute") for name in self.submitted.values() for key in quiet(name).records
        )
        assert len(executed) == expected, f"{len(executed)} executions published, {expected} expected"

    def close(self) -> None:
        """Leave nothing behind."""
        self.fleet.kill()
        self.broker.start()
        self.bus.close()
        self.store.close()
        if self.proxy:
            self.proxy.close()


def patiently(call: Callable[[], Any], timeout: float = 30.0) -> Any:
    """The outcome of a call, once the servers that it needs are back."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return call()
        except TemporaryError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _commit(consumer: Any, offsets: Any) -> bool:
    from kafka.errors import KafkaError

    try:
        consumer.commit(offsets)
    except KafkaError:
        return False
    return True
