"""``varloop run`` and ``varloop resume``: the whole loop in this process, watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from varloop.cli import common, outcome, specs
from varloop.cli.progress import view
from varloop.cli.root import INTERRUPTED

if TYPE_CHECKING:
    from varloop.client import EmbeddedClient, Run

__all__ = ["resume_command", "run_command"]


@click.command("run")
@specs.spec_argument
@specs.set_option
@specs.run_option
@click.option(
    "--pipeline", default="", metavar="NAME", help="Pipeline to run through.  [default: that of --app]"
)
@common.app_option
@common.store_option
@common.json_option
def run_command(
    *,
    spec: str,
    settings: tuple[str, ...],
    run_id: str,
    pipeline: str,
    apps: tuple[str, ...],
    store: str,
    as_json: bool,
) -> None:
    r"""Run SPEC here, to its end, and show how it goes.

    \b
    SPEC is a JSON or YAML file, - for standard input, or an example: h2, h2-shots, maxcut, tfim, tfim-noisy.
    Ctrl-C stops it; nothing is lost, and `varloop resume` goes on from there.
    """
    from varloop.client import embedded

    name, data = specs.read(spec)
    own = common.load_apps(apps)
    pipeline = pipeline or (own[0].pipeline if own else "default")
    checked = specs.checked(specs.with_settings(data, settings), pipeline)
    client = embedded(store, own)
    run = client.submit(checked, run=run_id or specs.new_run(name), pipeline=pipeline)
    _drive(client, run, as_json)


@click.command("resume")
@common.run_argument
@common.app_option
@common.store_option
@common.json_option
def resume_command(run: str, apps: tuple[str, ...], store: str, as_json: bool) -> None:
    """Go on with RUN where it stopped. It ends as it would have without the interruption."""
    client = common.client(store, apps)
    found = client.run(run)
    if found.state().outcome is None:
        common.served(client, run).resume()
    _drive(client, found, as_json)


def _drive(client: EmbeddedClient, run: Run, as_json: bool) -> None:
    """Watch a run to its end, and tell it."""
    try:
        with view(client.resources, run.id, quiet=as_json) as screen:
            for iteration in run.iterations():
                screen.show(iteration)
    except KeyboardInterrupt:
        click.echo(
            f"\nstopped; nothing is lost. Go on with:  {common.same_place('resume', run.id)}", err=True
        )
        raise click.exceptions.Exit(INTERRUPTED) from None
    state = run.state()
    if as_json:
        common.emit_json(state)
    else:
        outcome.print_state(state)
        click.echo(f"  report      {common.same_place('report', run.id)}")
    outcome.finish(state)
