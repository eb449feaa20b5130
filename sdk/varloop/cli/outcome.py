"""How a run ended, in words and as an exit code."""

from __future__ import annotations

import click

from varloop.cli import text
from varloop.cli.root import FAILED
from varloop.errors import RunEnded
from varloop.events import RunCancelled, RunCompleted, RunFailed
from varloop.runs import RunState, why
from varloop.support.masking import mask, printable
from varloop.support.numbers import count, fixed, with_error

__all__ = ["finish", "print_state", "trouble"]

MANY = 8
"""parameters worth printing"""


def print_state(state: RunState) -> None:
    """Where a run stands, in a few lines."""
    match state.outcome:
        case RunCompleted() as result:
            click.echo(click.style("completed", fg="green", bold=True), nl=False)
            click.echo(f" after {count(result.iterations, 'iteration')}: {why(result)}")
            _result(result)
        case RunFailed():
            click.echo(click.style("failed", fg="red", bold=True))
        case RunCancelled(reason=reason):
            click.echo(
                click.style("cancelled", fg="yellow", bold=True)
                + (f": {printable(mask(reason))}" if reason else "")
            )
        case None:
            click.echo(f"not ended, {count(state.iterations, 'iteration')} so far")
    if not isinstance(state.outcome, RunCompleted) and state.value is not None:
        _row("value", with_error(state.value, state.error))
        _row("shots", f"{state.shots:,}" if state.shots else "none, exact")


def _result(result: RunCompleted) -> None:
    _row("value", with_error(result.value, result.error) + ("" if result.shots else " (exact)"))
    parameters = " ".join(fixed(each, 4) for each in result.parameters[:MANY])
    more = len(result.parameters) - MANY
    _row("parameters", parameters + (f" and {more} more" if more > 0 else ""))
    if result.solution is not None:
        _row("solution", text.solution(result.solution))
    if result.shots:
        _row("shots", f"{result.shots:,}")


def _row(name: str, value: str) -> None:
    click.echo(f"  {name:<11} {value}")


def trouble(state: RunState) -> RunEnded | None:
    """Why a run has no result, if it ended without one."""
    if isinstance(state.outcome, RunFailed):
        failed = state.outcome
        where = f" in {failed.function}" if failed.function else ""
        detail = failed.detail.partition(": ")[0] if failed.faults else failed.detail
        return RunEnded(
            f"{failed.error}{where}: {detail}", hint=failed.hint, run=state.run, faults=failed.faults
        )
    return None


def finish(state: RunState) -> None:
    """Leave with the exit code of a run that was waited for.

    :raises RunEnded: if it failed.
    """
    if (error := trouble(state)) is not None:
        raise error
    if not isinstance(state.outcome, RunCompleted):
        raise click.exceptions.Exit(FAILED)
