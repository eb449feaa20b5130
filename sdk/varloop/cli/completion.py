"""``varloop completion``: the script that teaches a shell to complete commands, examples and run ids."""

from __future__ import annotations

import click

__all__ = ["completion_command"]

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion_command(shell: str) -> None:
    r"""Print the completion script of a SHELL.

    \b
    eval "$(varloop completion bash)"      in ~/.bashrc
    eval "$(varloop completion zsh)"       in ~/.zshrc
    varloop completion fish | source       in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    from varloop.cli.root import cli

    found = get_completion_class(shell)
    assert found is not None  # noqa: S101  each of these has one
    click.echo(found(cli, {}, "varloop", "_VARLOOP_COMPLETE").source())
