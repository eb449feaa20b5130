"""``varloop gc``: remove finished runs from a store."""

from __future__ import annotations

import click

from varloop.cli import common
from varloop.errors import UsageError
from varloop.support.numbers import count

__all__ = ["gc_command"]


@click.command("gc")
@click.option("--days", default=30.0, show_default=True, help="Runs that ended longer ago than this go.")
@click.option(
    "--retention",
    default=7.0,
    show_default=True,
    metavar="DAYS",
    help="How long the topic or Broker keeps events: a run must not go while one of its own may come again. 0 without.",
)
@click.option("--yes", is_flag=True, help="Do it; without this, only say what would be removed.")
@common.store_option
@common.json_option
def gc_command(days: float, retention: float, yes: bool, store: str, as_json: bool) -> None:
    """Remove finished runs with all that is theirs, and old templates, dead letters and scraps that no run needs.

    Runs may be submitted and go on meanwhile.
    """
    from varloop.runs import cleanup

    if days < retention:
        raise UsageError(
            f"runs that ended {days:g} days ago may still have events in a topic that keeps them {retention:g} days",
            hint=f"--days {retention:g}, or --retention with what the topic keeps, 0 if there is none",
        )
    resources = common.resources(store)
    planned = cleanup.plan(resources, days)
    if yes:
        cleanup.collect(resources, planned)
    if as_json:
        common.emit_json({"removed": yes, "runs": planned.runs, "others": planned.others})
        return
    verb = "removed" if yes else "would remove"
    click.echo(f"{verb} {count(len(planned.runs), 'run')} and {count(len(planned.others), 'other object')}")
    for run in planned.runs:
        click.echo(f"  {run}")
    if (planned.runs or planned.others) and not yes:
        again = common.same_place("gc", "--days", f"{days:g}", "--retention", f"{retention:g}", "--yes")
        click.echo(f"do it with: {again}")
