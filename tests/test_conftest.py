from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """An empty project under this repository's conftest."""
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    return pytester


def test_a_leaked_thread_fails_its_test(suite: pytest.Pytester) -> None:
    """A test that leaves a thread running fails with the thread's name."""
    suite.makepyfile(
        """
        import threading

        stop = threading.Event()

        def test_leaks():
            threading.Thread(target=stop.wait, args=(5,), name="forgotten", daemon=True).start()

        def test_is_not_blamed_for_another():
            stop.set()
        """
    )

    outcome = suite.runpytest()

    outcome.assert_outcomes(passed=2, errors=1)
    outcome.stdout.fnmatch_lines(["*left threads running: forgotten*"])


def test_a_finished_thread_is_no_leak(suite: pytest.Pytester) -> None:
    """A test that waits for its threads passes."""
    suite.makepyfile(
        """
        import threading

        def test_waits():
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
        """
    )

    suite.runpytest().assert_outcomes(passed=1)
