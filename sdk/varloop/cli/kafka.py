"""Kafka from the command line: ``varloop setup`` and ``varloop worker``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from varloop.cli import common
from varloop.errors import UsageError
from varloop.support import logs

if TYPE_CHECKING:
    from varloop.host.kafka.worker import Worker

__all__ = ["setup_command", "worker_command"]

bus_option = click.option(
    "--bus",
    required=True,
    envvar="VARLOOP_BUS",
    show_envvar=True,
    metavar="URL",
    help="kafka://HOST:PORT[,HOST:PORT]/TOPIC; TLS and SASL by VARLOOP_KAFKA_… in the environment.",
)


def _place(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """Host and port from ``[HOST:]PORT``."""
    if value is None:
        return None
    host, _, port = value.rpartition(":")
    if not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{value!r} is not a port", hint="--probes 8080, or --probes 0.0.0.0:8080")
    return host or "127.0.0.1", int(port)


@click.command("worker")
@bus_option
@common.store_option
@click.option(
    "--function", "functions", multiple=True, metavar="NAME", help="Host this function; may be repeated."
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Threads; a run keeps to one of them.",
)
@click.option("--fusion/--no-fusion", default=True, help="Call the next step directly if it is hosted here.")
@click.option(
    "--instance", default="", metavar="NAME", help="A name kept over restarts, unique among workers."
)
@click.option(
    "--probes",
    metavar="[HOST:]PORT",
    callback=_place,
    help="Serve /healthz and /readyz, on 127.0.0.1 unless told otherwise.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=25.0,
    show_default=True,
    help="Seconds to finish calls in when told to stop; what is left is done by other workers.",
)
@common.log_option
@common.app_option
def worker_command(
    *,
    bus: str,
    store: str,
    functions: tuple[str, ...],
    concurrency: int,
    fusion: bool,
    instance: str,
    probes: tuple[str, int] | None,
    grace: float,
    log_format: str,
    apps: tuple[str, ...],
) -> None:
    """Host functions on Kafka until told to stop (SIGTERM or Ctrl-C): finish, commit, leave.

    Start as many as you like, each with all functions or with some; any of them may die at any time.
    """
    from varloop.host.kafka.worker import run_worker

    logs.configure(log_format)
    if store == "memory:":
        raise UsageError("workers cannot share a store in memory", hint="--store s3://… or a folder")
    run_worker(
        bus,
        store,
        apps=common.load_apps(apps),
        functions=functions,
        concurrency=concurrency,
        fusion=fusion,
        instance=instance,
        probes=probes,
        grace=grace,
        started=_announce,
    )


def _announce(worker: Worker, url: str) -> None:
    click.echo(f"hosting {', '.join(sorted(worker.members))} on {worker.bus.url}")
    if url:
        click.echo(f"probes on {url}/healthz and /readyz")


@click.command("setup")
@bus_option
@common.store_option
@click.option("--partitions", default=12, show_default=True, help="Of the events; more workers need more.")
@click.option("--replicas", default=-1, help="Copies of each partition.  [default: the cluster's]")
@click.option("--retention-hours", default=168, show_default=True, help="How long events are kept.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@common.json_option
def setup_command(
    *,
    bus: str,
    store: str,
    partitions: int,
    replicas: int,
    retention_hours: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Create what workers need, topics and bucket, or make them what they should be.

    May be repeated. Partitions are added, never removed.
    """
    from varloop.bus.kafka import apply_topics
    from varloop.store import set_up

    changes = apply_topics(
        bus, partitions=partitions, replicas=replicas, retention_hours=retention_hours, dry_run=dry_run
    )
    changes += set_up(store, dry_run=dry_run)
    if as_json:
        common.emit_json(changes)
    else:
        click.echo("\n".join(changes) or "nothing to do")
