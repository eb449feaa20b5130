"""The command line as a test calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from varloop.cli.root import cli

RUN = ("run", "toy.yaml", "--app", "app.py", "--run", "mine")


# A shell starts what runs in its background deaf to Ctrl-C, and so would be every child of such a test run.
STARTED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from varloop.cli import main
main()
"""


class Program:
    """``varloop`` in a folder of its own.

    :param folder: where it is called.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str, code: int = 0, text: str | None = None) -> Result:
        """Call it in this process and expect this exit code.

        :param text: its standard input.
        """
        result = CliRunner().invoke(cli, words, input=text, prog_name="varloop")
        assert result.exit_code == code, f"exit code {result.exit_code}: {result.output} {result.exception!r}"
        return result

    def json(self, *words: str, code: int = 0) -> Any:
        """What it prints as JSON."""
        return json.loads(self(*words, "--json", code=code).stdout)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start it as a process of its own."""
        command = [sys.executable, "-c", STARTED, *words]
        pipe = subprocess.PIPE
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, cwd=self.folder, env=environment
        )
