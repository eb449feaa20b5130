"""The loop on Prefect: three tasks of a flow, with a server of its own on this machine.

python benchmarks/peers/prefect_tasks.py ITERATIONS
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import problem

SECONDS = 60.0
"""for the server to come up"""


@contextmanager
def server() -> Iterator[None]:
    with socket.socket() as probe, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        os.environ |= {
            "DO_NOT_TRACK": "1",
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_HOME": home,
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        command = [
            sys.executable,
            "-m",
            "prefect",
            "server",
            "start",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(f"http://127.0.0.1:{port}/api/health", process)
            yield
        finally:
            process.terminate()
            process.wait(30)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit("Prefect's server did not come up")


def loop(iterations: int) -> None:
    from prefect import flow, task

    execute, postprocess, optimize = map(task, (problem.execute, problem.postprocess, problem.optimize))
    marks = problem.Marks()

    @flow
    def vqe(state: problem.State) -> problem.State:
        for _ in range(iterations + problem.WARM_UP + 1):
            state = optimize(postprocess(execute(state)))
            marks.add(state["seconds"])
        return state

    state = vqe(problem.start())
    marks.report(["prefect", "fastapi"], state["values"])


if __name__ == "__main__":
    with server():
        loop(int(sys.argv[1]))
