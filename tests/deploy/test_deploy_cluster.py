from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from varloop.deploy import Cluster, examine
from varloop.deploy.commands import commands
from varloop.deploy.images import build
from varloop.deploy.pipeline import deploy_app, deploy_default, undeploy
from varloop.deploy.programs import DeployError, run
from varloop.deploy.project import Project
from varloop.errors import UsageError

ROOT = Path(__file__).parents[2]

FAKE = '''#!{python}
"""Stands in for a program: notes how it was called, answers from a file."""
import json, os, pathlib, sys
place = pathlib.Path("{place}")
name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
stdin = "" if sys.stdin.isatty() else sys.stdin.read()
keep = {{key: value for key, value in os.environ.items() if key.startswith("PIP_NO")}}
with open(place / "calls", "a") as calls:
    print(json.dumps([name, arguments, stdin, keep]), file=calls)
for pattern, answer in json.loads((place / "answers").read_text()).items():
    if pattern in " ".join([name, *arguments]):
        if isinstance(answer, str) and answer.startswith("!"):
            sys.exit(answer[1:])
        print(answer if isinstance(answer, str) else json.dumps(answer), end="")
        break
if name == "func" and arguments[0] == "build":
    folder = pathlib.Path(arguments[arguments.index("--path") + 1])
    (folder / ".func").mkdir()
    (folder / ".func/built-image").write_text("there/image@sha256:1")
'''


class Programs:
    """Stand-ins for kubectl and func."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "bin").mkdir()
        for name in ("kubectl", "func"):
            program = place / "bin" / name
            program.write_text(FAKE.format(python=sys.executable, place=place))
            program.chmod(0o755)
        self.answer({})

    def answer(self, answers: dict[str, Any]) -> None:
        """What is printed, by a part of the command line; text after a ``!`` is a failure."""
        (self.place / "answers").write_text(json.dumps(answers))

    @property
    def calls(self) -> list[Any]:
        """Program, arguments, standard input and pip's settings of each call."""
        file = self.place / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def lines(self) -> list[str]:
        """All command lines."""
        return [" ".join([name, *arguments]) for name, arguments, _, _ in self.calls]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Stand-ins in PATH, in an empty working directory."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    programs = Programs(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr("varloop.deploy.images._backend", str)
    return programs


def ready(kind: str = "Service", status: str = "True", **more: Any) -> dict[str, Any]:
    """An object with a Ready condition."""
    annotations = {"window": "15s", "target-burst-capacity": "0", "initial-scale": "1"}
    return {
        "kind": kind,
        "metadata": {
            "generation": 1,
            "name": "x",
            "uid": "u1",
            "namespace": "varloop",
            "annotations": {"eventing.knative.dev/broker.class": "Kafka"},
        },
        "spec": {
            "broker": "varloop",
            "delivery": {"retry": 10},
            "template": {
                "metadata": {
                    "annotations": {f"autoscaling.knative.dev/{name}": it for name, it in annotations.items()}
                },
                "spec": {
                    "timeoutSeconds": 600,
                    "automountServiceAccountToken": False,
                    "containers": [{"securityContext": {"readOnlyRootFilesystem": True}}],
                },
            },
            "topic": "varloop.dead-letters",
        },
        "status": {
            "observedGeneration": 1,
            "availableReplicas": 1,
            "latestCreatedRevisionName": "x-1",
            "address": {"url": "http://broker/varloop/varloop"},
            "conditions": [{"type": "Ready", "status": status, "reason": "Because", "message": "of it"}],
        }
        | more,
    }


def test_a_program_that_is_missing_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the program's own page."""
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(UsageError, match=r"kubectl is not installed .*kubernetes\.io"):
        run("kubectl", "version")


def test_a_program_that_fails_or_hangs_is_quoted(programs: Programs) -> None:
    """The end of what it wrote is in the message; a program that does not end is ended."""
    programs.answer({"apply": "!no such cluster"})

    with pytest.raises(DeployError, match=r"kubectl apply … failed:\nno such cluster"):
        run("kubectl", "apply")
    with pytest.raises(DeployError, match="did not end within 0 s"):
        run("sleep", "5", timeout=0.05)


def test_a_complete_project_installs_nothing(programs: Programs) -> None:
    """pip is told that the base image has everything; a project with needs of its own lets pip work."""
    whole = Project.read(ROOT / "functions/optimize").stage(Path("w"))
    more = Project(whole.name, whole.folder, whole.base, complete=False)

    assert build(whole, "there/varloop") == "there/image@sha256:1"
    more.folder.joinpath(".func/built-image").unlink()
    more.folder.joinpath(".func").rmdir()
    build(more, "there/varloop")

    (_, first, _, settings), (_, _, _, free) = programs.calls
    assert first[first.index("--base-image") + 1] == "there/varloop/core"
    assert settings == {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    assert free == {}


def test_the_default_pipeline_is_deployed_in_order(programs: Programs) -> None:
    """Namespace, then broker and secret, then each service with its patch, then the Triggers."""
    manifests = (ROOT / "eventing/base/namespace.yaml").read_text() + "---\n"
    manifests += (ROOT / "eventing/base/broker.yaml").read_text() + "---\n"
    manifests += (ROOT / "eventing/base/triggers.yaml").read_text()
    programs.answer({"kustomize": manifests, "get": ready()})
    said: list[str] = []

    deploy_default(Cluster(), "there/varloop", ROOT, Path("overlay"), said.append)

    applied = [
        [each["kind"] for each in json.loads(stdin)["items"]] for _, _, stdin, _ in programs.calls if stdin
    ]
    assert applied == [["Namespace"], ["Broker", "ConfigMap"], ["Trigger"] * 4]
    done = [line.split()[1] for line in programs.lines() if line.startswith("func")]
    assert (done.count("build"), done.count("deploy")) == (4, 4)
    assert sum("patch ksvc" in line for line in programs.lines()) == 4
    assert said[-1] == "Triggers ready: encode, execute, postprocess, optimize"


def test_an_app_is_deployed_beside_the_default_pipeline(programs: Programs) -> None:
    """Its service and its Triggers come; the default pipeline's services are not touched."""
    programs.answer({"get": ready()})
    own = ROOT / "tests/knative/own_pipeline.py"

    result = CliRunner().invoke(commands[0], [str(own), "--registry", "there/varloop"])

    assert result.exit_code == 0, result.output
    assert "pipeline shifted takes events at http://broker/varloop/varloop" in result.output
    built = [line for line in programs.lines() if line.startswith("func build")]
    assert len(built) == 1
    assert "there/varloop/shifted-postprocess" in built[0]


def test_an_app_needs_the_default_pipeline(programs: Programs) -> None:
    """Without it there is nothing to inherit."""
    own = ROOT / "tests/knative/own_pipeline.py"

    with pytest.raises(UsageError, match="has no default pipeline"):
        deploy_app(Cluster(), "there", own, (), print)
    assert not any(line.startswith("func") for line in programs.lines())


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        ({"reason": "ImagePullBackOff", "message": "not found"}, "ImagePullBackOff: not found"),
        ({"reason": "CrashLoopBackOff"}, "it ends at once; its last lines:\nImportError"),
    ],
)
def test_a_service_that_does_not_start_is_explained(
    waiting: dict[str, str], expected: str, programs: Programs
) -> None:
    """What the pod says is in the message, without waiting for the end of all patience."""
    container = {"name": "user-container", "state": {"waiting": waiting}}
    pod = {"metadata": {"name": "p"}, "status": {"containerStatuses": [container]}}
    programs.answer({"get pod": {"items": [pod]}, "get": ready(status="Unknown"), "logs": "ImportError"})

    with pytest.raises(DeployError, match=expected):
        Cluster().wait_ready("ksvc", "x")


def test_what_is_never_ready_is_given_up(programs: Programs) -> None:
    """After the time it was given, with the reason that the cluster gives."""
    programs.answer({"get": ready(status="False")})

    with pytest.raises(DeployError, match="trigger x is not ready after 0 s: Because of it"):
        Cluster(wait=0.0).wait_ready("trigger", "x")


def test_undeploying_a_pipeline_leaves_the_others(programs: Programs) -> None:
    """Only what carries the pipeline's label is deleted; an unknown pipeline is an error."""
    programs.answer({"get trigger": {"items": [ready("Trigger")]}})

    undeploy(Cluster(), "shifted", print)

    deleted = [line for line in programs.lines() if " delete " in line]
    assert deleted[0].endswith("delete trigger x --ignore-not-found")
    assert "--selector varloop.dev/pipeline=p-shifted" in deleted[1]
    programs.answer({})
    with pytest.raises(UsageError, match="has no pipeline 'other'"):
        undeploy(Cluster(), "other", print)


def test_undeploying_the_default_pipeline_takes_all(programs: Programs) -> None:
    """All but the dead letters: a KafkaSink owns its topic, so it stays, and what deletes it is said."""
    programs.answer(
        {"get crd": ready("CustomResourceDefinition"), "get kafkasink": {"items": [ready("KafkaSink")]}}
    )

    result = CliRunner().invoke(commands[1], [])

    assert result.exit_code == 0
    deleted = [line for line in programs.lines() if " delete " in line]
    assert len(deleted) == 1
    assert not any("kafkasink" in line for line in deleted)
    assert "KafkaSink x stays, with the dead letters in its topic varloop.dead-letters" in result.output


def test_a_sound_cluster_has_no_findings(programs: Programs) -> None:
    """Programs, Knative, secret, broker, services, Triggers and settings are all there."""
    programs.answer({"get": ready()})

    assert [finding.what for finding in examine(Cluster()) if not finding.ok] == []


@pytest.mark.parametrize(
    ("answers", "missing", "hint"),
    [
        ({"version": "!refused"}, "cluster", "kubectl config"),
        ({"get crd services": "", "get": ready()}, "Knative Serving", "install-serving"),
        (
            {"get deployment kafka-broker-receiver": "", "get": ready()},
            "Knative's Kafka Broker",
            "overlays/dev",
        ),
        (
            {"get deployment kafka-sink-receiver": ready(availableReplicas=0), "get": ready()},
            "KafkaSink",
            "overlays/dev",
        ),
        ({"get secret varloop-store-encode": "", "get": ready()}, "secret varloop-store-encode", "store.env"),
        ({"get trigger encode": ready(status="False"), "get": ready()}, "trigger encode", "varloop deploy"),
    ],
)
def test_what_is_missing_is_named_with_its_cure(
    answers: dict[str, Any], missing: str, hint: str, programs: Programs
) -> None:
    """Each finding says how to mend it; nothing is looked for where there is no cluster."""
    programs.answer(answers)

    (finding,) = [finding for finding in examine(Cluster()) if not finding.ok]
    assert finding.what == missing
    assert hint in finding.hint


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (("metadata", "annotations", "autoscaling.knative.dev/window"), "autoscaling.knative.dev~1window"),
        (("spec", "timeoutSeconds"), "spec/timeoutSeconds"),
        (("spec", "containers"), "readOnlyRootFilesystem"),
        (("spec", "automountServiceAccountToken"), "automountServiceAccountToken"),
    ],
)
def test_settings_that_func_reset_are_found(path: tuple[str, ...], named: str, programs: Programs) -> None:
    """Whatever is gone is named, annotation or not; so is what has another value."""
    for value in (None, "other"):
        service = ready("Service")
        place = service["spec"]["template"]
        for key in path[:-1]:
            place = place[key]
        place.pop(path[-1])
        if value and path[-1] != "containers":
            place[path[-1]] = value
        programs.answer({"get ksvc optimize": service, "get": ready()})

        (finding,) = [finding for finding in examine(Cluster()) if not finding.ok]
        assert finding.what == "settings of optimize"
        assert named in finding.detail


def test_a_broker_of_another_class_needs_no_kafka(programs: Programs) -> None:
    """What the Broker does not use is not missing."""
    broker = ready("Broker")
    broker["metadata"]["annotations"] = {"eventing.knative.dev/broker.class": "MTChannelBasedBroker"}
    programs.answer({"get broker": broker, "get deployment": "", "get crd kafkasinks": "", "get": ready()})

    findings = {finding.what: finding for finding in examine(Cluster())}

    assert all(finding.ok for finding in findings.values())
    assert findings["KafkaSink"].detail == "not needed: the Broker is of class MTChannelBasedBroker"
