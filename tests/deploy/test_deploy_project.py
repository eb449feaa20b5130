from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import yaml

from varloop.deploy.pipeline import find_apps
from varloop.deploy.project import Project, default_projects, service_name, write_project
from varloop.errors import UsageError

ROOT = Path(__file__).parents[2]

SOURCE = '''
from varloop import App
from varloop.events import CircuitExecuted, ObjectiveEvaluated

app = App("noisy")


@app.function(on=CircuitExecuted, emits=ObjectiveEvaluated)
def postprocess(event, ctx):
    """Somebody's own."""
'''


def test_the_four_steps_are_complete_projects() -> None:
    """Each step says its service's name and needs nothing that its base image lacks."""
    projects = default_projects(ROOT / "functions")

    assert [project.name for project in projects] == ["encode", "execute", "postprocess", "optimize"]
    assert all(project.complete and project.base in ("core", "quantum") for project in projects)


def test_a_folder_without_the_steps_is_refused(tmp_path: Path) -> None:
    """Deploying the default pipeline outside a checkout says what to do instead."""
    with pytest.raises(UsageError, match="has no encode, execute, postprocess, optimize"):
        default_projects(tmp_path)


def test_staging_leaves_the_sources_alone(tmp_path: Path) -> None:
    """func writes into a copy, which has the sources and nothing that an earlier build left."""
    source = tmp_path / "source"
    (source / ".func").mkdir(parents=True)
    (source / "func.yaml").write_text("name: mine")
    (source / "pyproject.toml").write_text("[project]\nname = 'function'\ndependencies = ['varloop']")
    (tmp_path / "work/mine/old").mkdir(parents=True)

    staged = Project.read(source).stage(tmp_path / "work")

    assert sorted(path.name for path in staged.folder.iterdir()) == ["func.yaml", "pyproject.toml"]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A file that defines a pipeline."""
    source = tmp_path / "my-app.py"
    source.write_text(SOURCE)
    return source


def test_an_app_becomes_a_project_of_its_own(own: Path, tmp_path: Path) -> None:
    """The project has the file, a package that func can host, and the store's secret; it is found again by its name."""
    ((variable, app),) = find_apps(own).items()

    project = write_project(app, app.functions[0], own, variable, tmp_path, ["scikit-learn>=1.5"])

    assert (project.name, project.complete) == ("noisy-postprocess", False)
    func = yaml.safe_load((project.folder / "func.yaml").read_text())
    assert (func["name"], func["invoke"]) == ("noisy-postprocess", "http")
    assert {"value": "{{ secret:varloop-store }}"} in func["run"]["envs"]
    assert (project.folder / "function/my_app.py").read_text() == SOURCE
    init = ast.parse((project.folder / "function/__init__.py").read_text())
    assert "new" in {node.name for node in init.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("x = 1", "defines no varloop.App"), ("from varloop import App\napp = App()", "defines no varloop.App")],
)
def test_a_file_without_functions_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    """A file must define an app with a function."""
    (tmp_path / "app.py").write_text(text)

    with pytest.raises(UsageError, match=expected):
        find_apps(tmp_path / "app.py")


def test_an_app_without_a_name_is_refused(own: Path) -> None:
    """An app of one's own must not take the default pipeline's place by accident."""
    own.write_text(SOURCE.replace('"noisy"', ""))

    with pytest.raises(UsageError, match="without a name"):
        find_apps(own)


@pytest.mark.parametrize(
    ("pipeline", "function", "expected"),
    [("mine", "post_process", "mine-post-process"), ("A.b", "c", "a-b-c")],
)
def test_service_names_are_dns_labels(pipeline: str, function: str, expected: str) -> None:
    """Names are made of what Kubernetes allows."""
    assert service_name(pipeline, function) == expected


def test_a_name_that_makes_no_label_is_refused() -> None:
    """Too long is too long."""
    with pytest.raises(UsageError, match="make no service name"):
        service_name("p" * 40, "f" * 40)


def test_the_patch_names_what_func_cannot_carry() -> None:
    """The patch is a JSON patch of additions, all below the service's template."""
    patch = json.loads((ROOT / "sdk/varloop/deploy/service-patch.json").read_text())

    assert all(each["op"] == "add" and each["path"].startswith("/spec/template/") for each in patch)
