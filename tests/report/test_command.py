from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from report import scenes
from varloop.cli.root import cli
from varloop.store.folder import FolderStore


def report(*words: str) -> Result:
    """Call `varloop report` on the store in this folder."""
    return CliRunner().invoke(cli, ["report", "scene", *words])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run in its store."""
    monkeypatch.chdir(tmp_path)
    client = scenes.client(FolderStore(".varloop"))
    client.submit(scenes.spec(), pipeline="toy")
    client.host.drain()
    return tmp_path


def test_a_page_is_written_where_told(here: Path) -> None:
    """The command says what it wrote; - is standard output; --json is the page's data."""
    said = report("-o", "page.html")
    printed = report("-o", "-")
    data = report("--json")

    assert said.output.startswith("wrote page.html (")
    assert (here / "page.html").read_text() == printed.output
    assert printed.output.startswith("<!doctype html>")
    assert '"run":"scene"' in data.output


def test_a_place_that_cannot_be_written_is_named() -> None:
    """Exit code 2 and the reason."""
    result = report("-o", "no/such/page.html")

    assert result.exit_code == 2
    assert "no/such/page.html cannot be written: No such file or directory" in result.output
