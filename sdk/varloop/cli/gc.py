"""``varloop gc``: remove finished runs from a store."""

from __future__ import annotations

import click

from varloop.cli import common

__all__ = ["gc_command"]


@click.command("gc")
@click.option("--days", default=30.0, show_default=True, help="Runs that ended longer ago than this go.")
@click.option("--yes", is_flag=True, help="Do it; without this, only say what would be removed.")
@common.store_option
@common.json_option
def gc_command(days: float, yes: bool, store: str, as_json: bool) -> None:
    """Remove the journals of finished runs, and large bodies that no other run needs. Templates stay."""
    from varloop.runs import cleanup

    resources = common.resources(store)
    planned = cleanup.plan(resources, days)
    if yes:
        cleanup.collect(resources, planned)
    if as_json:
        common.emit_json({"removed": yes, "runs": planned.runs, "objects": len(planned.keys)})
        return
    verb = "removed" if yes else "would remove"
    click.echo(f"{verb} {len(planned.runs)} runs, {len(planned.keys)} objects")
    for run in planned.runs:
        click.echo(f"  {run}")
    if planned.runs and not yes:
        click.echo(f"do it with: {common.same_place('gc', '--days', f'{days:g}', '--yes')}")
