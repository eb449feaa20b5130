"""``varloop submit``, ``varloop stop`` and ``varloop cancel``: events for whoever runs the functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from varloop.cli import common, outcome, specs
from varloop.support.masking import mask

if TYPE_CHECKING:
    from varloop.events import Event

__all__ = ["cancel_command", "stop_command", "submit_command"]


@click.command("submit")
@specs.spec_argument
@click.option(
    "--at", "server", required=True, metavar="URL", help="A server (varloop serve) or a kafka:// bus."
)
@specs.set_option
@specs.run_option
@click.option(
    "--pipeline", default="default", show_default=True, metavar="NAME", help="Pipeline to run through."
)
@common.json_option
def submit_command(
    spec: str, server: str, settings: tuple[str, ...], run_id: str, pipeline: str, as_json: bool
) -> None:
    """Submit SPEC to a server or a bus and do not wait for it."""
    from varloop.client import submission
    from varloop.support.clock import SystemClock

    name, data = specs.read(spec)
    checked = specs.checked(specs.with_settings(data, settings), pipeline)
    event = submission(checked, run_id or specs.new_run(name), pipeline, SystemClock())
    _publish(server, event)
    if as_json:
        common.emit_json({"run": event.run})
        return
    click.echo(f"submitted {event.run}")
    place = "--store URL" if server.startswith("kafka://") else f"--at {server}"
    click.echo(f"  watch it    varloop watch {event.run} {mask(place)}")


def _publish(url: str, event: Event[Any]) -> None:
    if url.startswith("kafka://"):
        from varloop.bus.kafka import KafkaBus

        bus = KafkaBus(url)
        bus.publish(event)
        bus.close()
        return
    from varloop.client.server import Server

    Server(url).publish(event)


@click.command("cancel")
@common.run_argument
@common.at_option
@click.option("--reason", default="", metavar="TEXT", help="Kept with the run.")
@common.app_option
@common.store_option
@common.json_option
def cancel_command(
    run: str, server: str | None, reason: str, apps: tuple[str, ...], store: str, as_json: bool
) -> None:
    """End RUN before its next job starts.

    It does not matter which process drives it: the job's place in the run's journal is taken.
    """
    if server:
        _cancel_there(run, server, reason)
        return
    client = common.client(store, apps)
    found = common.served(client, run)
    before = found.state()
    if before.outcome is None:
        found.cancel(reason)
        client.host.drain()
    state = found.state()
    if as_json:
        common.emit_json(state)
    elif before.outcome is not None:
        click.echo(f"run {run} has ended already: {before.state}")
    else:
        outcome.print_state(state)


@click.command("stop")
@common.run_argument
@common.at_option
@common.app_option
@common.store_option
def stop_command(run: str, server: str | None, apps: tuple[str, ...], store: str) -> None:
    """End RUN well: with its result, as if its budget were used up.

    An iteration under way is finished, one more may be, and then the final measurement is made.
    """
    if server:
        from varloop.client.run import stopping
        from varloop.client.server import Server
        from varloop.support.clock import SystemClock

        remote = Server(server)
        remote.publish(stopping(run, remote.state(run).pipeline, SystemClock()))
        click.echo(f"asked {mask(server)} to stop {run}")
        click.echo(f"  watch it    varloop watch {run} --at {mask(server)}")
        return
    client = common.client(store, apps)
    found = common.served(client, run)
    if (state := found.state()).outcome is not None:
        click.echo(f"run {run} has ended already: {state.state}")
        return
    found.stop()
    client.host.drain()
    click.echo(f"asked whoever drives {run} to stop it; if nobody does:  {common.same_place('resume', run)}")


def _cancel_there(run: str, server: str, reason: str) -> None:
    from varloop.client.run import cancellation
    from varloop.client.server import Server
    from varloop.support.clock import SystemClock

    remote = Server(server)
    remote.publish(cancellation(run, reason, remote.state(run).pipeline, SystemClock()))
    click.echo(f"asked {mask(server)} to cancel {run}")
    click.echo(f"  watch it    varloop watch {run} --at {mask(server)}")
