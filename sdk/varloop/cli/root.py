"""The command ``varloop``: its subcommands, loaded when called, and what becomes of errors."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from typing import IO, Any

import click

from varloop.errors import (
    EventError,
    RunEnded,
    SpecError,
    TemporaryError,
    UnknownRun,
    UsageError,
    VarloopError,
)
from varloop.support.masking import mask, printable

__all__ = ["COMMANDS", "Failure", "cli"]

FAILED, USAGE, UNKNOWN_RUN, UNAVAILABLE, BUG, INTERRUPTED = 1, 2, 3, 4, 70, 130

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""why a file or a pipe takes no more"""

COMMANDS = {
    "run": "varloop.cli.run:run_command",
    "resume": "varloop.cli.run:resume_command",
    "check": "varloop.cli.check:check_command",
    "submit": "varloop.cli.submit:submit_command",
    "stop": "varloop.cli.submit:stop_command",
    "cancel": "varloop.cli.submit:cancel_command",
    "status": "varloop.cli.status:status_command",
    "runs": "varloop.cli.status:runs_command",
    "watch": "varloop.cli.status:watch_command",
    "history": "varloop.cli.history:history_command",
    "replay": "varloop.cli.replay:replay_command",
    "report": "varloop.cli.report:report_command",
    "serve": "varloop.cli.serve:serve_command",
    "setup": "varloop.cli.kafka:setup_command",
    "worker": "varloop.cli.kafka:worker_command",
    "dlq": "varloop.cli.dlq:dlq_command",
    "gc": "varloop.cli.gc:gc_command",
    "example": "varloop.cli.example:example_command",
    "new": "varloop.cli.new:new_command",
    "deploy": "varloop.deploy.commands:deploy",
    "undeploy": "varloop.deploy.commands:undeploy",
    "docs": "varloop.cli.docs:docs_command",
    "doctor": "varloop.cli.doctor:doctor_command",
    "completion": "varloop.cli.completion:completion_command",
}
"""where each command is: imported when it is called"""

EPILOG = """\b
Exit codes:
  0    done
  1    the run failed, was cancelled or stopped
  2    the command line or the spec is wrong, or what was published was not accepted
  3    there is no such run
  4    the store or the server does not answer, or the output cannot be written: try again
  70   a bug in varloop; --debug shows where
  130  interrupted; the run can be resumed
"""


class Failure(click.ClickException):
    """An error as the command line tells it: what happened, and what to do.

    :param as_json: tell it to a program.
    """

    def __init__(self, error: BaseException, as_json: bool = False) -> None:
        super().__init__(mask(str(error)))
        self.error = error
        self.as_json = as_json
        self.exit_code = _exit_code(error)  # type: ignore[misc]  # Click has one for each class

    def show(self, file: IO[Any] | None = None) -> None:
        for line in [_json(self)] if self.as_json else _lines(self.error):
            click.echo(line, err=True, file=file, color=self.show_color)


def _json(failure: Failure) -> str:
    """What :func:`_lines` says in words."""
    error = failure.error
    told = {
        "error": type(error).__name__,
        "detail": mask(getattr(error, "detail", str(error))),
        "run": getattr(error, "run", ""),
        "hint": mask(getattr(error, "hint", "")),
        "faults": [mask(fault) for fault in getattr(error, "faults", ())],
        "exit_code": failure.exit_code,
    }
    return json.dumps(told, ensure_ascii=False)


def _exit_code(error: BaseException) -> int:
    match error:
        case UnknownRun():
            return UNKNOWN_RUN
        case UsageError() | SpecError() | EventError():
            return USAGE
        case TemporaryError():
            return UNAVAILABLE
        case OSError() if error.errno in FULL:
            return UNAVAILABLE
        case VarloopError():
            return FAILED
        case _:
            return BUG


def _lines(error: BaseException) -> list[str]:
    if isinstance(error, OSError) and error.errno in FULL:
        return [_head(f"the output cannot be written: {error.strerror}")]
    if not isinstance(error, VarloopError):
        text = printable(mask(f"{type(error).__name__}: {error}"))
        return [_head(f"a bug in varloop, {text}"), _hint("the same command with --debug shows where")]
    faults = error.faults if isinstance(error, SpecError | RunEnded) else ()
    detail = error.detail.partition(": ")[0] if isinstance(error, SpecError) else error.detail
    head = f"run {error.run}: {detail}" if error.run else detail
    hint = [_hint(error.hint)] if error.hint else []
    return [_head(head), *(f"  - {fault}" for fault in faults), *hint]


def _head(text: str) -> str:
    return click.style("error: ", fg="red", bold=True) + text


def _hint(text: str) -> str:
    return click.style("  try: ", fg="cyan") + text


def _debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().meta["varloop.debug"] = True


def _blocks(text: str | None) -> str | None:
    r"""Help from a raw docstring, in which Click's mark of a block that is not refilled is the text ``\b``."""
    return text and text.replace("\\b\n", "\b\n")


def _prepared(command: click.Command) -> click.Command:
    """The command, which can be debugged as every other."""
    if all(parameter.name != "debug" for parameter in command.params):
        command.help = _blocks(command.help)
        text = "Show tracebacks of errors."
        command.params.append(
            click.Option(["--debug"], is_flag=True, expose_value=False, callback=_debug, help=text)
        )
    return command


class Commands(click.Group):
    """Subcommands that are imported when asked for."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.help = _blocks(self.help)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        return _prepared(getattr(import_module(module), name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"varloop {close[0]}" if close else "varloop --help"
            raise UsageError(f"there is no command {args[0]!r}", hint=hint) from error

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["varloop.json"] = "--json" in args
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            ctx.color = False
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        as_json = ctx.meta["varloop.json"]
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.message = printable(mask(error.message))  # type: ignore[misc]  # it quotes what was given
            if not as_json:
                raise
            raise Failure(UsageError(error.format_message()), as_json) from error
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo(err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno in FULL:
                _discard_output()
            if ctx.meta.get("varloop.debug"):
                click.echo(printable(mask("".join(traceback.format_exception(error)))), err=True)
            raise Failure(error, as_json) from error


def _discard_output() -> None:
    """Drop what standard output did not take, which Python would try to write once more when it ends."""
    with suppress(OSError):  # it may be no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from varloop import __version__

        click.echo(f"varloop {__version__}, Python {sys.version.partition(' ')[0]}")
        context.exit()


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version."
)
def cli() -> None:
    r"""Variational quantum algorithms as event-driven functions.

    \b
    varloop check h2        what would it cost? runs nothing on hardware
    varloop run h2          run it here, live; Ctrl-C leaves a run that can be resumed
    varloop report RUN      one self-contained page about it
    """
