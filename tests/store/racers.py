"""Several processes that do the same thing to one store at the same moment."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

__all__ = ["race"]

_CHILD = """
import json, sys
from varloop.store import open_store
from {module} import {function}
url, name, count = json.loads(sys.argv[1])
store = open_store(url)
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps({function}(store, name, count)), flush=True)
"""


def race(module: str, function: str, url: str, *, processes: int = 4, count: int = 40) -> list[Any]:
    """What ``module.function(store, name, count)`` returned in each process, all started at once."""
    code = _CHILD.format(module=module, function=function)
    path = f"import sys; sys.path[:0] = {sys.path!r}\n"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", path + code, json.dumps([url, f"racer-{number}", count])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n", child.communicate()[1]
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        answers = [child.communicate(timeout=50) for child in children]
        assert [child.returncode for child in children] == [0] * processes, [error for _, error in answers]
        return [json.loads(answer) for answer, _ in answers]
    finally:
        for child in children:
            child.kill()
            child.communicate()
