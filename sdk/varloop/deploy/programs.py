"""Runs the programs that deploying needs, and turns their failures into readable ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

from varloop.errors import DeployError, UsageError

__all__ = ["PROGRAMS", "DeployError", "run"]

PROGRAMS = {
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
    "func": "https://knative.dev/docs/functions/install-func/",
}
"""what is needed, and where to get it"""

TAIL = 1500


def run(*command: str, stdin: str = "", env: Mapping[str, str] | None = None, timeout: float = 300.0) -> str:
    """Run a program and return what it writes to standard output.

    :param env: added to this process's environment.
    :param timeout: seconds.
    :raises UsageError: if the program is not installed.
    :raises DeployError: if it fails, with the end of what it wrote.
    """
    if shutil.which(command[0]) is None:
        raise UsageError(f"{command[0]} is not installed", hint=f"see {PROGRAMS.get(command[0], '')}")
    try:
        done = subprocess.run(
            command,
            input=stdin,
            env={**os.environ, **(env or {})},
            timeout=timeout,
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeployError(f"{' '.join(command[:3])} … did not end within {timeout:.0f} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-TAIL:]
        raise DeployError(f"{' '.join(command[:3])} … failed:\n{said}")
    return done.stdout
