"""The command line. It adds nothing to the SDK but words: each command is a few calls of its public parts.

Click, rich and everything a command needs are imported when that command runs, so that ``varloop --help`` and
the shell's completion answer at once.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]

INTERRUPTED = 130


def main() -> None:
    """The ``varloop`` program."""
    # Before NumPy is there: the matrices of an optimizer are small, and threads over them cost a hundred times
    # more than they save when other processes want the cores too.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from varloop.cli.root import cli

    try:
        cli(prog_name="varloop")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            # A job under way is abandoned, as by any other death: its run is resumable. Do not wait for it.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise
