"""Nothing printed in the README is untested."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Fenced code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.timeout(120)
def test_the_first_python_block_runs(tmp_path: Path) -> None:
    """It is a whole program and prints a value with its error."""
    program = tmp_path / "readme.py"
    program.write_text(blocks("python")[0])
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"-1\.\d+ ± 0\.0\d+\n", done.stdout)


@pytest.mark.timeout(120)
def test_the_recording_is_what_the_demo_prints(tmp_path: Path) -> None:
    """Run ids and times apart, `varloop run h2` prints what the README shows."""
    shown = re.search(r"<!-- recording: demo -->\n```text\n(.*?)```\n<!-- end -->", README, re.DOTALL)
    assert shown is not None
    command = [Path(sys.executable).with_name("varloop"), "run", "h2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert anonymous(done.stdout) == anonymous(shown[1])


def anonymous(text: str) -> str:
    """Without what differs from run to run."""
    return re.sub(r"h2-[0-9a-f]+", "h2-ID", re.sub(r"\d+\.\d+ s\b", "T s", text))


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_somewhere(path: str) -> None:
    """Every relative link names a file or folder of the repository."""
    assert (ROOT / path).exists()
