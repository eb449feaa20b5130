"""What a run measured, iteration by iteration: as it is, as plain rows, as a table of pandas, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from varloop.errors import UsageError
from varloop.progress import Iteration
from varloop.support.numbers import fixed

__all__ = ["History"]

MANY = 60
"""rows that a notebook shows"""


class History(list[Iteration]):
    """Iterations, oldest first.

    :param names: of the parameters, in their order; numbers where they are not known.
    """

    def __init__(self, iterations: Iterable[Iteration] = (), names: Sequence[str] = ()) -> None:
        super().__init__(iterations)
        self.names = list(names)

    def rows(self) -> list[dict[str, Any]]:
        """One plain row for each iteration, all with the same columns.

        ``iteration``, ``final``, ``value`` with its standard ``error``, ``lowest`` value so far, ``shots`` so far; for
        binary problems the best solution so far as ``bits`` and ``cost``; where gradients were measured ``gradient NAME``
        and ``gradient error NAME`` of each parameter; and ``parameter NAME``, radians. None where nothing was measured.
        """
        count = max((len(each.parameters) for each in self), default=0)
        names = self.names if len(self.names) == count else [str(k) for k in range(count)]
        solved, sloped = (any(getattr(each, name) for each in self) for name in ("solution", "gradient"))
        return [_row(each, names, solved, sloped) for each in self]

    def to_pandas(self) -> Any:
        """The rows as a DataFrame of pandas.

        :raises UsageError: if pandas is not installed.
        """
        try:
            import pandas  # type: ignore[import-untyped, import-not-found, unused-ignore]
        except ModuleNotFoundError as error:
            if error.name != "pandas":
                raise
            raise UsageError("pandas is not installed", hint="pip install pandas") from error
        return pandas.DataFrame(self.rows())

    def to_csv(self) -> str:
        """The rows as CSV, with a line of names. Numbers are written in full."""
        rows, text = self.rows(), io.StringIO()
        if rows:
            writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        return text.getvalue()

    def _repr_html_(self) -> str:
        """The rows for a notebook, of many every few."""
        rows = self.rows()[:: max(1, -(-len(self) // MANY))]
        heads = "".join(f"<th>{escape(name)}</th>" for name in rows[0]) if rows else ""
        cells = ("".join(f"<td>{_shown(value)}</td>" for value in row.values()) for row in rows)
        return f"<table><tr>{heads}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _shown(value: Any) -> str:
    return fixed(value, 6) if isinstance(value, float) else escape("" if value is None else str(value))


def _row(each: Iteration, names: Sequence[str], solved: bool, sloped: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "iteration": each.iteration,
        "final": each.final,
        "value": each.value,
        "error": each.error,
        "lowest": each.lowest,
        "shots": each.shots,
    }
    if solved:
        row |= {
            "bits": each.solution and each.solution.bits,
            "cost": each.solution and each.solution.cost,
        }
    row |= _columns("parameter", names, each.parameters)
    if sloped:
        row |= _columns("gradient", names, each.gradient)
        row |= _columns("gradient error", names, each.gradient_errors)
    return row


def _columns(what: str, names: Sequence[str], values: Sequence[float] | None) -> dict[str, float | None]:
    return {f"{what} {name}": values[k] if values else None for k, name in enumerate(names)}
