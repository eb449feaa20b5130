from __future__ import annotations

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
