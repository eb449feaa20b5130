"""A card: a run at a glance, as a piece of HTML for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from varloop.events import RunCancelled, RunCompleted, RunFailed
from varloop.report.convergence import values
from varloop.report.html import Html, el, raw
from varloop.runs import REASONS, Iteration, RunState
from varloop.support.numbers import count, with_error

__all__ = ["card"]


def card(state: RunState, iterations: Sequence[Iteration]) -> str:
    """State, value and convergence. It brings its style, and asks nobody for anything."""
    facts = [count(state.iterations, "iteration"), f"{state.shots:,} shots" if state.shots else "exact"]
    return el(
        "div",
        el("style", raw(files("varloop.report").joinpath("card.css").read_text("utf-8"))),
        el("p", el("b", state.run), f" {_word(state)}", class_=f"varloop-{state.state}"),
        el("p", f"value {_value(state)}; {', '.join(facts)}") if state.value is not None else None,
        values(state, iterations) if iterations else None,
        _trouble(state),
        class_="varloop",
    )


def _word(state: RunState) -> str:
    match state.outcome:
        case RunCompleted(reason=reason):
            return f"completed: {REASONS.get(reason, reason)}"
        case RunCancelled(reason=reason):
            return f"cancelled{': ' if reason else ''}{reason}"
        case RunFailed():
            return "failed"
        case None:
            return "not ended"


def _value(state: RunState) -> str:
    match state.outcome:
        case RunCompleted(value=value, error=error):
            return with_error(value, error)
        case _:
            return with_error(state.value or 0.0, state.error)


def _trouble(state: RunState) -> Html | None:
    if not isinstance(state.outcome, RunFailed):
        return None
    failed = state.outcome
    hint = f" ({failed.hint})" if failed.hint else ""
    faults = el("ul", [el("li", fault) for fault in failed.faults]) if failed.faults else None
    return el("div", el("p", el("b", f"{failed.error}: "), failed.detail, hint), faults)
