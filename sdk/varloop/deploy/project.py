"""Projects: folders that ``func`` builds into an image and deploys as a service."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from varloop.app import STEPS, App, Function
from varloop.errors import UsageError

__all__ = ["Project", "default_projects", "write_project"]

_INIT = '''"""{description}"""

from .{module} import {variable}


def new() -> object:
    """The function as Knative's func runtime hosts it."""
    from varloop.host.knative import serve_function

    return serve_function({variable})
'''

_PYPROJECT = """[project]
name = "function"
version = "0.1.0"
dependencies = {requirements}

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["function"]

[tool.varloop]
base = "quantum"
"""


@dataclass(frozen=True)
class Project:
    """A func project."""

    name: str
    """of the service"""
    folder: Path
    base: str
    """the base image it needs: core or quantum"""
    complete: bool
    """its base image has everything it depends on"""

    @staticmethod
    def read(folder: Path) -> Project:
        """The project in a folder.

        :raises UsageError: if there is none.
        """
        try:
            name = yaml.safe_load((folder / "func.yaml").read_text())["name"]
            python = tomllib.loads((folder / "pyproject.toml").read_text())
        except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
            raise UsageError(f"{folder} is not a func project: {error}") from error
        needs = [each for each in python["project"].get("dependencies", ()) if not _is_varloop(each)]
        base = python.get("tool", {}).get("varloop", {}).get("base", "quantum")
        return Project(name, folder, base, not needs)

    def stage(self, work: Path) -> Project:
        """A copy of it for func, which writes into the folder that it builds."""
        target = work / self.name
        shutil.rmtree(target, ignore_errors=True)
        skip = shutil.ignore_patterns(".func", "__pycache__")
        shutil.copytree(self.folder, target, ignore=skip)
        return Project(self.name, target, self.base, self.complete)


def default_projects(folder: Path) -> list[Project]:
    """The steps of the default pipeline.

    :param folder: ``functions`` of a checkout.
    :raises UsageError: if they are not there.
    """
    if missing := [step for step in STEPS if not (folder / step / "func.yaml").is_file()]:
        raise UsageError(
            f"{folder} has no {', '.join(missing)}",
            hint="run this in a checkout of varloop, or name an app of your own to deploy",
        )
    return [Project.read(folder / step) for step in STEPS]


def write_project(
    app: App, function: Function, source: Path, variable: str, work: Path, requirements: Sequence[str] = ()
) -> Project:
    """A func project for one function of an app of your own.

    :param source: the file that defines the app.
    :param variable: the app's name in it.
    :param requirements: what it needs beside varloop, Qiskit and NumPy.
    """
    name = service_name(app.pipeline, function.name)
    folder = work / "sources" / name
    shutil.rmtree(folder, ignore_errors=True)
    package = folder / "function"
    package.mkdir(parents=True)
    module = re.sub(r"\W", "_", source.stem)
    shutil.copy(source, package / f"{module}.py")
    description = f"{function.name} of pipeline {app.pipeline}."
    (package / "__init__.py").write_text(
        _INIT.format(description=description, module=module, variable=variable)
    )
    (folder / "pyproject.toml").write_text(_PYPROJECT.format(requirements=list(requirements)))
    (folder / "func.yaml").write_text(yaml.safe_dump(_func_yaml(name, app.pipeline), sort_keys=False))
    return Project.read(folder)


def service_name(pipeline: str, function: str) -> str:
    """Name of the service of a function: a DNS label.

    :raises UsageError: if the names make none.
    """
    name = re.sub(r"[^a-z0-9]+", "-", f"{pipeline}-{function}".lower()).strip("-")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,57}", name):
        raise UsageError(f"pipeline {pipeline!r} and function {function!r} make no service name: {name!r}")
    return name


def _func_yaml(name: str, pipeline: str) -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/part-of": "varloop",
        "app.kubernetes.io/component": name,
        "varloop.dev/pipeline": service_name("p", pipeline),
        "networking.knative.dev/visibility": "cluster-local",
    }
    return {
        "specVersion": "0.36.0",
        "name": name,
        "runtime": "python",
        "created": "2026-01-01T00:00:00Z",
        "invoke": "http",
        "build": {"builder": "host"},
        "run": {
            "envs": [
                {"value": "{{ secret:varloop-store }}"},
                {"name": "OPENBLAS_NUM_THREADS", "value": "1"},
                {"name": "OMP_WAIT_POLICY", "value": "PASSIVE"},
            ],
            "volumes": [{"emptyDir": {}, "path": "/tmp"}],
        },
        "deploy": {
            "annotations": {"serving.knative.dev/progress-deadline": "120s"},
            "options": {
                "scale": {"min": 0, "max": 10, "utilization": 100},
                "resources": {
                    "requests": {"cpu": "50m", "memory": "256Mi"},
                    "limits": {"cpu": "1", "memory": "1Gi", "concurrency": 1},
                },
            },
            "labels": [{"key": key, "value": value} for key, value in labels.items()],
            "healthEndpoints": {"liveness": "/health/liveness", "readiness": "/health/readiness"},
        },
    }


def _is_varloop(requirement: str) -> bool:
    return re.match(r"[A-Za-z0-9_.-]+", requirement.strip()).group() == "varloop"  # type: ignore[union-attr]
