"""``varloop dlq``: dead letters of workers, of a Knative Broker and of ``varloop serve``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import click
from click.core import ParameterSource

from varloop.cli import common
from varloop.errors import UsageError
from varloop.support.masking import mask, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from varloop.bus import Letter
    from varloop.bus.http import HttpPublisher
    from varloop.wire.codec import Types

__all__ = ["dlq_command"]


class Place(Protocol):
    """Where dead letters lie."""

    def letters(self) -> Sequence[Letter]:
        """All of them, oldest first."""

    def replay(self, letter: Letter, publisher: HttpPublisher | None) -> None:
        """Publish a letter's event again and take the letter off the list."""


class OnKafka:
    """Letters of workers and of a Broker, in the same topic."""

    def __init__(self, bus: str, types: Types) -> None:
        from varloop.bus.kafka import KafkaBus

        self._bus = KafkaBus(bus, types)

    def letters(self) -> Sequence[Letter]:
        return self._bus.dead_letters()

    def replay(self, letter: Letter, publisher: HttpPublisher | None) -> None:
        from varloop.bus.kafka.dead import KafkaLetter, to_http

        assert isinstance(letter, KafkaLetter)  # noqa: S101  it came from here
        if letter.from_knative:
            _needed(publisher, letter, "http://HOST/NAMESPACE/BROKER, the Broker's ingress").post(
                *to_http(letter)
            )
            self._bus.replayed(letter)
        else:
            self._bus.replay(letter)


class InStore:
    """Letters of a server."""

    def __init__(self, store: str, types: Types) -> None:
        from varloop.host.server.letters import StoredLetters

        self._letters = StoredLetters(common.resources(store).store)
        self._types = types

    def letters(self) -> Sequence[Letter]:
        return self._letters.all(self._types)

    def replay(self, letter: Letter, publisher: HttpPublisher | None) -> None:
        if letter.event is None:
            raise UsageError(f"{letter.id} cannot be read", hint="--app FILE with the types of its event")
        _needed(publisher, letter, "http://HOST:PORT of varloop serve").publish(letter.event)
        self._letters.remove(letter)


def _needed(publisher: HttpPublisher | None, letter: Letter, where: str) -> HttpPublisher:
    if publisher is None:
        raise UsageError(f"{letter.id} did not come by workers: it has to be posted", hint=f"--at {where}")
    return publisher


def _place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    bus = click.option(
        "--bus",
        envvar="VARLOOP_BUS",
        show_envvar=True,
        metavar="URL",
        help="kafka://HOST:PORT/TOPIC: letters of workers and of a Knative Broker, in TOPIC.dead-letters.",
    )
    return bus(common.store_option(common.app_option(command)))


def _places(bus: str | None, store: str, apps: tuple[str, ...]) -> list[Place]:
    """The bus, if one is given; the store, if it is given or nothing else is."""
    from varloop.host import load_pipelines

    types = load_pipelines(common.load_apps(apps)).types
    chosen = click.get_current_context().get_parameter_source("store") is ParameterSource.COMMANDLINE
    places: list[Place] = [OnKafka(bus, types)] if bus else []
    return places if bus and not chosen else [*places, InStore(store, types)]


@click.group("dlq")
def dlq_command() -> None:
    """Dead letters: events that no function could accept, each with its reason.

    With --bus those of workers and of a Knative Broker, with --store those of varloop serve.
    """


@dlq_command.command("list")
@_place_options
@common.json_option
def dlq_list(bus: str | None, store: str, apps: tuple[str, ...], as_json: bool) -> None:
    """All dead letters, oldest first."""
    letters = [letter for place in _places(bus, store, apps) for letter in place.letters()]
    if as_json:
        common.emit_json([_summary(letter) for letter in letters])
        return
    for letter in letters:
        told = f"{letter.id}  {_when(letter)}  {letter.function or '-'}  {letter.error}: {letter.reason}"
        click.echo(printable(mask(told)))
    if not letters:
        click.echo("no dead letters")


@dlq_command.command("show")
@click.argument("id")
@_place_options
@common.json_option
def dlq_show(id: str, bus: str | None, store: str, apps: tuple[str, ...], as_json: bool) -> None:
    """One dead letter, whole: what happened, and the message as it came."""
    [(_, letter)] = _found(_places(bus, store, apps), (id,))
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
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--all", "all_", is_flag=True, help="All that there are now.")
@click.option(
    "--at", metavar="URL", help="Post there what did not come by workers: a Broker's ingress, a server."
)
@_place_options
def dlq_replay(
    *, ids: tuple[str, ...], all_: bool, at: str | None, bus: str | None, store: str, apps: tuple[str, ...]
) -> None:
    """Publish the events of dead letters again, byte for byte, and take the letters off the list.

    An event that cannot be accepted this time either is a new dead letter.
    """
    from varloop.bus.http import HttpPublisher

    if bool(ids) == all_:
        raise UsageError(
            "which dead letters?", hint="varloop dlq replay ID... or --all; varloop dlq list shows them"
        )
    publisher = HttpPublisher(at) if at else None
    for place, letter in _found(_places(bus, store, apps), None if all_ else ids):
        place.replay(letter, publisher)
        click.echo(f"published {letter.id} again")


def _found(places: Sequence[Place], ids: Sequence[str] | None) -> list[tuple[Place, Letter]]:
    """Letters with these ids, all of them if None, and where each lies."""
    there = {letter.id: (place, letter) for place in places for letter in place.letters()}
    if ids is None:
        return list(there.values())
    if unknown := [id for id in ids if id not in there]:
        raise UsageError(f"there is no dead letter {unknown[0]}", hint="varloop dlq list")
    return [there[id] for id in ids]


def _summary(letter: Letter) -> dict[str, object]:
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


def _when(letter: Letter) -> str:
    return datetime.fromtimestamp(letter.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
