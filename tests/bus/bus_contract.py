"""What every bus does, whatever carries its events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from varloop.bus import Bus, Consumer, DeadLetter, Delivery
from varloop.events import (
    CancelRequested,
    Claim,
    Event,
    ParametersProposed,
    Request,
    RunCompleted,
    RunFailed,
    event_id,
)
from varloop.events import Memo as Memory

__all__ = ["BusContract", "cancel"]

CANCEL, FAILED = CancelRequested.type, RunFailed.type


def cancel(run: str, reason: str = "") -> Event[Any]:
    """A small event."""
    return Event(
        id=f"{run}-cancel", source="app/test", run=run, data=CancelRequested(reason=reason), time=1.5
    )


class BusContract(ABC):
    patience: float
    """seconds within which an event that is there is delivered"""
    silence: float
    """seconds of waiting after which nothing will come"""

    @pytest.fixture
    @abstractmethod
    def bus(self) -> Bus:
        """A bus that carries nothing."""

    @abstractmethod
    def dead_letters(self, bus: Bus) -> Sequence[DeadLetter]:
        """All dead letters, oldest first."""

    def take(self, consumer: Consumer) -> Delivery:
        """The next delivery."""
        delivery = consumer.poll(self.patience)
        assert delivery is not None, "nothing was delivered"
        return delivery

    def nothing_comes(self, consumer: Consumer) -> bool:
        """Whether nothing is delivered."""
        return consumer.poll(self.silence) is None

    def test_every_group_gets_its_types(self, bus: Bus) -> None:
        """An event goes to every group that takes its type, once, and to no other."""
        both = bus.consumer("both", [CANCEL, FAILED])
        one = bus.consumer("one", [CANCEL])
        other = bus.consumer("other", [FAILED])
        bus.publish(cancel("r"))

        for consumer in (both, one):
            delivery = self.take(consumer)
            assert (delivery.event.run, delivery.attempt) == ("r", 1)
            delivery.ack()
        for consumer in (both, one, other):
            assert self.nothing_comes(consumer)
            consumer.close()

    def test_events_arrive_as_they_were_sent(self, bus: Bus) -> None:
        """Every attribute and every number of the data survives the way, claims and Unicode included."""
        numbers = [0.1 + 0.2, -1e-300, 1.7976931348623157e308, -0.0]
        proposed = ParametersProposed(template="t", points=[numbers], memo=Memory("k", "d"))
        failed = RunFailed(error="E", detail="ψ → „ü“ \u2028 \0", faults=["a: b"])
        claim = Claim(of=Request.type or RunCompleted.type, ref="objects/0")
        sent = [
            Event(
                id=f"id-{number}",
                source="app/ü",
                run=f"run.{number}_A-b",
                data=body,
                time=1_800_000_000.123456,
                pipeline="own",
                iteration=number * 7,
                traceparent="00-" + "ab" * 16 + "-" + "cd" * 8 + "-01",
                tracestate="a=b,c=d",
            )
            for number, body in enumerate((proposed, failed, claim))
        ]
        consumer = bus.consumer("g", [event.type for event in sent])
        bus.publish(*sent)

        got = []
        for _ in sent:
            delivery = self.take(consumer)
            got.append(delivery.event)
            delivery.ack()
        consumer.close()
        assert sorted(got, key=lambda event: event.id) == sent

    def test_our_own_ids_survive(self, bus: Bus) -> None:
        """An event of a function, whose id is made of its content, is accepted on the other side."""
        body = CancelRequested(reason="€")
        id = event_id("default", "r", 3, CANCEL, b'{"reason":"\xe2\x82\xac"}')
        event = Event(id=id, source="varloop/x", run="r", data=body, time=0.5, iteration=3)
        consumer = bus.consumer("g", [CANCEL])
        bus.publish(event)

        assert self.take(consumer).event == event
        consumer.close()

    def test_acknowledged_is_done(self, bus: Bus) -> None:
        """What was acknowledged comes back neither to this member nor to the next one."""
        consumer = bus.consumer("g", [CANCEL])
        bus.publish(cancel("r"), cancel("s"))
        for _ in range(2):
            self.take(consumer).ack()

        assert self.nothing_comes(consumer)
        consumer.close()
        successor = bus.consumer("g", [CANCEL])
        assert self.nothing_comes(successor)
        successor.close()

    def test_unacknowledged_goes_to_the_next_member(self, bus: Bus) -> None:
        """A member that leaves with open deliveries leaves them, and what it never saw, to its successor."""
        consumer = bus.consumer("g", [CANCEL])
        bus.publish(*(cancel(f"r{number}") for number in range(6)))
        first = [self.take(consumer) for _ in range(4)]
        first[1].ack()
        first[3].retry(0.0)
        lost = {f"r{number}" for number in range(6)} - {first[1].event.run}
        consumer.close()

        successor = bus.consumer("g", [CANCEL])
        again: set[str] = set()
        while not lost <= again:
            delivery = self.take(successor)
            again.add(delivery.event.run)
            delivery.ack()
        successor.close()

    def test_a_retry_waits_and_holds_nobody_up(self, bus: Bus) -> None:
        """An event to be retried comes again after its delay, with the next attempt; others pass it meanwhile."""
        consumer = bus.consumer("g", [CANCEL])
        bus.publish(cancel("slow"))
        delivery = self.take(consumer)
        delivery.retry(self.silence / 2)
        bus.publish(cancel("fast"))

        got = []
        for _ in range(2):
            delivery = self.take(consumer)
            got.append((delivery.event.run, delivery.attempt))
            delivery.ack()
        assert got == [("fast", 1), ("slow", 2)]
        assert self.nothing_comes(consumer)
        consumer.close()

    def test_attempts_are_counted(self, bus: Bus) -> None:
        """Each delivery of an event to a group is one attempt more."""
        consumer = bus.consumer("g", [CANCEL])
        bus.publish(cancel("r"))

        for attempt in (1, 2, 3, 4):
            delivery = self.take(consumer)
            assert delivery.attempt == attempt
            delivery.retry(0.01)
        self.take(consumer).ack()
        assert self.nothing_comes(consumer)
        consumer.close()

    def test_a_dead_letter_says_why(self, bus: Bus) -> None:
        """A delivery that is given up lies in the dead letters with all that is known, and comes no more."""
        consumer = bus.consumer("g", [CANCEL])
        bus.publish(cancel("r"), cancel("s"))
        taken = {delivery.event.run: delivery for delivery in (self.take(consumer), self.take(consumer))}
        taken["s"].ack()
        taken["r"].retry(0.0)
        self.take(consumer).dead("not for us ü", "EventError")

        assert self.nothing_comes(consumer)
        consumer.close()
        (letter,) = self.dead_letters(bus)
        assert (letter.reason, letter.error, letter.attempt) == ("not for us ü", "EventError", 2)
        assert letter.event == cancel("r")

    def test_members_share_the_work(self, bus: Bus) -> None:
        """Two members of a group get each event once between them, if neither leaves."""
        members = [bus.consumer("g", [CANCEL]) for _ in range(2)]
        self.settle(members)
        runs = [f"r{number}" for number in range(40)]
        bus.publish(*map(cancel, runs))

        got: Counter[str] = Counter()
        quiet = 0
        while quiet < 2:
            for member in members:
                delivery = member.poll(self.silence)
                quiet = 0 if delivery else quiet + 1
                if delivery:
                    got[delivery.event.run] += 1
                    delivery.ack()
        for member in members:
            member.close()
        assert got == Counter(runs)

    def settle(self, members: Sequence[Consumer]) -> None:
        """Wait until each member has its share."""
