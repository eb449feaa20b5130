"""``varloop check``: what a spec would run and cost, before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from varloop.cli import common, specs
from varloop.errors import CircuitError, SpecError
from varloop.support.numbers import count, duration, with_error

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

    Its first point is simulated once. A spec with faults is refused with all of them at once, whatever they are about,
    and exit code 2.
    """
    from varloop.client.check import examine

    name, data = specs.read(spec)
    checked = specs.checked(specs.with_settings(data, settings), "default")
    try:
        report, first = examine(checked)
    except CircuitError as error:  # what only compiling and running it could tell
        raise SpecError([f"circuit: {error.detail}"], hint=error.hint) from error
    if as_json:
        common.emit_json(report)
        return
    click.echo(
        click.style("sound", fg="green", bold=True) + f"  {name}: nothing was found that would stop it"
    )
    for title, value in rows(checked, report, first):
        click.echo(f"  {title:<13} {value}")


def rows(spec: RunSpec, report: Report, first: int) -> list[tuple[str, str]]:
    """The report in words."""
    device = f", on {report.device_qubits} of the device" if report.device_qubits != report.qubits else ""
    shots = f"{spec.shots:,} shots a circuit" if spec.shots else "exact"
    gradient = f", gradient by {report.gradient}" if report.gradient != "none" else ""
    total = f", {report.total_shots:,} shots" if report.shots else ""
    bases = count(report.bases, "basis", "bases")
    found = [
        ("backend", f"{report.backend}, {shots}"),
        ("qubits", f"{report.qubits}{device}"),
        ("circuit", f"depth {report.depth}, {count(report.two_qubit_gates, 'two-qubit gate')}"),
        ("parameters", f"{report.parameters}, in {count(report.angles, 'angle')}"),
        (
            "iteration",
            f"1 job: {count(report.rows, 'row')} × {bases} = {report.circuits:,} circuits{gradient}",
        ),
    ]
    if report.broken:
        advice = (
            "; another device may do"
            if spec.optimization_level >= 2
            else "; optimization_level 2 avoids them"
        )
        found.append(("broken", ", ".join(report.broken) + advice))
    if first > report.points:
        found.append(("the first", f"1 job of {count(first, 'point')}, to calibrate the optimizer"))
    where = "the first point" if spec.point else "parameters all zero"
    found.append(("whole run", f"at most {count(report.jobs, 'job')}{total}"))
    found.append(("value", f"{with_error(report.value, report.error)} at {where}"))
    if report.qpu_seconds is not None and report.cost is not None:
        price = f"about {duration(report.qpu_seconds)} of QPU time, ${report.cost:,.2f}"
        found.append(("on hardware", f"{price} at IBM's pay-as-you-go price"))
    return found
