"""``varloop report``: one page about one run."""

from __future__ import annotations

from pathlib import Path

import click

from varloop.cli import common
from varloop.errors import UsageError

__all__ = ["report_command"]


@click.command("report")
@common.run_argument
@click.option(
    "-o",
    "--output",
    default="report.html",
    show_default=True,
    metavar="FILE",
    help="Where to; - for standard output.",
)
@common.store_option
@click.option("--json", "as_json", is_flag=True, help="Print the page's data as JSON instead.")
def report_command(run: str, output: str, store: str, as_json: bool) -> None:
    """Write one self-contained page about RUN.

    Convergence with errors, every call and job on a timeline, compiled circuits, provenance.
    """
    from varloop.report import gather, page

    facts = gather(common.resources(store), run)
    if as_json:
        common.emit_json(facts)
        return
    html = page(facts)
    if output == "-":
        click.echo(html, nl=False)
        return
    try:
        Path(output).write_text(html, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {output} ({len(html.encode()) / 1024:.0f} KiB), open it in any browser")
