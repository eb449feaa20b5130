"""``varloop check``: what a spec would run and cost, before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from varloop.cli import common, specs
from varloop.text import count, duration, with_error

if TYPE_CHECKING:
    from varloop.quantum.check import Report
    from varloop.spec import RunSpec

__all__ = ["check_command"]


@click.command("check")
@specs.spec_argument
@specs.set_option
@common.json_option
def check_command(spec: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Tell what SPEC would run and cost, touching no hardware.

    Its first point is simulated once. A spec with faults is refused with all of them at once and exit code 2.
    """
    name, data = specs.read(spec)
    checked = specs.checked(specs.with_settings(data, settings), "default")
    report = examine(checked)
    if as_json:
        common.emit_json(report)
        return
    click.echo(
        click.style("sound", fg="green", bold=True) + f"  {name}: nothing was found that would stop it"
    )
    for title, value in rows(checked, report):
        click.echo(f"  {title:<13} {value}")


def examine(spec: RunSpec) -> Report:
    """The report of a sound spec, for what its optimizer asks first."""
    from varloop import optimizers
    from varloop.quantum.backends import Backends
    from varloop.quantum.check import report
    from varloop.quantum.problems import ansatz

    optimizer = optimizers.create(spec.optimizer, spec.seed)
    start = spec.initial or [0.0] * ansatz(spec).num_parameters
    ask = optimizer.ask(optimizer.start(start))
    points, gradient = (len(ask.points), ask.gradient) if ask else (1, False)
    return report(spec, Backends(), points, gradient, start=start)


def rows(spec: RunSpec, report: Report) -> list[tuple[str, str]]:
    """The report in words."""
    device = f", on {report.device_qubits} of the device" if report.device_qubits != report.qubits else ""
    each = f"{report.circuits:,} = {report.rows:,} rows × {count(report.bases, 'basis', 'bases')}"
    found: list[tuple[str, Any]] = [
        (
            "backend",
            f"{report.backend}, {'exact' if not report.shots else f'{spec.shots:,} shots a circuit'}",
        ),
        ("qubits", f"{report.qubits}{device}"),
        ("circuit", f"depth {report.depth}, {count(report.two_qubit_gates, 'two-qubit gate')}"),
        ("parameters", f"{report.parameters}, in {count(report.angles, 'angle')}"),
        (
            "iteration",
            f"1 job of {each}" + (f", gradient by {report.gradient}" if report.gradient != "none" else ""),
        ),
        (
            "whole run",
            f"at most {count(report.jobs, 'job')}"
            + (f", {report.total_shots:,} shots" if report.shots else ""),
        ),
        ("first value", with_error(report.value, report.error)),
    ]
    if report.qpu_seconds is not None and report.cost is not None:
        price = f"about {duration(report.qpu_seconds)} of QPU time, ${report.cost:,.2f}"
        found.append(("on hardware", f"{price} at IBM's pay-as-you-go price"))
    return found
