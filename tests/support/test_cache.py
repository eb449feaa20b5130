from __future__ import annotations

import random
import sys
import threading

from varloop.support.cache import LruCache


def test_what_was_used_longest_ago_is_forgotten() -> None:
    """Storing and recalling are uses; looking whether a key is there is none."""
    recent: LruCache[str, int] = LruCache(2)
    recent["a"], recent["b"] = 1, 2
    assert recent.recall("a") == 1
    assert "b" in recent
    recent["c"] = 3

    assert list(recent.items()) == [("a", 1), ("c", 3)]
    assert recent.recall("b") is None


def test_storing_again_is_a_use() -> None:
    """A key has one entry, the last one stored."""
    recent: LruCache[str, int] = LruCache(2)
    recent["a"], recent["b"] = 1, 2
    recent["a"] = 3
    recent["c"] = 4

    assert list(recent.items()) == [("a", 3), ("c", 4)]


def test_any_number_of_threads_share_a_cache() -> None:
    """Nobody finds it broken, whatever others store and recall meanwhile; who keeps first decides."""
    recent: LruCache[int, int] = LruCache(3)
    errors: list[Exception] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        try:
            for _ in range(3_000):
                key = draw.randrange(6)
                recent.recall(key)
                recent.keep(key, key)
                recent[key] = key
        except Exception as error:
            errors.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)

    assert errors == []
    assert len(recent) == 3
    assert recent.keep(7, 1) == recent.keep(7, 2) == 1
