"""The page: its parts in order, its style and its few lines of script, all in one file."""

from __future__ import annotations

from importlib.resources import files

import msgspec

from varloop.errors import SpecError
from varloop.events import RunCancelled, RunCompleted, RunFailed
from varloop.report import sections
from varloop.report.convergence import convergence
from varloop.report.facts import Facts
from varloop.report.html import Html, el, join, raw
from varloop.report.timeline import account, anatomy, shares, timeline
from varloop.runs import why
from varloop.spec import parse, summary
from varloop.support.numbers import count, duration, stamp, with_error

__all__ = ["page"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(facts: Facts) -> str:
    """The whole page. It makes no request, and its data is in it as JSON."""
    parts = [
        sections.section(
            "convergence",
            "Convergence",
            convergence(facts.state, facts.iterations),
            sections.iterations(facts),
        ),
        sections.solution(facts),
        _time(facts),
        sections.templates(facts),
        sections.parameters(facts),
        sections.provenance(facts),
    ]
    body = join(_head(facts), el("main", sections.trouble(facts), parts), _foot(facts))
    data = msgspec.json.encode(facts).decode().replace("<", "\\u003c")
    return "<!doctype html>\n" + el(
        "html",
        el(
            "head",
            el("meta", charset="utf-8"),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("meta", name="color-scheme", content="light dark"),
            el("meta", http_equiv="Content-Security-Policy", content=POLICY),
            el("title", f"{facts.state.run} - varloop"),
            el("style", raw(_file("page.css"))),
        ),
        el(
            "body",
            body,
            el("div", id="tip", role="status", hidden=True),
            el("script", raw(data), type="application/json", id="facts"),
            el("script", raw(_file("page.js"))),
        ),
        lang="en",
    )


def _file(name: str) -> str:
    return files("varloop.report").joinpath(name).read_text("utf-8")


def _head(facts: Facts) -> Html:
    state = facts.state
    return el(
        "header",
        el("p", "varloop run", class_="kicker"),
        el("h1", state.run, el("span", _word(facts), class_=f"state {state.state}")),
        el("p", _summary(facts), class_="summary"),
        el(
            "dl",
            [el("div", el("dt", name), el("dd", value)) for name, value in _figures(facts)],
            class_="figures",
        ),
    )


def _word(facts: Facts) -> str:
    return "not ended" if facts.state.outcome is None else facts.state.state


def _summary(facts: Facts) -> str:
    pipeline = "" if facts.state.pipeline == "default" else f", pipeline {facts.state.pipeline}"
    try:
        return summary(parse(facts.spec)) + pipeline
    except SpecError:
        return f"a spec that cannot be read{pipeline}"


def _figures(facts: Facts) -> list[tuple[str, str]]:
    state, found = facts.state, []
    match state.outcome:
        case RunCompleted() as result:
            found.append(("result", with_error(result.value, result.error)))
            found.append(("ended", why(result)))
        case RunFailed(error=error):
            found.append(("ended", error))
        case RunCancelled(reason=reason):
            found.append(("ended", reason or "cancelled"))
    if not isinstance(state.outcome, RunCompleted) and state.value is not None:
        found.append(("latest value", with_error(state.value, state.error)))
    jobs = len(facts.jobs)
    found += [
        ("iterations", f"{state.iterations:,}"),
        ("jobs", f"{jobs:,}"),
        ("shots", f"{state.shots:,}" if state.shots else "none"),
    ]
    if facts.calls:
        found.append(("took", duration(facts.calls[-1].ended - facts.calls[0].started)))
    return found


def _time(facts: Facts) -> Html:
    if not facts.calls:
        return Html()
    found = account(facts)
    one = anatomy(facts)
    stopped = (
        f" Pauses of {duration(found.stopped)} in all, in which nothing ran, are left out."
        if found.stopped
        else ""
    )
    return sections.section(
        "time",
        "Where the time went",
        el("p", f"{count(len(facts.calls), 'call')} of functions, {count(len(facts.jobs), 'job')}.{stopped}"),
        shares(found),
        el("h3", "Every call and job"),
        timeline(facts),
        _zoom(),
        join(el("h3", f"An iteration of median length: number {one[0] + 1}"), one[1]) if one else None,
    )


def _zoom() -> Html:
    """Buttons for the script."""
    names = {"in": "zoom in", "out": "zoom out", "all": "all"}
    buttons = [el("button", text, type="button", id=f"zoom-{name}") for name, text in names.items()]
    return el("p", buttons, "or scroll with Ctrl or Shift held; drag to move", class_="note script")


def _foot(facts: Facts) -> Html:
    made = f"Made by varloop {facts.versions['varloop']}."
    return el("footer", f"Submitted {stamp(facts.state.submitted)}. ", made)
