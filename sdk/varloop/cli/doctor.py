"""``varloop doctor``: is everything here that varloop needs, and what to do if not."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Literal

import click
import msgspec

from varloop.app import STEPS
from varloop.cli import common
from varloop.cli.root import FAILED
from varloop.errors import VarloopError
from varloop.support.installation import AGAIN, extras, install_line
from varloop.support.masking import mask
from varloop.support.numbers import duration

__all__ = ["Finding", "doctor_command"]

MARKS = {
    "ok": click.style("ok     ", fg="green"),
    "absent": click.style("absent ", dim=True),
    "bad": click.style("BAD    ", fg="red", bold=True),
}
REQUIRED = ("qiskit", "qiskit-aer", "numpy", "scipy", "msgspec", "cloudevents", "flask")


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "absent", "bad"]
    """absent is fine: it is optional"""
    detail: str
    todo: str = ""


@click.command("doctor")
@click.option("--cluster", is_flag=True, help="Also look at the Kubernetes cluster that kubectl talks to.")
@common.store_option
@common.json_option
def doctor_command(cluster: bool, store: str, as_json: bool) -> None:
    """Is everything here that varloop needs, and what to do if not."""
    findings = [_python(), *_packages(), _functions(), _simulator(), _store(store), *_extras()]
    findings = [msgspec.structs.replace(each, detail=mask(each.detail)) for each in findings]
    if as_json:
        common.emit_json(findings)
    else:
        for each in findings:
            todo = f"  ->  {each.todo}" if each.todo else ""
            click.echo(f"{MARKS[each.state]}{each.what:<12} {each.detail}{todo}")
    sound = all(each.state != "bad" for each in findings)
    if cluster:
        from varloop.deploy.commands import show_cluster

        sound = show_cluster() and sound
    if not sound:
        raise click.exceptions.Exit(FAILED)


def _python() -> Finding:
    version = sys.version.partition(" ")[0]
    return Finding("Python", "ok", f"{version}, {sys.executable}")


def _packages() -> Iterator[Finding]:
    for name in ("varloop", *REQUIRED):
        version = _version(name)
        if version is None:
            yield Finding(name, "bad", "not installed", AGAIN)
        else:
            yield Finding(name, "ok", version)


def _functions() -> Finding:
    found = {point.name for point in metadata.entry_points(group="varloop.functions")}
    if missing := set(STEPS) - found:
        return Finding(
            "functions",
            "bad",
            f"{', '.join(sorted(missing))} missing",
            AGAIN,
        )
    return Finding("functions", "ok", ", ".join(sorted(found)))


def _simulator() -> Finding:
    """Run a job."""
    from varloop.client.check import examine
    from varloop.spec import Budget, MaxCut, RunSpec
    from varloop.support.clock import SystemClock

    clock = SystemClock()
    began = clock.now()
    try:
        examine(RunSpec(problem=MaxCut(edges=[(0, 1, 1.0)]), shots=16, budget=Budget(iterations=1)))
    except Exception as error:  # whatever it is, it is a finding
        return Finding(
            "simulator", "bad", f"{type(error).__name__}: {error}", "pip install --force-reinstall qiskit-aer"
        )
    return Finding(
        "simulator",
        "ok",
        f"compiled and ran a circuit in {duration(clock.now() - began)}, imports included",
    )


def _store(url: str) -> Finding:
    """Write, create, read and delete an object."""
    from varloop.store import open_store

    key = "doctor/probe"
    try:
        store = open_store(url)
        store.delete(key)
        sound = store.create(key, b"1") and not store.create(key, b"2") and store.get(key) == b"1"
        store.delete(key)
    except VarloopError as error:
        return Finding("store", "bad", error.detail, error.hint or "choose another with --store")
    if not sound:
        return Finding(
            "store", "bad", f"{store.url}: conditional create does not work", "choose another with --store"
        )
    return Finding("store", "ok", f"{store.url}, writable")


def _extras() -> Iterator[Finding]:
    """What each extra adds."""
    for extra, requirements in extras().items():
        names = [re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0] for requirement in requirements]
        missing = any(_version(name) is None for name in names)
        detail = ", ".join(f"{name} {_version(name) or 'missing'}" for name in names)
        todo = install_line(extra) if missing else ""
        yield Finding(f"[{extra}]", "absent" if missing else "ok", detail, todo)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
