"""``varloop docs``: the pages of the documentation, of the very version that is installed."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from varloop.errors import UsageError
from varloop.support.installation import pages

__all__ = ["docs_command"]


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in pages() if name.startswith(incomplete)]


@click.command("docs")
@click.argument("page", required=False, shell_complete=_complete)
def docs_command(page: str | None) -> None:
    """Print a PAGE of the documentation (Markdown), or the names of all pages."""
    found = pages()
    if page is None:
        for name, path in found.items():
            title = path.read_text("utf-8").partition("\n")[0].lstrip("# ")
            click.echo(f"{name:<14} {title}")
    elif page in found:
        click.echo_via_pager(found[page].read_text("utf-8"))
    else:
        raise UsageError(f"there is no page {page!r}", hint=f"varloop docs NAME, one of {', '.join(found)}")
