from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from knative.bench import H2, STEPS, Bench
from varloop import embedded
from varloop.deploy import examine
from varloop.deploy.commands import commands
from varloop.deploy.pipeline import find_apps
from varloop.deploy.programs import DeployError

pytestmark = [pytest.mark.knative, pytest.mark.timeout(300)]

OWN = Path(__file__).parent / "own_pipeline.py"
BY_NAME = {command.name: command for command in commands}


def varloop(*arguments: str) -> str:
    """Run a command as the command line does, and return what it prints."""
    result = CliRunner().invoke(BY_NAME[arguments[0]], arguments[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def own(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The pipeline of own_pipeline.py, deployed; what deploying it printed."""
    monkeypatch.chdir(tmp_path)
    yield varloop("deploy", str(OWN), "--registry", bench.registry)
    varloop("undeploy", "shifted")


def test_a_step_of_ones_own_takes_part(own: str, bench: Bench) -> None:
    """A file with an app becomes a service and Triggers of its pipeline; the other steps are inherited."""
    (app,) = find_apps(OWN).values()
    expected = embedded("memory:", apps=[app]).submit(H2, pipeline=app).result()
    bench.rest()
    seen: set[str] = set()

    run = bench.post("dev.varloop.run.submitted", {"spec": H2}, pipeline="shifted")
    bench.until(lambda: seen.update(bench.pods()) or bench.store.find(f"runs/{run}/journal/end"))

    assert bench.run(run).result() == expected
    assert expected.value > 90
    assert seen == {*STEPS, "shifted-postprocess"} - {"postprocess"}
    assert "pipeline shifted takes events at http" in own


def test_what_func_resets_is_found_and_mended(bench: Bench, tmp_path: Path) -> None:
    """func resets annotations that it does not know; doctor says so, and the next deployment has them again."""
    from varloop.deploy.programs import run
    from varloop.deploy.project import Project

    assert all(finding.ok for finding in examine(bench.cluster))
    project = Project.read(Path(__file__).parents[2] / "functions/optimize").stage(tmp_path)
    image = bench.cluster.get("ksvc", "optimize")[0]["spec"]["template"]["spec"]["containers"][0]["image"]
    func = ("--path", str(project.folder), "--namespace", "varloop", "--image", image, "--builder", "host")
    run("func", "deploy", *func, "--build=false", "--push=false")

    (lost,) = [finding for finding in examine(bench.cluster) if not finding.ok]
    assert lost.what == "settings of optimize"
    assert "autoscaling.knative.dev~1window" in lost.detail

    bench.cluster.deploy(project, image)
    assert all(finding.ok for finding in examine(bench.cluster))


def test_a_function_that_does_not_start_fails_its_deployment(bench: Bench, tmp_path: Path) -> None:
    """A step whose module cannot be imported is reported with the pod's own words, and the old one keeps serving."""
    from varloop.deploy.images import build
    from varloop.deploy.project import Project

    staged = Project.read(Path(__file__).parents[2] / "functions/optimize").stage(tmp_path)
    func = staged.folder / "func.yaml"
    func.write_text(re.sub("^name: optimize$", "name: broken", func.read_text(), flags=re.MULTILINE))
    (staged.folder / "function/step.py").write_text("raise ImportError('nothing like it')")
    broken = Project("broken", staged.folder, staged.base, staged.complete)
    try:
        with pytest.raises(DeployError, match="nothing like it"):
            bench.cluster.deploy(broken, build(broken, bench.registry))
    finally:
        bench.cluster.kubectl("delete", "ksvc", "broken", "--ignore-not-found")
