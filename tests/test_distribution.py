from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import entry_points, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from varloop.support.installation import extras, install_line, pages

ROOT = Path(__file__).parents[1]
STEPS = ("encode", "execute", "postprocess", "optimize")
PACKAGES = {"sdk/varloop": "varloop", "docs": "varloop/docs"} | {
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


def test_an_environment_knows_every_entry_point() -> None:
    """What pyproject.toml declares is installed; an environment from before is to be installed again (`make install`)."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]

    for group, points in declared.items():
        assert set(points) <= {point.name for point in entry_points(group=group)}


def sources() -> Iterator[tuple[Path, ast.AST]]:
    """Every module of the SDK and of the functions."""
    for folder in ("sdk/varloop", *(f"functions/{step}/function" for step in STEPS)):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text())


def imported() -> dict[str, set[str]]:
    """Distributions that the code imports, and the modules that do."""
    owners = packages_distributions()
    found: dict[str, set[str]] = {}
    for path, tree in sources():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names):
                for owner in owners.get(name, [name]):
                    found.setdefault(canonicalize_name(owner), set()).add(path.name)
    return found


def test_what_is_imported_is_declared() -> None:
    """No module needs a package that comes along by chance only, and nothing is declared that nobody imports."""
    own = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = own["optional-dependencies"]
    lines = [*own["dependencies"], *(line for name in extras if name != "all" for line in extras[name])]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    found = set(imported()) - {"varloop", "pandas"}  # to_pandas() is for those who have it
    by_name = {"qiskit-qasm3-import"}  # qiskit.qasm3 imports it

    assert found - declared == set()
    assert declared - found - by_name == set()


def test_every_extra_that_an_error_names_exists() -> None:
    """Where varloop says how to get an extra, there is such an extra, and the line names packages, not varloop."""
    named = set(
        re.findall(r'MissingExtra\("[^"]+", "([^"]+)"\)', "".join(path.read_text() for path, _ in sources()))
    )

    assert named
    assert named <= set(extras())
    assert all("varloop" not in install_line(extra) for extra in extras())
    assert install_line("s3") == "pip install 'certifi' 'minio>=7.2'"


def test_the_pages_of_the_docs_are_there() -> None:
    """A hint may send people to a page: the checkout has it, and so has the wheel (above)."""
    named = {
        name
        for folder in ("sdk", "functions")
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"`varloop docs (\w+)`", path.read_text())
    }

    assert "spec" in named
    assert named <= set(pages())
