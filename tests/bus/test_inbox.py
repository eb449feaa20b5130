from __future__ import annotations

import threading

from varloop.bus.inbox import Inbox
from varloop.testing import FakeClock


def test_first_in_first_out_and_the_late_when_due() -> None:
    """What is due comes in the order it was put; what is due later comes when its time has come."""
    clock = FakeClock()
    inbox: Inbox[str] = Inbox(clock.now)
    inbox.put_later(10.0, "late")
    inbox.put_later(5.0, "later")
    inbox.put("a", "b")

    assert len(inbox) == 2
    assert [inbox.take(0.0) for _ in range(3)] == ["a", "b", None]
    clock.sleep(5.0)
    assert [inbox.take(0.0) for _ in range(2)] == ["later", None]
    clock.sleep(5.0)
    assert inbox.take(0.0) == "late"


def test_forgets_what_is_unwanted() -> None:
    """Discarding takes out both what is due and what is due later."""
    clock = FakeClock()
    inbox: Inbox[str] = Inbox(clock.now)
    inbox.put("a", "b")
    inbox.put_later(1.0, "a")
    inbox.discard("a".__eq__)
    clock.sleep(1.0)

    assert [inbox.take(0.0) for _ in range(2)] == ["b", None]


def test_closing_wakes_who_waits() -> None:
    """A closed inbox gives nothing, at once, whatever it holds."""
    inbox: Inbox[str] = Inbox(lambda: 0.0)
    got: list[str | None] = []
    thread = threading.Thread(target=lambda: got.append(inbox.take(1e6)))
    thread.start()
    inbox.close()
    thread.join()
    inbox.put("a")

    assert got == [None]
    assert inbox.take(1.0) is None
    assert inbox.closed


def test_a_thread_that_waits_is_woken() -> None:
    """Putting something wakes a thread that waits for it."""
    inbox: Inbox[str] = Inbox(lambda: 0.0)
    got: list[str | None] = []
    thread = threading.Thread(target=lambda: got.append(inbox.take(1e6)))
    thread.start()
    inbox.put("a")
    thread.join()

    assert got == ["a"]
