"""What tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cli.program import Program
from toy import SPEC

TOY = Path(__file__).parents[1] / "toy.py"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """The command line in an empty folder that holds the toy's spec and app alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VARLOOP_STORE", raising=False)
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(SPEC))
    (tmp_path / "app.py").write_text(TOY.read_text())
    return Program(tmp_path)
