"""``varloop status``, ``varloop runs`` and ``varloop watch``: what the store knows about runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click
import msgspec

from varloop.cli import common, outcome, text
from varloop.cli.progress import Each, View, view
from varloop.cli.root import INTERRUPTED
from varloop.support.masking import mask, printable
from varloop.support.numbers import stamp, with_error

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from varloop.context import Resources
    from varloop.runs import Iteration, RunState

__all__ = ["runs_command", "status_command", "table", "watch_command"]

WIDE = 1000
"""columns of what is no terminal"""
APPEAR = 10.0
"""seconds that a run may take from its submission to a bus until it lies in the store"""
QUIET = 10.0
"""seconds without news after which to say how to resume"""


@click.command("status")
@common.run_argument
@common.at_option
@common.store_option
@common.json_option
def status_command(run: str, server: str | None, store: str, as_json: bool) -> None:
    """Where RUN stands."""
    state = _state(run, server, store)
    if as_json:
        common.emit_json(state)
        return
    click.echo(f"run {state.run}, pipeline {printable(state.pipeline)}, submitted {stamp(state.submitted)}")
    outcome.print_state(state)
    if (error := outcome.trouble(state)) is not None:
        click.echo(f"  {error.detail}")
        for fault in error.faults:
            click.echo(f"  - {fault}")
    if state.outcome is None and not server:
        click.echo(f"  resume      {common.same_place('resume', run)}")


@click.command("runs")
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1), help="The most that are listed."
)
@click.option(
    "--state", default="", metavar="STATE", help="Only those: running, completed, failed, cancelled."
)
@click.option("--before", default="", metavar="RUN", help="Only those submitted before this one.")
@common.at_option
@common.store_option
@common.json_option
def runs_command(
    *, limit: int, state: str, before: str, server: str | None, store: str, as_json: bool
) -> None:
    """Runs, the newest first."""
    states = _states(server, store, limit, state, before)
    if as_json:
        common.emit_json(states)
    elif not states:
        some = state or before
        click.echo("no such runs" if some else "no runs yet; start one:  varloop run h2")
    else:
        from rich.console import Console

        table(states, Console(width=None if sys.stdout.isatty() else WIDE))
        if len(states) == limit:
            older = (
                "--limit",
                str(limit),
                *(("--state", state) if state else ()),
                "--before",
                states[-1].run,
            )
            click.echo(f"older ones:  {common.same_place('runs', *older)}")


def table(states: list[RunState], console: Console) -> None:
    """A line for each run. Where there is no room for all columns the last needed are left out; none is cut."""
    from rich.measure import Measurement

    columns, dispensable = _columns(states), ["value", "iterations", "shots", "submitted"]
    while True:
        grid = _grid(columns)
        width = Measurement.get(console, console.options.update(max_width=WIDE), grid).maximum
        if width <= console.width or not dispensable:
            break
        del columns[dispensable.pop()]
    console.width = max(console.width, width)  # the terminal wraps what is still too long
    console.print(grid)


def _columns(states: list[RunState]) -> dict[str, list[str]]:
    from varloop.support.clock import SystemClock

    now = SystemClock().now()
    colours = {"completed": "green", "failed": "red", "cancelled": "yellow", "unreadable": "red"}
    return {
        "run": [state.run for state in states],
        "state": [f"[{colours.get(state.state, 'cyan')}]{state.state}[/]" for state in states],
        "iterations": [str(state.iterations) for state in states],
        "value": ["" if state.value is None else with_error(*_value(state)) for state in states],
        "shots": [f"{state.shots:,}" if state.shots else "" for state in states],
        "submitted": [text.ago(now - state.submitted) if state.submitted else "" for state in states],
    }


def _grid(columns: dict[str, list[str]]) -> Table:
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        right = name in ("iterations", "shots")
        grid.add_column(name, justify="right" if right else "left", no_wrap=True)
    for row in zip(*columns.values(), strict=True):
        grid.add_row(*row)
    return grid


def _value(state: RunState) -> tuple[float, float]:
    """The result's value, or the latest."""
    from varloop.events import RunCompleted

    if isinstance(state.outcome, RunCompleted):
        return state.outcome.value, state.outcome.error
    assert state.value is not None  # noqa: S101  asked for by the caller
    return state.value, state.error


@click.command("watch")
@common.run_argument
@common.at_option
@common.store_option
@common.json_option
def watch_command(run: str, server: str | None, store: str, as_json: bool) -> None:
    """Follow RUN to its end, whatever process drives it. With --json, one line per iteration."""
    try:
        if not server:
            notice = (
                f"no run {run} in {mask(store)} yet; waiting up to {APPEAR:.0f} s for whoever takes it up"
            )
            await_submission(common.resources(store), run, lambda: click.echo(notice, err=True))
        with _screen(run, server, store, as_json) as screen:
            for iteration in _follow(run, server, store):
                screen.show(iteration)
    except KeyboardInterrupt:
        click.echo("no longer watching; the run is not affected", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    state = _state(run, server, store)
    if not as_json:
        outcome.print_state(state)
    outcome.finish(state)


def _screen(run: str, server: str | None, store: str, as_json: bool) -> View:
    """How to show it: as JSON, or as when it is run here; of a run elsewhere, each iteration in a line."""
    if as_json:
        return Each(lambda iteration: msgspec.json.encode(iteration).decode())
    if server:
        return Each(text.line)
    return view(common.resources(store), run, quiet=False)


def _follow(run: str, server: str | None, store: str) -> Iterator[Iteration]:
    if server:
        from varloop.client.server import Server

        return Server(server).follow(run)
    hint = f"no news for {QUIET:.0f} s; if nothing drives this run:  {common.same_place('resume', run)}"
    return poll(common.resources(store), run, lambda: click.echo(hint, err=True))


def poll(resources: Resources, run: str, idle: Callable[[], None]) -> Iterator[Iteration]:
    """Finished iterations of a run as they appear in the store, until it ends.

    :param idle: called once if nothing happens for ``QUIET`` seconds.
    """
    from varloop.runs import Iteration
    from varloop.runs.follow import ITERATION, LOOK, looks

    quiet, told = 0.0, False
    for news in looks(resources, run):
        for each in news:
            if each.kind == ITERATION:
                yield msgspec.json.decode(each.data, type=Iteration)
        quiet = 0.0 if news else quiet + LOOK
        if quiet >= QUIET and not told:
            told = True
            idle()


def await_submission(resources: Resources, run: str, waiting: Callable[[], None]) -> None:
    """Wait until a run is there that was submitted to a bus, which takes as long as a worker takes to begin.

    :param waiting: called once if it is not there yet.
    :raises UnknownRun: if there is no such run after ``APPEAR`` seconds.
    """
    from varloop.runs.follow import looks

    told = False
    for news in looks(resources, run, appear=APPEAR):
        if news:
            return
        if not told:
            told = True
            waiting()


def _state(run: str, server: str | None, store: str) -> RunState:
    if server:
        from varloop.client.server import Server

        return Server(server).state(run)
    from varloop.runs import StoredRun

    return StoredRun(common.resources(store), run).state()


def _states(server: str | None, store: str, limit: int, state: str, before: str) -> list[RunState]:
    if server:
        from varloop.client.server import Server

        return Server(server).states(limit, state, before)
    from varloop.runs.listing import states

    return states(common.resources(store), limit=limit, state=state, before=before)
