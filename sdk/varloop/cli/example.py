"""``varloop example``: the specs that come with varloop, to begin one's own from."""

from __future__ import annotations

import click

from varloop.cli import specs
from varloop.errors import UsageError

__all__ = ["example_command"]


@click.command("example")
@click.argument("name", required=False, shell_complete=specs.complete_examples)
def example_command(name: str | None) -> None:
    r"""Print the spec of the example NAME, or the names of all examples.

    \b
    varloop example h2 > mine.yaml      a spec of your own to begin with
    """
    names = specs.example_names()
    if name is None:
        for each in names:
            click.echo(f"{each:<12} {specs.example(each).partition(chr(10))[0].lstrip('# ')}")
    elif name in names:
        click.echo(specs.example(name), nl=False)
    else:
        raise UsageError(f"there is no example {name!r}", hint=f"one of {', '.join(names)}")
