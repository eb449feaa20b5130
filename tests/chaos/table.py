"""What came of each scenario."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaos.stage import Stage

__all__ = ["Row", "Table"]

GOOD = "as in quiet"


@dataclass
class Row:
    """One scenario."""

    scenario: str
    done: str = ""
    """what was done"""
    runs: int = 0
    lives: int = 0
    """worker processes that there were"""
    seconds: float = 0.0
    outcome: str = "FAILED"


@dataclass
class Table:
    """All of them."""

    rows: list[Row] = field(default_factory=list)

    @contextmanager
    def row(self, scenario: str, stage: Stage) -> Iterator[Row]:
        """A row for what happens inside; its outcome is good if nothing is raised."""
        row = Row(scenario)
        self.rows.append(row)
        started = time.monotonic()
        try:
            yield row
            row.outcome = GOOD
        finally:
            row.seconds = time.monotonic() - started
            row.runs, row.lives = len(stage.submitted), stage.fleet.lives

    def text(self) -> str:
        """As Markdown."""
        cells = [
            ["scenario", "what was done", "runs", "workers", "seconds", "outcome"],
            *(
                [row.scenario, row.done, str(row.runs), str(row.lives), f"{row.seconds:.1f}", row.outcome]
                for row in self.rows
            ),
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
        good = sum(row.outcome == GOOD for row in self.rows)
        path.write_text(
            f"# Chaos\n\n{good} of {len(self.rows)} scenarios ended as in quiet.\n\n{self.text()}\n"
        )
