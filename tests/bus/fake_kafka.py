"""A cluster of Kafka in this process: topics, groups and rebalances, without a network."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping

from varloop.bus.kafka import KafkaBus
from varloop.bus.kafka.driver import Done, Headers, Membership, Record, Topic
from varloop.bus.kafka.offsets import partition_of
from varloop.errors import PermanentError, TemporaryError
from varloop.events import BODIES
from varloop.wire.codec import Types

__all__ = ["Cluster", "bus_on"]

URL = "kafka://fake:9092/t"


class Cluster:
    """What brokers know. Also the driver, and its writer."""

    broken = False

    def __init__(self, topics: Mapping[str, int]) -> None:
        self.logs = {name: [list[Record]() for _ in range(count)] for name, count in topics.items()}
        self.configs: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self.committed: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self.groups: defaultdict[str, list[Reader]] = defaultdict(list)
        self.news = threading.Condition(threading.RLock())
        self.refuse: Callable[[str], bool] = lambda topic: False
        """whether a record for this topic is lost"""
        self.lose: Callable[[], bool] = lambda: False
        """whether a record vanishes and nobody ever hears of it"""
        self.hold: list[Callable[[], None]] | None = None
        """where acknowledgements are kept back, if they are"""

    def partitions(self, topic: str) -> int:
        """As a driver."""
        return len(self.logs.get(topic, ()))

    def reader(self, topic: str, group: str, instance: str, member: Membership) -> Reader:
        """As a driver."""
        return Reader(self, topic, group, member)

    def writer(self) -> Cluster:
        """As a driver."""
        return self

    def scan(self, topic: str) -> list[Record]:
        """As a driver."""
        return [record for log in self.logs[topic] for record in log]

    def create(self, topic: Topic) -> None:
        """As a driver."""
        self.logs[topic.name] = [[] for _ in range(topic.partitions)]
        self.configs[topic.name] = dict(topic.config)

    def grow(self, topic: str, partitions: int) -> None:
        """As a driver."""
        self.logs[topic] += [[] for _ in range(partitions - len(self.logs[topic]))]

    def config(self, topic: str) -> Mapping[str, str]:
        """As a driver."""
        return {"max.message.bytes": "1048588", **self.configs[topic]}

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        """As a driver."""
        self.configs[topic].update(config)

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, done: Done) -> None:
        """As a writer."""
        if self.refuse(topic):
            done(TemporaryError("the broker is asleep"))
            return
        size = (
            len(key or b"") + len(value or b"") + sum(len(name) + len(content) for name, content in headers)
        )
        if size > int(self.config(topic)["max.message.bytes"]):
            done(PermanentError("the record is too large"))
            return
        if self.lose():
            return
        with self.news:
            logs = self.logs[topic]
            partition = partition_of(key or b"", len(logs))
            log = logs[partition]
            log.append(Record(topic, partition, len(log), key, value, headers, float(len(log))))
            self.news.notify_all()
        if self.hold is None:
            done(None)
        else:
            self.hold.append(lambda: done(None))

    def serve(self, timeout: float = 0.0) -> None:
        """As a writer."""
        if timeout:
            threading.Event().wait(min(timeout, 0.005))

    def flush(self) -> None:
        """As a writer."""

    def close(self) -> None:
        """As a writer."""


class Reader:
    """A member of a group. All its calls but the first come from one thread."""

    def __init__(self, cluster: Cluster, topic: str, group: str, member: Membership) -> None:
        self.cluster = cluster
        self.member = member
        self.topic, self.group = topic, group
        self.paused = False
        self.mine: frozenset[int] = frozenset()
        self.positions: dict[int, int] = {}
        with cluster.news:
            cluster.groups[group].append(self)
            cluster.news.notify_all()

    def poll(self, timeout: float) -> list[Record]:
        """Take part in rebalances, then read."""
        with self.cluster.news:
            going = self.mine - self._wanted()
        if going:
            self.member.revoking(going)
        with self.cluster.news:
            self._rebalance()
            if not (found := self._read()):
                self.cluster.news.wait(min(timeout, 0.02))
                found = self._read()
        return found

    def _wanted(self) -> frozenset[int]:
        members = self.cluster.groups[self.group]
        return frozenset(range(members.index(self), len(self.cluster.logs[self.topic]), len(members)))

    def _rebalance(self) -> None:
        members = self.cluster.groups[self.group]
        others = frozenset().union(*(other.mine for other in members if other is not self))
        ours = self._wanted() - others  # what another still has comes later
        if ours == self.mine:
            return
        self.commit(self.member.to_commit())
        start = self.cluster.committed[self.group]
        self.positions = {number: self.positions.get(number, start.get(number, 0)) for number in ours}
        self.mine = ours
        self.member.assigned(ours)
        self.cluster.news.notify_all()

    def _read(self) -> list[Record]:
        if self.paused:
            return []
        logs = self.cluster.logs[self.topic]
        found = [record for number in self.mine for record in logs[number][self.positions[number] :]]
        self.positions = {number: len(logs[number]) for number in self.mine}
        return found

    def commit(self, offsets: Mapping[int, int], wait: bool = False) -> None:
        """At once."""
        with self.cluster.news:
            self.cluster.committed[self.group].update(offsets)
            self.cluster.news.notify_all()

    def pause(self, paused: bool) -> None:
        """Or go on."""
        self.paused = paused

    def close(self) -> None:
        """Leave."""
        with self.cluster.news:
            self.mine = frozenset()
            self.cluster.groups[self.group].remove(self)
            self.cluster.news.notify_all()


def bus_on(cluster: Cluster, types: Types = BODIES) -> KafkaBus:
    """A bus on the fake cluster."""
    return KafkaBus(URL, types, driver=cluster)
