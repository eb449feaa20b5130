"""How a run looks while it goes: redrawn in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

import click

from varloop.cli import text
from varloop.errors import SpecError
from varloop.runs import Iteration
from varloop.spec import RunSpec, summary
from varloop.support.clock import Clock
from varloop.support.numbers import duration, rounded, with_error

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

    from varloop.context import Resources

__all__ = ["Each", "Lines", "Plan", "Screen", "Silent", "View", "view"]


class View(Protocol):
    """Shows the iterations of one run."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, iteration: Iteration) -> None:
        """One more iteration is finished."""


@dataclass(frozen=True)
class Plan:
    """What is known about a run before it goes."""

    run: str
    spec: RunSpec


def view(resources: Resources, run: str, *, quiet: bool) -> View:
    """The view of a run for where the output goes. A quiet one leaves standard output to the result."""
    try:
        plan = Plan(run, resources.spec(run))
    except SpecError:  # it fails at once, or belongs to a pipeline whose specs are others
        return Silent() if quiet else Each(text.line)
    stream = sys.stderr if quiet else sys.stdout
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        return Screen(plan, resources.clock, stream)
    return Silent() if quiet else Lines(plan)


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, iteration: Iteration) -> None:
        pass


class Each(Silent):
    """A line for each iteration."""

    def __init__(self, line: Callable[[Iteration], str]) -> None:
        self._line = line

    def show(self, iteration: Iteration) -> None:
        click.echo(self._line(iteration))


class Lines(Silent):
    """A line for the first iteration, and for every few of the others."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._step = text.step(plan.spec.budget.iterations)
        self._last: Iteration | None = None
        self._shown: Iteration | None = None

    def __enter__(self) -> Self:
        click.echo(f"run {self._plan.run}: {summary(self._plan.spec)}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._last is not None and self._last is not self._shown:
            self._print(self._last)

    def show(self, iteration: Iteration) -> None:
        self._last = iteration
        number = iteration.iteration + 1
        if number == 1 or number % self._step == 0 or iteration.final:
            self._print(iteration)

    def _print(self, it: Iteration) -> None:
        self._shown = it
        click.echo(text.line(it))


class Screen:
    """A progress bar, the value with its error, and how it came about."""

    RATE = 8
    """redraws per second"""

    def __init__(self, plan: Plan, clock: Clock, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._plan = plan
        self._clock = clock
        self._iterations: list[Iteration] = []
        self._began = clock.now()
        self._live = Live(self, console=Console(file=stream), refresh_per_second=self.RATE)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, iteration: Iteration) -> None:
        self._iterations.append(iteration)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        width = min(options.max_width, 100) - 12
        total = self._plan.spec.budget.iterations
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column(no_wrap=True)
        yield Text.assemble(
            ("run ", "dim"), (self._plan.run, "bold"), (f"  {summary(self._plan.spec)}", "dim")
        )
        done = sum(not each.final for each in self._iterations)
        bar = ProgressBar(total=total, completed=done, width=max(width - 24, 10))
        line = Table.grid(padding=(0, 1))
        elapsed = duration(self._clock.now() - self._began)
        line.add_row(bar, Text(f"{done}/{total}"), Text(elapsed, "dim"))
        rows.add_row("progress", line)
        if self._iterations:
            self._add_values(rows, width)
        else:
            rows.add_row("", "compiling the circuit")
        yield rows

    def _add_values(self, rows: Table, width: int) -> None:
        from rich.text import Text

        last = self._iterations[-1]
        value = (with_error(last.value, last.error), "bold cyan")
        rows.add_row(
            "value", Text.assemble(value, (f"   lowest {rounded(last.lowest, last.error)}", "green"))
        )
        bars = text.sparkline([each.value for each in self._iterations], max(width, 10))
        rows.add_row("history", Text(bars, "cyan"))
        if last.shots:
            limit = self._plan.spec.budget.shots
            rows.add_row("shots", f"{last.shots:,}" + (f" of {limit:,}" if limit else ""))
        if last.solution is not None:
            rows.add_row("solution", text.solution(last.solution))
