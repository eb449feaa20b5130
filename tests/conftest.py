"""What every test of this repository is held to."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# Contract classes are imported by the suites that plug in; their assertions shall explain themselves too.
pytest.register_assert_rewrite(
    *(".".join(path.relative_to(HERE).with_suffix("").parts) for path in HERE.glob("**/*contract.py"))
)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Fail a test that ends with more threads than it began with."""
    before = set(threading.enumerate())
    yield
    _release_minimizers()
    left = set(threading.enumerate()) - before - _shared_by_aer()
    for thread in left:
        thread.join(timeout=2)  # one that was told to stop may need a moment
    names = sorted(thread.name for thread in left if thread.is_alive())
    if names:
        pytest.fail(f"the test left threads running: {', '.join(names)}")


@pytest.fixture(autouse=True)
def no_key_is_remembered() -> Iterator[None]:
    """Each test begins with what its own environment says of a key; a process asks once."""
    _forget_key()
    yield
    _forget_key()


def _forget_key() -> None:
    if signing := sys.modules.get("varloop.support.signing"):
        signing.own_key.cache_clear()


def _release_minimizers() -> None:
    """End what waits on purpose for the next iteration of its run."""
    if replay := sys.modules.get("varloop.optimizers.replay"):
        replay.release()


def _shared_by_aer() -> set[threading.Thread]:
    """Aer runs every job on one thread for the life of the process."""
    utils = sys.modules.get("qiskit_aer.jobs.utils")
    return set() if utils is None else set(utils.DEFAULT_EXECUTOR._threads)
