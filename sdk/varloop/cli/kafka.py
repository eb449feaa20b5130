"""Kafka from the command line: ``varloop worker``, ``varloop topics`` and ``varloop dlq``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from varloop.cli import common
from varloop.errors import UsageError
from varloop.support import logs
from varloop.support.masking import mask, printable

if TYPE_CHECKING:
    from varloop.bus.kafka import KafkaBus
    from varloop.bus.kafka.dead import KafkaLetter
    from varloop.host.kafka.worker import Worker

__all__ = ["dlq_command", "topics_command", "worker_command"]

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


@click.group("topics")
def topics_command() -> None:
    """The Kafka topics of a bus."""


@topics_command.command("apply")
@bus_option
@click.option("--partitions", default=12, show_default=True, help="Of the events; more workers need more.")
@click.option("--replicas", default=-1, help="Copies of each partition.  [default: the cluster's]")
@click.option("--retention-hours", default=168, show_default=True, help="How long events are kept.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@common.json_option
def topics_apply(
    bus: str, partitions: int, replicas: int, retention_hours: int, dry_run: bool, as_json: bool
) -> None:
    """Create the topics, or make them what they should be. Partitions are added, never removed."""
    from varloop.bus.kafka import apply_topics

    changes = apply_topics(
        bus, partitions=partitions, replicas=replicas, retention_hours=retention_hours, dry_run=dry_run
    )
    if as_json:
        common.emit_json(changes)
    else:
        click.echo("\n".join(changes) or "nothing to do")


@click.group("dlq")
def dlq_command() -> None:
    """Dead letters: records that no function could accept, each with its reason."""


def _open(bus: str, apps: tuple[str, ...]) -> KafkaBus:
    from varloop.bus.kafka import KafkaBus
    from varloop.host import load_pipelines

    return KafkaBus(bus, load_pipelines(common.load_apps(apps)).types)


def _letter(bus: KafkaBus, id: str) -> KafkaLetter:
    for letter in bus.dead_letters():
        if letter.id == id:
            return letter
    raise UsageError(f"there is no dead letter {id}", hint="varloop dlq list")


@dlq_command.command("list")
@bus_option
@common.app_option
@common.json_option
def dlq_list(bus: str, apps: tuple[str, ...], as_json: bool) -> None:
    """All dead letters, oldest first."""
    letters = _open(bus, apps).dead_letters()
    if as_json:
        common.emit_json([_summary(letter) for letter in letters])
        return
    for letter in letters:
        told = f"{letter.id}  {_when(letter)}  {letter.function or '-'}  {letter.error}: {letter.reason}"
        click.echo(printable(mask(told)))
    if not letters:
        click.echo("no dead letters")


@dlq_command.command("show")
@bus_option
@click.argument("id")
@common.app_option
@common.json_option
def dlq_show(bus: str, id: str, apps: tuple[str, ...], as_json: bool) -> None:
    """One dead letter, whole: what happened, and the record as it came."""
    letter = _letter(_open(bus, apps), id)
    summary = _summary(letter)
    if as_json:
        common.emit_json({**summary, "raw": letter.raw})
        return
    for name, value in summary.items():
        if value != "":
            click.echo(printable(f"{name:10}{value}"))
    for name, header in letter.headers:
        click.echo(printable(f"  {name}: {header.decode(errors='replace')}"))
    if letter.sha256:
        click.echo(f"(the value was too large for the dead letters: sha256 {letter.sha256})")
    else:
        click.echo(printable(letter.raw.decode(errors="backslashreplace")))


@dlq_command.command("replay")
@bus_option
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@common.app_option
def dlq_replay(bus: str, ids: tuple[str, ...], apps: tuple[str, ...]) -> None:
    """Publish the records of dead letters again, byte for byte, and take the letters off the list.

    A record that cannot be accepted this time either is a new dead letter.
    """
    opened = _open(bus, apps)
    for id in ids:
        opened.replay(_letter(opened, id))
        click.echo(f"published {id} again")
    opened.close()


def _summary(letter: KafkaLetter) -> dict[str, object]:
    return {
        "id": letter.id,
        "time": _when(letter),
        "run": letter.event.run if letter.event else "",
        "type": letter.event.type if letter.event else "",
        "function": letter.function,
        "attempt": letter.attempt,
        "error": letter.error,
        "reason": letter.reason,
        "trace": letter.trace,
        "size": letter.size,
        "sha256": letter.sha256,
    }


def _when(letter: KafkaLetter) -> str:
    return datetime.fromtimestamp(letter.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
