"""A run in a notebook, without one: IPython is what these tests say it is."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from report import scenes
from varloop.client import Run
from varloop.errors import RunEnded
from varloop.events import RunCompleted
from varloop.progress import Iteration
from varloop.runs.history import History
from varloop.support.numbers import with_error


class Cell:
    """What a cell shows: each drawing replaces the one before.

    :param kernel: whether this is a notebook, and not IPython in a terminal.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, kernel: bool = True) -> None:
        self.drawn: list[str] = []
        shell = SimpleNamespace(kernel=object()) if kernel else SimpleNamespace()
        ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
        ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
        display.display = self.display  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        monkeypatch.setitem(sys.modules, "IPython.display", display)

    def display(self, shown: Any, *, display_id: bool) -> Cell:
        """Show something that can be replaced."""
        assert display_id
        self.update(shown)
        return self

    def update(self, shown: Any) -> None:
        """Show something in its place."""
        self.drawn.append(shown._repr_html_())


def a_run(tick: float = 0.1, **more: Any) -> Run:
    """A run of six iterations, each of which takes some looks at the clock."""
    client = scenes.client(clock=scenes.TickingClock(tick=tick))
    return client.submit(scenes.spec(shots=100, **more), pipeline="toy")


def test_waiting_shows_the_run_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drawn at once, now and then, and when it has ended, always in the same place."""
    cell = Cell(monkeypatch)

    run = a_run()
    result = run.result()

    assert "not ended" in cell.drawn[0]
    assert any("3 iterations, 300 shots" in each for each in cell.drawn)
    assert "completed: the budget of iterations is used up" in cell.drawn[-1]
    assert f"value {with_error(result.value, result.error)}; " in cell.drawn[-1]
    assert "<svg" in cell.drawn[-1]
    assert run._repr_html_() == cell.drawn[-1]


def test_it_is_not_drawn_more_often_than_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fast run costs two drawings; one that has ended costs none."""
    cell = Cell(monkeypatch)

    run = a_run(tick=1e-6)
    run.result()
    run.result()

    assert len(cell.drawn) == 2


def test_a_run_that_fails_is_shown_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last drawing says why; markup in it is text."""
    cell = Cell(monkeypatch)

    with pytest.raises(RunEnded):
        a_run(optimizer={"name": "spsa", "options": {"broken": 2}}).result()

    assert "<b>PermanentError: </b>the toy broke as told (do not tell it to)" in cell.drawn[-1]


def test_callbacks_are_called_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each iteration is told once."""
    Cell(monkeypatch)
    told: list[int] = []

    a_run().result(each=lambda iteration: told.append(iteration.iteration))

    assert told == list(range(len(told)))
    assert len(told) >= 6


def test_a_result_is_a_table() -> None:
    """Its value with the error, and what else it has; what is text stays text."""
    result = RunCompleted(value=-1.25, error=0.01, parameters=[1.0], iterations=3, shots=900, reason="<b>")

    html = result._repr_html_()

    assert "<th>value</th><td>-1.250 ± 0.010</td>" in html
    assert "ended by: &lt;b&gt;" in html


def test_a_history_is_a_table() -> None:
    """A row for each iteration with parameters by name; of many every few; names are text."""
    each = Iteration(iteration=0, value=0.5, error=0.25, lowest=0.5, shots=900, parameters=[1.0])

    html = History([each] * 3, ["<θ>"])._repr_html_()

    assert "<th>parameter &lt;θ&gt;</th>" in html
    assert html.count("<td>0.500000</td><td>0.250000</td>") == 3
    assert History([each] * 1000)._repr_html_().count("<tr>") == 1 + 59
    assert History()._repr_html_() == "<table><tr></tr></table>"


@pytest.mark.parametrize("ipython", [False, True])
def test_nothing_is_shown_elsewhere(ipython: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in a script, nor in IPython on a terminal."""
    cell = Cell(monkeypatch, kernel=False)
    if not ipython:
        monkeypatch.delitem(sys.modules, "IPython")

    a_run().result()

    assert cell.drawn == []
