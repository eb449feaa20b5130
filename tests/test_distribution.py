from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points, metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
STEPS = ("encode", "execute", "postprocess", "optimize")
PACKAGES = {"sdk/varloop": "varloop"} | {
    f"functions/{step}/function": f"varloop_functions/{step}" for step in STEPS
}


def test_the_wheel_holds_every_file_of_every_package(tmp_path: Path) -> None:
    """Modules, type markers, pages and built-in specs of the SDK and of the four functions are all installed."""
    for folder in PACKAGES:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    expected = {
        f"{package}/{path.relative_to(tmp_path / folder).as_posix()}"
        for folder, package in PACKAGES.items()
        for path in (tmp_path / folder).rglob("*")
        if path.is_file()
    }

    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("varloop-*.whl")
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert found == expected


def test_every_step_is_found_by_entry_point() -> None:
    """The four steps are registered, and what is registered can be loaded."""
    found = entry_points(group="varloop.functions")

    assert {point.name for point in found} == set(STEPS)
    assert all(point.load() is not None for point in found)


def test_every_extra_that_an_error_names_exists() -> None:
    """Where varloop says `pip install 'varloop[extra]'`, there is such an extra."""
    sources = "".join(path.read_text() for path in (ROOT / "sdk").rglob("*.py"))
    named = set(re.findall(r'MissingExtra\("[^"]+", "([^"]+)"\)', sources))

    assert named
    assert named <= set(metadata("varloop").get_all("Provides-Extra", []))
