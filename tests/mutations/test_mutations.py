"""Faults that the tests must see: each is put into a copy of the code, and a test of it has to fail.

The worst fault is a wrong number, or a run that ends otherwise than it says; whoever rewrites one of these places keeps
its mutation up to date.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("sdk", "tests", "functions", "pyproject.toml")


class Mutation(NamedTuple):
    """A fault and the test that has to fail."""

    what: str
    file: str
    """below ``sdk/varloop``"""
    old: str
    """occurs in the file exactly once"""
    new: str
    test: str
    """below ``tests``"""


LOOP = "loop/test_loop.py"
MUTATIONS = [
    Mutation(
        "the deadline is ignored",
        "loop.py",
        "if now >= loop.deadline:",
        "if False:",
        f"{LOOP}::test_a_deadline_that_leaves_no_time_says_so",
    ),
    Mutation(
        "no time is kept for the final measurement",
        "loop.py",
        "loop.started + 2 * took > loop.deadline",
        "loop.started > loop.deadline",
        f"{LOOP}::test_a_deadline_keeps_time_for_the_final_measurement",
    ),
    Mutation(
        "the value that selected is the result",
        "loop.py",
        "return points[selected + len(points) - count]",
        "return points[selected]",
        f"{LOOP}::test_the_result_is_unbiased_and_its_interval_holds",
    ),
    Mutation(
        "a late result is the lowest of many noisy values",
        "loop.py",
        "result = loop.latest if loop.cost.row else loop.lowest[0]",
        "result = loop.lowest[0]",
        f"{LOOP}::test_the_result_is_unbiased_and_its_interval_holds",
    ),
    Mutation(
        "nothing is kept of the shots for the final measurement",
        "loop.py",
        "+ loop.cost.of(2 * CANDIDATES, False)",
        "",
        f"{LOOP}::test_every_ending_of_every_kind",
    ),
    Mutation(
        "error bars of values are half of what they should be",
        "quantum/gradients.py",
        "errors = np.sqrt(variances[:n] +",
        "errors = 0.5 * np.sqrt(variances[:n] +",
        "quantum/test_gradients.py::test_errors_are_the_spread_of_repeated_runs",
    ),
    Mutation(
        "error bars of gradients are half of what they should be",
        "quantum/gradients.py",
        "spread = np.sqrt(",
        "spread = 0.5 * np.sqrt(",
        "quantum/test_gradients.py::test_errors_are_the_spread_of_repeated_runs",
    ),
    Mutation(
        "requests to cancel are acknowledged unread",
        "host/invoke.py",
        "if function is None or (",
        'if function is None or "cancel" in event.type or (',
        "host/test_worker.py::test_a_cancelled_run_ends",
    ),
    Mutation(
        "whoever comes second overwrites the record",
        "journal/__init__.py",
        "        if self._store.create(self._prefix + key, data):\n            self._keep(key, data)\n",
        "        if self._store.put(self._prefix + key, data) is None:\n            self._keep(key, data)\n",
        "journal/test_journal.py",
    ),
    Mutation(
        "altered objects are believed",
        "store/__init__.py",
        'if seal[:_DIGEST] != digest or seal[_DIGEST:_SEAL] not in (b"\\n", b"+"):',
        "if False:",
        "store/test_store_memory.py",
    ),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code that may be damaged, whose tests pass as it is."""
    folder = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        here = ROOT / name
        if here.is_dir():
            shutil.copytree(here, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(here, folder)
    result = run(folder, *dict.fromkeys(each.test for each in MUTATIONS))
    assert result.returncode == 0, result.stdout
    return folder


def run(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Tests of the copy."""
    return subprocess.run(
        [
            *(sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
            *(f"tests/{test}" for test in tests),
        ],
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "sdk")},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.what.replace(" ", "-"))
def test_the_tests_see_it(copy: Path, mutation: Mutation) -> None:
    """The named test fails with the fault in the code."""
    file = copy / "sdk/varloop" / mutation.file
    sound = file.read_text()
    assert sound.count(mutation.old) == 1, "the code has changed: change its mutation too"
    file.write_text(sound.replace(mutation.old, mutation.new))
    try:
        result = run(copy, mutation.test)
    finally:
        file.write_text(sound)

    assert result.returncode == 1, f"{mutation.test} does not see it\n{result.stdout[-2000:]}"
    assert "failed" in result.stdout
