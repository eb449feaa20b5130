"""kill -9 in mid-run, then resume: the result is the same, bit for bit, and no iteration runs twice."""

import os
import signal
import subprocess
import sys
import tempfile

import varloop
from varloop.events import ObjectiveEvaluated

SPEC = {
    "problem": {"kind": "maxcut", "edges": [[a, (a + 1) % 6, 1.0] for a in range(6)]},
    "optimizer": {"name": "cobyla"},
    "shots": 256,
    "seed": 5,
    "budget": {"iterations": 30},
}


def victim(folder: str) -> None:
    """Runs in a process of its own and dies in mid-run, without a chance to clean up."""
    for event in varloop.embedded(folder).submit(SPEC, run="victim").watch():
        if isinstance(event.data, ObjectiveEvaluated) and event.iteration == 12:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.run([sys.executable, __file__, folder], check=False)
        assert process.returncode == -signal.SIGKILL

        run = varloop.embedded(folder).run("victim")
        state = run.state()
        print(f"killed after {state.iterations} iterations, state {state.state}")
        resumed = run.resume().result()
        undisturbed = varloop.embedded("memory:").submit(SPEC).result()
        print(f"resumed: {resumed.value} after {resumed.iterations} iterations, {resumed.shots:,} shots")
        print(f"quiet:   {undisturbed.value} after {undisturbed.iterations} iterations")
        assert resumed == undisturbed


if __name__ == "__main__":
    victim(sys.argv[1]) if sys.argv[1:] else main()
