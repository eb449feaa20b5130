from __future__ import annotations

import threading
import time

from varloop.support.turn import Turn


def held(turn: Turn) -> tuple[threading.Thread, threading.Event]:
    """Another thread that has it until told."""
    has, over = threading.Event(), threading.Event()

    def hold() -> None:
        assert turn.acquire(1.0)
        has.set()
        over.wait(10)
        turn.release()

    thread = threading.Thread(target=hold)
    thread.start()
    has.wait(10)
    return thread, over


def test_who_holds_it_for_too_long_is_not_waited_for() -> None:
    """Patience begins when it was taken: all who come later together wait once, not each."""
    turn = Turn()
    thread, over = held(turn)
    started = time.monotonic()
    assert [turn.acquire(0.1) for _ in range(10)] == [False] * 10

    assert time.monotonic() - started < 0.5
    over.set()
    thread.join()
    assert turn.acquire(0.0)
    turn.release()


def test_who_waits_gets_it_next() -> None:
    """And a thread that has it may take it again."""
    turn = Turn()
    thread, over = held(turn)
    threading.Timer(0.02, over.set).start()
    assert turn.acquire(10.0)
    assert turn.acquire(0.0)
    turn.release()
    turn.release()
    thread.join()
