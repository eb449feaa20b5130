"""``varloop new``: a project with a pipeline of one's own."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from varloop.app import DEFAULT
from varloop.errors import UsageError

__all__ = ["new_command"]

NAME = re.compile(r"[a-z][a-z0-9-]{0,49}")


@click.command("new")
@click.argument("name")
def new_command(name: str) -> None:
    """Make a folder NAME with a pipeline of your own.

    It has a step of its own, its test, a spec and a README, and runs as it stands.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a pipeline's name", hint="small letters, digits and -, e.g. my-loop"
        )
    if name == DEFAULT:
        raise UsageError("default is the pipeline of varloop's own steps", hint="another name, e.g. my-loop")
    folder = Path(name)
    if folder.exists():
        raise UsageError(f"{name} exists already, nothing was changed", hint="another name, or remove it")
    folder.mkdir()
    for source in sorted(files("varloop.cli").joinpath("scaffold").iterdir(), key=lambda each: each.name):
        made = folder / source.name.removesuffix(".in")
        made.write_text(Template(source.read_text("utf-8")).substitute(name=name), "utf-8")
        click.echo(f"wrote {made}")
    click.echo(f"\nnow:  cd {name} && varloop run spec.yaml --app app.py")
