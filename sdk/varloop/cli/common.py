"""Options and helpers that several commands share."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from varloop.errors import UsageError
from varloop.store import DEFAULT, VARIABLE
from varloop.support.logs import FORMATS
from varloop.support.masking import mask

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from varloop.app import App
    from varloop.client import EmbeddedClient, Run
    from varloop.context import Resources
    from varloop.store import Store

__all__ = [
    "app_option",
    "at_option",
    "client",
    "emit_json",
    "json_option",
    "load_apps",
    "log_option",
    "resources",
    "run_argument",
    "same_place",
    "served",
    "store_option",
]

F = TypeVar("F", bound=Callable[..., Any])
WITH_APPS = ("run", "resume", "stop", "cancel", "serve")

store_option = click.option(
    "--store",
    default=DEFAULT,
    envvar=VARIABLE,
    show_default=True,
    show_envvar=True,
    metavar="URL",
    help="Where runs lie: a folder, s3://BUCKET/PREFIX?endpoint=URL, or memory:.",
)
at_option = click.option(
    "--at", "server", metavar="URL", help="Ask a server (varloop serve) instead of a store."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
log_option = click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="text",
    envvar="VARLOOP_LOG_FORMAT",
    show_default=True,
    show_envvar=True,
    help="How warnings and errors are written to standard error.",
)
app_option = click.option(
    "--app",
    "apps",
    multiple=True,
    metavar="FILE[:NAME]",
    help="Python file or module with an App of your own; may be repeated.",
)


def _complete_runs(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Ids of the runs in the store, for the shell."""
    from click.shell_completion import CompletionItem

    from varloop.errors import VarloopError
    from varloop.journal import list_runs
    from varloop.store import default_store, open_store

    try:
        found = list_runs(open_store(context.params.get("store") or default_store()))
        return [CompletionItem(run) for run in found if run.startswith(incomplete)]
    except VarloopError:
        return []


def _run_id(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """The id, if it can be one."""
    from varloop.wire.codec import RUN_ID

    if not RUN_ID.fullmatch(value):
        raise UsageError(f"{value!r} is not a run id", hint=same_place("runs"))
    return value


run_argument = click.argument("run", shell_complete=_complete_runs, callback=_run_id)


def resources(store: str) -> Resources:
    """A store to look at, without any function.

    :raises UsageError: if there is no such store.
    """
    from varloop.context import Resources

    return Resources(_existing(store))


def client(store: str, apps: tuple[str, ...]) -> EmbeddedClient:
    """A client of the functions in this process and of a store that has runs.

    :raises UsageError: if there is no such store.
    """
    from varloop.client import embedded

    return embedded(_existing(store), load_apps(apps))


def _existing(url: str) -> Store:
    from varloop.store import open_store

    found = open_store(url)
    if not found.exists():
        raise UsageError(
            f"there is no store {found.url}",
            hint="--store tells where runs lie; `varloop run` makes one",
        )
    return found


def load_apps(names: tuple[str, ...]) -> list[App]:
    """Apps by file or module name, ``app`` inside it unless told otherwise.

    :raises UsageError: if there is none.
    """
    return [_load_app(name) for name in names]


def _load_app(name: str) -> App:
    from varloop.app import App

    place, _, attribute = name.partition(":")
    found = getattr(_load_module(place), attribute or "app", None)
    if not isinstance(found, App):
        raise UsageError(f"{place} has no App named {attribute or 'app'!r}", hint=f"--app {place}:NAME")
    return found


def _load_module(place: str) -> Any:
    """A module by its file or its name."""
    from importlib import import_module, util
    from pathlib import Path

    if not place.endswith(".py"):
        try:
            return import_module(place)
        except ModuleNotFoundError as error:
            raise UsageError(f"no module named {error.name!r}", hint="give the path of a .py file") from error
    path = Path(place)
    if not path.is_file():
        raise UsageError(f"there is no file {place}")
    sys.path.insert(0, str(path.parent.absolute()))
    found = util.spec_from_file_location(path.stem, path)
    assert found is not None and found.loader is not None  # noqa: S101  it is a .py file
    module = util.module_from_spec(found)
    sys.modules[path.stem] = module
    found.loader.exec_module(module)
    return module


def served(client: EmbeddedClient, run: str) -> Run:
    """A run whose functions are all here.

    :raises UsageError: if it belongs to a pipeline that is not installed.
    """
    found = client.run(run)
    pipeline = client.resources.submitted(run).pipeline
    if pipeline not in client.host.pipelines:
        known = ", ".join(sorted(client.host.pipelines))
        raise UsageError(
            f"run {run} belongs to pipeline {pipeline!r}, which is not here; only {known}",
            hint=same_place(click.get_current_context().info_name or "", run) + " --app FILE",
        )
    return found


def emit_json(data: Any) -> None:
    """Print plain data or structs as JSON: indented for people, on one line for programs."""
    encoded = msgspec.json.encode(data)
    if sys.stdout.isatty():
        encoded = msgspec.json.format(encoded, indent=2)
    click.echo(encoded.decode())


def same_place(*words: str) -> str:
    """A command that works on what the present command works on: the same store, the same apps."""
    context = click.get_current_context()
    options: list[str] = []
    shared = {"store": "--store", "server": "--at"} | ({"apps": "--app"} if words[0] in WITH_APPS else {})
    for name, option in shared.items():
        given = context.get_parameter_source(name)
        if given is click.core.ParameterSource.COMMANDLINE:
            value = context.params[name]
            for each in (value,) if isinstance(value, str) else value:
                options += [option, each]
    return mask(shlex.join(["varloop", *words, *options]))
