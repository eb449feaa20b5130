"""The convergence of a run as a drawing: each value with its error, the lowest so far, and the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from varloop.events import RunCompleted
from varloop.report.axis import Linear, Log, decimals, ticks
from varloop.report.html import Html, el, join
from varloop.runs import Iteration, RunState
from varloop.support.numbers import rounded, with_error

__all__ = ["convergence", "split", "values"]

WIDTH, HEIGHT = 960, 360
LEFT, RIGHT, TOP, BOTTOM = 84, 20, 16, 46
MANY = 100
"""iterations beyond which errors are drawn as a band rather than as bars"""
FLOOR = 1e-12

Scale = Callable[[float], float]


def convergence(state: RunState, found: Sequence[Iteration]) -> Html:
    """The values, and for an exact run also their distance from the lowest on a logarithmic scale."""
    if not found:
        return el("p", "No iteration has finished yet.", class_="empty")
    shown = join(values(state, found), _legend(state, found))
    lowest = min(each.value for each in found)
    distances = [each.value - lowest for each in found if each.value - lowest > FLOOR]
    exact = not any(each.shots for each in found)
    if not (exact and len(distances) > 3 and max(distances) / min(distances) > 10):
        return shown
    return join(
        el("input", type="radio", name="scale", id="scale-linear", checked=True),
        el("label", "value", for_="scale-linear"),
        el("input", type="radio", name="scale", id="scale-log"),
        el("label", "distance from the lowest, logarithmic", for_="scale-log"),
        el("div", shown, class_="linear"),
        el("div", _distances(found, distances, lowest), class_="log"),
    )


def values(state: RunState, iterations: Sequence[Iteration]) -> Html:
    """The drawing of the values alone. There is one iteration at least."""
    found, last = split(iterations)
    everything = [*found, last] if last else found
    low = min(each.value - each.error for each in everything)
    high = max(each.value + each.error for each in everything)
    margin = (high - low) * 0.06 or abs(high) * 0.01 or 1.0
    y = Linear(low - margin, high + margin, HEIGHT - BOTTOM, TOP)
    x = _across(everything)
    marks = ticks(y.low, y.high, 6)
    digits = decimals(marks)
    errors = _band(found, x, y) if len(found) > MANY else _bars(found, x, y)
    return _drawing(
        f"Convergence of {state.run}: value by iteration, from "
        f"{rounded(everything[0].value, everything[0].error)} to a lowest of "
        f"{rounded(everything[-1].lowest, everything[-1].error)}.",
        _grid([(y(mark), f"{mark:.{digits}f}") for mark in marks]),
        _iterations_axis(everything, x),
        _result(state, y),
        errors,
        el("path", d=_line([(x(each.iteration + 1), y(each.value)) for each in found]), class_="value"),
        el("path", d=_steps([(x(each.iteration + 1), y(each.lowest)) for each in found]), class_="best"),
        _dots(found, x, lambda each: y(each.value)),
        _last(last, x, y) if last else Html(),
    )


def split(iterations: Sequence[Iteration]) -> tuple[list[Iteration], Iteration | None]:
    """The iterations, and the final point if it was measured once more after them."""
    found = [each for each in iterations if not each.final]
    return found, next((each for each in iterations if each.final), None)


def _legend(state: RunState, found: Sequence[Iteration]) -> Html:
    outcome = state.outcome
    error = " ± standard error" if any(each.error for each in found) else ""
    items = [("value", f"value{error}"), ("best", "lowest so far")]
    if isinstance(outcome, RunCompleted):
        items.append(("result", f"result {with_error(outcome.value, outcome.error)}"))
    return el(
        "ul", (el("li", el("i", class_=f"stroke {kind}"), text) for kind, text in items), class_="legend"
    )


def _distances(found: Sequence[Iteration], distances: Sequence[float], lowest: float) -> Html:
    y = Log(min(distances) / 2, max(distances) * 2, HEIGHT - BOTTOM, TOP)
    x = _across(found)
    above = [each for each in found if each.value - lowest > FLOOR]
    return _drawing(
        f"Distance of each value from the lowest, {lowest:.9g}, on a logarithmic scale.",
        _grid([(y(mark), f"{mark:.0e}") for mark in y.powers()]),
        _iterations_axis(found, x),
        el(
            "path",
            d=_line([(x(each.iteration + 1), y(each.value - lowest)) for each in above]),
            class_="value",
        ),
        _dots(above, x, lambda each: y(each.value - lowest)),
    )


def _drawing(title: str, *children: Html) -> Html:
    return el(
        "svg", el("title", title), *children, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", class_="plot"
    )


def _across(found: Sequence[Iteration]) -> Linear:
    last = found[-1].iteration + 1
    return Linear(1, max(last, 2), LEFT + 12, WIDTH - RIGHT - 12)


def _grid(marks: Sequence[tuple[float, str]]) -> Html:
    return join(
        (
            el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=place, y2=place, class_="grid"),
            el("text", label, x=LEFT - 10, y=place + 4, class_="tick", text_anchor="end"),
        )
        for place, label in marks
    )


def _iterations_axis(found: Sequence[Iteration], x: Linear) -> Html:
    last = found[-1].iteration + 1
    marks = sorted({max(1, round(mark)) for mark in ticks(1, max(last, 2), 10)})
    bottom = HEIGHT - BOTTOM
    return join(
        el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, class_="axis"),
        (el("text", mark, x=x(mark), y=bottom + 18, class_="tick", text_anchor="middle") for mark in marks),
        el(
            "text",
            "iteration",
            x=(LEFT + WIDTH - RIGHT) / 2,
            y=HEIGHT - 8,
            class_="label",
            text_anchor="middle",
        ),
    )


def _bars(found: Sequence[Iteration], x: Scale, y: Scale) -> Html:
    path = [
        _bar(x(each.iteration + 1), y(each.value + each.error), y(each.value - each.error))
        for each in found
        if each.error
    ]
    return el("path", d="".join(path), class_="error") if path else Html()


def _bar(at: float, high: float, low: float) -> str:
    """An error bar with its caps."""
    return f"M{at:.1f} {high:.1f}V{low:.1f}M{at - 3:.1f} {high:.1f}h6M{at - 3:.1f} {low:.1f}h6"


def _band(found: Sequence[Iteration], x: Scale, y: Scale) -> Html:
    above = [(x(each.iteration + 1), y(each.value + each.error)) for each in found]
    below = [(x(each.iteration + 1), y(each.value - each.error)) for each in reversed(found)]
    return el("path", d=_line([*above, *below]) + "Z", class_="band")


def _dots(found: Sequence[Iteration], x: Scale, y: Callable[[Iteration], float]) -> Html:
    size = 3.2 if len(found) <= MANY else 1.6
    return el(
        "g",
        (el("circle", cx=x(each.iteration + 1), cy=y(each), r=size, data_tip=_tip(each)) for each in found),
        class_="dots",
    )


def _tip(it: Iteration) -> str:
    shots = f"\nshots so far {it.shots:,}" if it.shots else ""
    lowest = rounded(it.lowest, it.error)
    return f"iteration {it.iteration + 1}\nvalue {with_error(it.value, it.error)}\nlowest {lowest}{shots}"


def _result(state: RunState, y: Linear) -> Html:
    """The value the run ended with."""
    outcome = state.outcome
    if not isinstance(outcome, RunCompleted):
        return Html()
    place = y(outcome.value)
    return el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=place, y2=place, class_="result")


def _last(it: Iteration, x: Scale, y: Scale) -> Html:
    """The final point, measured once more."""
    at, place = x(it.iteration + 1), y(it.value)
    return join(
        el("path", d=_bar(at, y(it.value + it.error), y(it.value - it.error)), class_="error last"),
        el("path", d=f"M{at:.1f} {place - 6:.1f}l6 6l-6 6l-6 -6Z", class_="last"),
        el(
            "g",
            el(
                "circle",
                cx=at,
                cy=place,
                r=3.2,
                data_tip=f"final point, measured afresh\nvalue {with_error(it.value, it.error)}",
            ),
            class_="dots hidden",
        ),
    )


def _line(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _steps(points: Sequence[tuple[float, float]]) -> str:
    first = "M{:.1f} {:.1f}".format(*points[0])
    return first + "".join(f"H{b[0]:.1f}V{b[1]:.1f}" for a, b in pairwise(points))
