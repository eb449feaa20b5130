from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEPS = ("encode", "execute", "postprocess", "optimize")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a wheel built from a copy of this tree."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in ("sdk/varloop", *(f"functions/{step}/function" for step in STEPS)):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    if (ROOT / "README.md").exists():
        shutil.copy(ROOT / "README.md", tree)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tree / "dist")]
    subprocess.run(build, cwd=tree, check=True, capture_output=True)
    (path,) = (tree / "dist").glob("varloop-*.whl")
    return set(zipfile.ZipFile(path).namelist())


def sources(folder: str, package: str) -> set[str]:
    """Every file below a folder as it is called below the package that it is installed as."""
    top = ROOT / folder
    found = {path.relative_to(top) for path in top.rglob("*") if path.is_file()}
    return {f"{package}/{path.as_posix()}" for path in found if "__pycache__" not in path.parts}


def test_the_wheel_holds_the_whole_sdk(wheel: set[str]) -> None:
    """Every module, type marker, page and built-in spec of the SDK is in the wheel."""
    assert sources("sdk/varloop", "varloop") <= wheel


@pytest.mark.parametrize("step", STEPS)
def test_the_wheel_holds_the_functions(wheel: set[str], step: str) -> None:
    """Every file of a function's package is installed under varloop_functions."""
    assert sources(f"functions/{step}/function", f"varloop_functions/{step}") <= wheel


def test_every_step_is_found_by_entry_point() -> None:
    """The four steps are registered, and what is registered can be loaded."""
    found = entry_points(group="varloop.functions")

    assert {point.name for point in found} == set(STEPS)
    assert all(point.load() is not None for point in found)
