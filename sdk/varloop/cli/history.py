"""``varloop history``: what a run measured, as data for other programs."""

from __future__ import annotations

import click

from varloop.cli import common

__all__ = ["history_command"]


@click.command("history")
@common.run_argument
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "json"]),
    default="csv",
    show_default=True,
    help="Columns are the same in both.",
)
@common.at_option
@common.store_option
def history_command(run: str, kind: str, server: str | None, store: str) -> None:
    r"""Print the iterations of RUN, one row each.

    \b
    Value with its standard error, parameters by name, gradients where they were measured, shots used so far:
      varloop history RUN > run.csv
    """
    if server:
        from varloop.client.server import Server

        found = Server(server).history(run)
    else:
        from varloop.runs import StoredRun

        stored = StoredRun(common.resources(store), run)
        stored.submitted()  # an unknown run is an error
        found = stored.history()
    if kind == "json":
        common.emit_json(found.rows())
    else:
        click.echo(found.to_csv(), nl=False)
