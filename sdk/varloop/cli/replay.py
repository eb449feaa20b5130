"""``varloop replay``: run a record again and compare."""

from __future__ import annotations

import click

from varloop.cli import common
from varloop.cli.root import FAILED
from varloop.support.numbers import count

__all__ = ["replay_command"]


@click.command("replay")
@common.run_argument
@common.app_option
@common.store_option
@common.json_option
def replay_command(run: str, apps: tuple[str, ...], store: str, as_json: bool) -> None:
    """Run the record of RUN again, in memory, and compare each iteration, bit for bit.

    Nothing but its submission is taken from the record. Says what differs, and which versions do. Exit code 1 if anything
    differs.
    """
    from varloop.client.replay import replay

    found = replay(common.resources(store), run, common.load_apps(apps))
    if as_json:
        common.emit_json(found)
    else:
        click.echo(f"run {run}: {count(found.equal, 'iteration')} of {found.compared} the same, bit for bit")
        if (first := found.difference) is not None:
            click.echo(f"  differs     iteration {first.iteration + 1}, {first.field}")
            click.echo(f"    recorded  {first.recorded}")
            click.echo(f"    again     {first.again}")
        for name, (recorded, here) in found.versions.items():
            click.echo(f"  version     {name} {recorded or 'absent'}, here {here or 'absent'}")
        if found.calibration is not None:
            click.echo("  device      calibrated anew: {} then, {} here".format(*found.calibration))
    if not found.same:
        raise click.exceptions.Exit(FAILED)
