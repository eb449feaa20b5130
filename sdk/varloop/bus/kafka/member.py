"""A member of a consumer group: reads ahead, hands records out, and commits what is dealt with."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

import msgspec

from varloop.bus import DeadLetter
from varloop.bus.inbox import Inbox, Sink
from varloop.bus.kafka.dead import place_of
from varloop.bus.kafka.driver import SERVE, Record
from varloop.bus.kafka.offsets import Offsets, partition_of
from varloop.errors import PermanentError, SchemaError, TemporaryError, VarloopError
from varloop.events import PREFIX, Body, Event
from varloop.wire.codec import from_kafka

if TYPE_CHECKING:
    from varloop.bus.kafka import KafkaBus

__all__ = ["Copy", "KafkaDelivery", "Member"]

log = logging.getLogger("varloop.bus")

AHEAD, OUTSTANDING = 256, 20_000
"""records that wait for a function, and all that are not dealt with; beyond, nothing is fetched"""
COMMIT = SERVE
"""seconds between two commits: so much is delivered again after a kill"""
LEAVE = 15.0
"""seconds to leave in; a cluster that does not answer will notice by itself"""
FINISH, LOOK = 30.0, 0.02
"""seconds to finish in what is in hand of partitions that go to others, and between two looks"""
PAUSE, LONGEST = 1.0, 30.0
"""seconds to wait after an error of the cluster, and between two attempts at one record"""
FAULTY = 15.0
"""seconds for which an error counts: some come only now and then while their cause is there"""


class Member:
    """One member of one group, with a thread that reads.

    :param types: the events the group takes, by CloudEvents type.
    :param orphans: events that no group takes, by CloudEvents type, if this is the group that looks after them:
        what nobody can read of these, and of no known type, goes to the dead letters.
    :param sink: where deliveries go, instead of waiting for :meth:`poll`.
    :param known: asked about each record before it is decoded; if it says yes, it takes the record over.
    :param busy: whether something of these partitions is being worked on.
    """

    def __init__(
        self,
        bus: KafkaBus,
        group: str,
        types: Collection[str],
        *,
        orphans: Collection[str] | None = None,
        instance: str = "",
        sink: Sink[KafkaDelivery] | None = None,
        known: Callable[[Copy], bool] = lambda copy: False,
        busy: Callable[[frozenset[int]], bool] = lambda partitions: False,
    ) -> None:
        self.bus = bus
        self.group = group
        self._types = frozenset(types)
        self._orphans = None if orphans is None else frozenset(orphans)
        self._inbox: Inbox[KafkaDelivery] = Inbox(time.monotonic)
        self.sink = self._inbox if sink is None else sink
        self._known = known
        self._busy = busy
        self._going: frozenset[int] = frozenset()
        """partitions that are about to go to others"""
        self._lock = threading.Lock()
        self._offsets: dict[int, Offsets] = {}
        self._unburied: deque[tuple[Record, DeadLetter, bool]] = deque()
        self._again: Inbox[tuple[int, Record]] = Inbox(time.monotonic)
        """records that our own code failed at, and how often"""
        self._faulty = ("", 0.0)
        self._stopping = threading.Event()
        self.ended: VarloopError | None = None
        """why this is a member no more, though nobody told it to leave"""
        self.joined = threading.Event()
        """set while this is a member"""
        _ = bus.partitions  # a client might wait for a topic that is not there
        self._reader = bus.driver.reader(bus.settings.topic, f"{bus.settings.topic}.{group}", instance, self)
        self.thread = threading.Thread(target=self._read, name=f"varloop-{group}", daemon=True)
        self.thread.start()

    def poll(self, timeout: float) -> KafkaDelivery | None:
        return self._inbox.take(timeout)

    @property
    def fault(self) -> str:
        """What is wrong with reading, empty if nothing is."""
        text, when = self._faulty
        if self.ended or (text and time.monotonic() - when < FAULTY):
            return f"{self.group}: {self.ended or text}"
        return "" if self.joined.is_set() else f"{self.group}: has not joined its group yet"

    def owns(self, run: str) -> bool:
        """Whether the records of a run come to this member."""
        return self.has(partition_of(run.encode(), self.bus.partitions))

    def has(self, partition: int) -> bool:
        """Whether a partition is this member's, and stays so."""
        return partition in self._offsets and partition not in self._going

    def leave(self) -> None:
        """Begin to commit what is dealt with, and to leave the group."""
        self._stopping.set()

    def close(self) -> None:
        self.leave()
        self.thread.join(LEAVE)

    def revoking(self, partitions: frozenset[int]) -> None:
        """Begin nothing more of these partitions, and finish what is in hand: whoever has them next would do it again,
        at its cost. A worker that stops has had its time for that.
        """
        self._going = partitions
        self.sink.discard(lambda item: item.member is self and item.record.partition in partitions)
        deadline = time.monotonic() + FINISH
        while self._busy(partitions) and time.monotonic() < deadline and not self._stopping.wait(LOOK):
            self.bus.serve()

    def assigned(self, partitions: frozenset[int]) -> None:
        self._going = frozenset()
        with self._lock:
            lost = self._offsets.keys() - partitions
            self._offsets = {
                partition: self._offsets.get(partition) or Offsets() for partition in sorted(partitions)
            }
        if lost:
            self.sink.discard(lambda item: item.member is self and item.record.partition in lost)
            self._again.discard(lambda item: item[1].partition in lost)
        self.joined.set()
        log.info("%s has partitions %s", self.group, sorted(partitions))

    def to_commit(self) -> Mapping[int, int]:
        with self._lock:
            moved = {partition: offsets.to_commit() for partition, offsets in self._offsets.items()}
        return {partition: offset for partition, offset in moved.items() if offset is not None}

    def complete(self, record: Record) -> None:
        """A record is dealt with."""
        with self._lock:
            if offsets := self._offsets.get(record.partition):
                offsets.complete(record.offset)

    def bury(self, record: Record, letter: DeadLetter) -> None:
        """Put a record into the dead letters; only then it is dealt with."""
        run, place = (record.key or b"").decode(errors="replace"), place_of(record)
        about = {"run": run, "letter": place}
        log.error("%s gives up %s, run %s: %s", self.group, place, run, letter.reason, extra=about)
        self._bury(record, letter, True)

    def _bury(self, record: Record, letter: DeadLetter, whole: bool) -> None:
        """One attempt. What is too large is left out of the next one."""

        def done(error: Exception | None) -> None:
            if error is None:
                self.complete(record)
            else:
                log.warning("%s: %s is not in the dead letters yet: %s", self.group, place_of(record), error)
                self._unburied.append((record, letter, whole and not isinstance(error, PermanentError)))

        self.bus.bury(record, letter, done, whole)

    def _read(self) -> None:
        """Read until told to stop, whatever the cluster does meanwhile."""
        due = 0.0
        while not self._stopping.is_set():
            try:
                for record in self._reader.poll(COMMIT):
                    self._take(record)
                self.bus.serve()
                if (now := time.monotonic()) >= due:
                    due = now + COMMIT
                    self._tidy()
            except TemporaryError as error:
                self._complain(str(error))
                log.warning("%s: %s", self.group, error, extra={"repeats": f"{self.group} {error}"})
                self._stopping.wait(PAUSE)
            except VarloopError as error:
                self.ended = error
                log.error("%s reads no more: %s", self.group, error)
                break
            except Exception as error:
                self._complain(f"{type(error).__name__}: {error}")
                log.exception(
                    "%s: reading went wrong and is tried again", self.group, extra={"repeats": self.group}
                )
                self._stopping.wait(PAUSE)
        try:
            self._reader.commit(self.to_commit(), wait=True)
            self._reader.close()
        except VarloopError as error:
            log.warning("%s left without a word: %s", self.group, error)

    def _complain(self, text: str) -> None:
        self._faulty = text, time.monotonic()

    def _tidy(self) -> None:
        """Commit, fetch no more than can be worked on, and bury again what could not be buried."""
        self._reader.commit(self.to_commit())
        with self._lock:
            outstanding = sum(offsets.outstanding for offsets in self._offsets.values())
        self._reader.pause(len(self.sink) >= AHEAD or outstanding >= OUTSTANDING)
        for _ in range(len(self._unburied)):
            self._bury(*self._unburied.popleft())
        while again := self._again.take(0.0):
            self._try(*again)

    def _take(self, record: Record) -> None:
        with self._lock:
            offsets = self._offsets.get(record.partition)
            if offsets is None or not offsets.begin(record.offset):
                return
        self._try(1, record)

    def _try(self, attempt: int, record: Record) -> None:
        """Deal with a record. What our own code does not foresee is no fault of the record: it is tried again."""
        try:
            self._sort(record)
        except Exception as error:  # those that came with it would be lost
            place = place_of(record)
            self._complain(f"a bug in varloop at {place}, {type(error).__name__}: {error}")
            log.exception("%s: a bug in varloop at %s, which is tried again", self.group, place)
            self._again.put_later(min(LONGEST, PAUSE * 2.0 ** min(attempt - 1, 16)), (attempt + 1, record))

    def _sort(self, record: Record) -> None:
        """Deliver a record, bury it, or let it pass."""
        kind = _kind(record)
        if kind in self._types:
            if not self._known(Copy(self, record)) and (delivery := self.deliver(record)):
                self.sink.put(delivery)
        elif not self._looks_after(kind) or self.deliver(record):
            self.complete(record)

    def deliver(self, record: Record, attempt: int = 1) -> KafkaDelivery | None:
        """A record as a delivery; None if nobody can read it, then it is buried."""
        try:
            event = from_kafka(record.headers, record.value, self.bus.types)
        except SchemaError as error:
            self.bury(record, DeadLetter(reason=str(error), function=self.group, error="SchemaError"))
            return None
        return KafkaDelivery(self, record, event, attempt)

    def _looks_after(self, kind: str | None) -> bool:
        """Whether records of a type that no group takes are buried here if they cannot be read."""
        if self._orphans is None:
            return False
        return (
            kind is None or kind in self._orphans or (kind.startswith(PREFIX) and kind not in self.bus.types)
        )


class Copy:
    """A record that is not decoded, because its event is known. Its verbs may be called from any thread."""

    __slots__ = ("_member", "_record")

    def __init__(self, member: Member, record: Record) -> None:
        self._member = member
        self._record = record

    @property
    def run(self) -> bytes:
        """Id of the run."""
        return self._record.key or b""

    @property
    def name(self) -> tuple[str, str]:
        """Source and id of the event, empty if they are not in the headers."""
        found = {name: value for name, value in self._record.headers if name in ("ce_source", "ce_id")}
        source, id = found.get("ce_source") or b"", found.get("ce_id") or b""
        return source.decode(errors="replace"), id.decode(errors="replace")

    def ack(self) -> None:
        """The event is dealt with."""
        self._member.complete(self._record)

    def retry(self, delay: float) -> None:
        """Deliver it like any other after some seconds."""
        if delivery := self._member.deliver(self._record, attempt=2):
            self._member.sink.put_later(delay, delivery)


class KafkaDelivery:
    """One attempt to hand a record to a group. Its verbs may be called from any thread."""

    __slots__ = ("attempt", "event", "member", "record")

    def __init__(self, member: Member, record: Record, event: Event[Body], attempt: int = 1) -> None:
        self.member = member
        self.record = record
        self.event = event
        self.attempt = attempt

    @property
    def is_ours(self) -> bool:
        """Whether its partition is still this member's; if not, another member has it too."""
        return self.member.has(self.record.partition)

    def ack(self) -> None:
        self.member.complete(self.record)

    def retry(self, delay: float) -> None:
        again = KafkaDelivery(self.member, self.record, self.event, self.attempt + 1)
        self.member.sink.put_later(delay, again)

    def dead(self, reason: str, error: str = "") -> None:
        function, attempt = self.member.group, self.attempt
        letter = DeadLetter(reason=reason, function=function, attempt=attempt, error=error, event=self.event)
        self.member.bury(self.record, letter)


class _Head(msgspec.Struct):
    type: str = ""


_head = msgspec.json.Decoder(_Head)


def _kind(record: Record) -> str | None:
    """CloudEvents type of a record without looking at the rest, None if it has none."""
    for name, value in record.headers:
        if name.lower() == "ce_type":
            return (value or b"").decode(errors="replace") or None  # clients know headers without a value
    try:
        return _head.decode(record.value or b"").type or None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
