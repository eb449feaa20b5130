"""Secrets are planted wherever a user may put one; every output is searched for them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from click.testing import CliRunner

import toy
import varloop
from cli.program import Program
from host.served import Server, serving
from varloop.bus.http import HttpPublisher
from varloop.cli.root import cli
from varloop.client import embedded
from varloop.errors import VarloopError
from varloop.events import CancelRequested, Event, RunSubmitted
from varloop.store import open_store, set_up
from varloop.store.memory import MemoryStore

ENVIRONMENT = {
    "VARLOOP_S3_ACCESS_KEY": "varloop",
    "VARLOOP_S3_SECRET_KEY": "planted-s3-secret",
    "VARLOOP_TOKEN": "planted-bearer-token",
    "VARLOOP_KEY": "planted-signing-key-of-thirty-two-bytes",
    "VARLOOP_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "VARLOOP_KAFKA_SASL_MECHANISM": "PLAIN",
    "VARLOOP_KAFKA_SASL_USERNAME": "me",
    "VARLOOP_KAFKA_SASL_PASSWORD": "planted/kafka@password",
    "QISKIT_IBM_TOKEN": "planted-ibm-token",
}
URLS = (
    "http://planted-user-token@127.0.0.1:9",
    "http://me:planted-pass@127.0.0.1:9",
    "http://me:planted/pa@ss@127.0.0.1:9",
    "https://me:planted:pass@127.0.0.1:9/x",
    "s3://bucket?secret_key=planted-option",
    "s3://me:planted-pass@bucket",
    "s3://bucket?endpoint=http://me:planted-pass@127.0.0.1:9",
    "s3://bucket?endpoint=http://127.0.0.1:9",
    "kafka://me:planted/pa@ss@127.0.0.1:9/topic",
    "kafka://127.0.0.1:x/topic?sasl.password=planted-option",
    "ftp://me:planted-pass@127.0.0.1:9",
)
STORES = [url for url in URLS if not url.startswith("kafka")]


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets in the environment."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("varloop.store.s3.PAUSES", (0.0, 0.0))


def clean(text: str) -> bool:
    """Whether no secret is in a text."""
    return "planted" not in text


@pytest.mark.parametrize("more", [(), ("--json",), ("--debug",)])
@pytest.mark.parametrize("url", URLS)
def test_no_command_tells_a_secret(program: Program, url: str, more: tuple[str, ...]) -> None:
    """Whatever the URL is given for, and however it fails."""
    commands = [
        ("status", "none", "--at", url),
        ("runs", "--at", url),
        ("submit", "toy.yaml", "--at", url, "--pipeline", "toy"),
        ("cancel", "none", "--at", url),
        ("run", url),
        ("check", url),
        ("worker", "--bus", url, "--store", url),
        ("setup", "--bus", url),
        ("dlq", "list", "--bus", url),
        ("dlq", "show", url, "--bus", url),
        ("dlq", "list", "--store", url),
        ("dlq", "replay", "--all", "--at", url),
        ("status", url),
        (url,),
    ]
    if url in STORES:
        words = ("status none", "runs", "watch none", "report none", "gc", "doctor", "run toy.yaml", "serve")
        commands += [(*each.split(), "--store", url) for each in words if each != "doctor" or not more]
    for command in commands:
        result = CliRunner().invoke(cli, [*command, *more], prog_name="varloop")
        assert clean(result.output + result.stderr), command
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception


def test_a_doctor_tells_no_secret_as_json(program: Program) -> None:
    """What it found is masked in every form."""
    output = program("doctor", "--json", "--store", "s3://b?secret_key=planted-option", code=1).output

    assert clean(output)
    assert "secret_key=***" in output


@pytest.mark.parametrize("url", URLS)
def test_no_error_of_python_tells_a_secret(url: str) -> None:
    """Of whatever is made of a URL, and of what is done with it."""
    event = Event(id="1", source="/test", run="r1", data=CancelRequested(), time=1.0)
    for attempt in (
        lambda: open_store(url),
        lambda: set_up(url, dry_run=True),
        lambda: varloop.connect(url, MemoryStore()),
        lambda: HttpPublisher(url).publish(event),
        lambda: embedded(url),
    ):
        try:
            told = repr(attempt())
        except VarloopError as error:
            told = f"{error} {error!r} {error.__dict__}"
        assert clean(told)


def test_a_failed_run_tells_no_secret(
    program: Program, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A function that fails with secrets in its error: state, stream, records, page and log have none."""
    app = (tmp_path / "app.py").read_text()
    quoted = "http://me:planted/pa@ss@host, planted-s3-secret, planted/kafka@password, sasl.password=planted"
    for error in ("PermanentError", "ValueError"):
        broken = app.replace("    spec = ctx.spec\n", f"    raise {error}({quoted!r})\n", 1)
        (tmp_path / "app.py").write_text(broken)
        run = error.lower()
        output = program("run", "toy.yaml", "--app", "app.py", "--run", run, code=1).output
        output += program("status", run).output + program("status", run, "--json").output
        program("report", run, "--output", "page.html")
        output += (tmp_path / "page.html").read_text() + caplog.text
        output += "".join(
            path.read_bytes().decode("latin-1")
            for path in (tmp_path / ".varloop").rglob("*")
            if path.is_file()
        )
        assert clean(output)


def test_a_server_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """In refusals, dead letters and its log."""
    spec = {"problem": "http://me:planted/pa@ss@host planted-s3-secret"}
    with serving(MemoryStore()) as server:
        answers = [
            server.post(Event(id="1", source="x", run="r", data=RunSubmitted(spec=spec), time=1.0)),
            server.post(
                Event(id="1", source="x", run="none", data=CancelRequested(), time=1.0, pipeline="toy")
            ),
            server.request("GET", "/runs", Host="planted-s3-secret"),
            server.request("GET", "/planted-s3-secret"),
        ]
    assert clean(json.dumps(answers) + caplog.text)


def test_what_came_from_outside_is_shown_and_not_obeyed(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    """Reasons and names with escape codes reach no terminal as such, and no log as lines of their own."""
    caplog.set_level(logging.WARNING)
    evil = "\x1b]0;mine\x07\x1b[2J\x9b31m"
    program(
        "run", "toy.yaml", "--app", "app.py", "--run", "mine", "--set", "optimizer.options.broken=2", code=1
    )
    embedded(str(program.folder / ".varloop"))
    with serving(open_store(".varloop")) as server:
        server.submit("slow", {**toy.SPEC, "optimizer": {"name": "spsa", "options": {"seconds": 0.2}}})
        cancel = Event(
            id="c", source="x", run="slow", data=CancelRequested(reason=evil), time=1.0, pipeline="toy"
        )
        server.post(cancel)
        list(server.stream("slow"))
        for value in ("1\nCRITICAL all is lost", "1\x1b[2J"):
            forged = Event(id=value, source="x", run="none", data=CancelRequested(), time=1.0, pipeline="toy")
            status, problem = server.post(forged)
            assert (status, "control character" in problem["detail"]) == (400, True)
        _watched(program, server)
    assert "CRITICAL" not in caplog.text


def _watched(program: Program, server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}"
    for words in (("status", "slow"), ("watch", "slow"), ("runs",), ("status", "slow", "--at", url)):
        result = CliRunner().invoke(cli, words, prog_name="varloop", color=False)
        assert not any(code in result.output for code in "\x1b\x07\x9b"), words
    assert "\\x1b]0;mine" in program("status", "slow").output
