"""Images of projects: built and pushed by ``func``, on the base images of ``scripts/base-image``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from varloop.deploy.programs import run
from varloop.deploy.project import Project

__all__ = ["build"]

BACKEND = Path(__file__).with_name("backend.lock")
"""what builds func's scaffolding, with hashes (`make lock`)"""


def build(project: Project, registry: str) -> str:
    """Build a staged project's image and push it.

    :param registry: where images go, with the base images ``core`` and ``quantum``; ``HOST/PATH``.
    :returns: the image with its digest.
    :raises DeployError: if func fails.
    """
    folder = str(project.folder)
    run(
        "func",
        "build",
        *("--path", folder, "--builder", "host", "--push"),
        *("--base-image", f"{registry}/{project.base}", "--image", f"{registry}/{project.name}"),
        env=_environment(project),
        timeout=600,
    )
    return (project.folder / ".func/built-image").read_text().strip()


def _environment(project: Project) -> dict[str, str]:
    """func calls ``python`` and pip: this very Python, and pip told that everything is there already.

    The host builder installs the function and all it depends on into one layer, which differs with each build.
    What is in the base image is left out of it, so that a change pushes kilobytes.
    """
    own = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}
    if not project.complete:
        return own
    return own | {
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PYTHONPATH": _backend(project.folder.parent),
    }


def _backend(work: Path) -> str:
    """A folder with the build backend of func's scaffolding, installed once."""
    folder = (work / "backend").absolute()
    if not (folder / "hatchling").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        run(*pip, "--target", str(folder), "--requirement", str(BACKEND))
    return str(folder)
