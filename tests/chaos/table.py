"""What came of each scenario."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = ["Row", "Table"]


class Row(NamedTuple):
    """One scenario."""

    scenario: str
    harm: str
    """what was done"""
    runs: int
    lives: int
    """worker processes that there were"""
    seconds: float
    outcome: str


@dataclass
class Table:
    """All of them."""

    rows: list[Row] = field(default_factory=list)

    def text(self) -> str:
        """As Markdown."""
        cells = [
            ["scenario", "what was done", "runs", "workers", "seconds", "outcome"],
            *([*map(str, row[:4]), f"{row.seconds:.1f}", row.outcome] for row in self.rows),
        ]
        widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
        rule = ["-" * width for width in widths]
        lines = [
            "| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in [cells[0], rule, *cells[1:]]
        ]
        return "\n".join(lines)

    def keep(self, path: Path) -> None:
        """Write it to a file."""
        path.parent.mkdir(exist_ok=True)
        good = sum(row.outcome == "as in quiet" for row in self.rows)
        path.write_text(
            f"# Chaos\n\n{good} of {len(self.rows)} scenarios ended as in quiet.\n\n{self.text()}\n"
        )
