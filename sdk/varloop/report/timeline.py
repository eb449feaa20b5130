"""Where the time went: every call of every function and every job, on one axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from varloop.app import STEPS
from varloop.journal import Call
from varloop.report.axis import Gap, Time, ticks
from varloop.report.facts import Facts, Ran
from varloop.report.html import Html, el, join
from varloop.support.numbers import count, duration

__all__ = ["Account", "account", "anatomy", "shares", "timeline"]

WIDTH = 960
LEFT, RIGHT, TOP, LANE = 112, 20, 10, 34
MOST = 6000
"""calls that one page draws"""
CUT, ROOM = 34.0, 18.0
"""width of a cut, and what its text needs"""


@dataclass(frozen=True)
class Account:
    """Seconds of a run, by what they went into."""

    functions: dict[str, float]
    jobs: float
    """inside the time of execute"""
    between: float
    """nothing was called, for moments: events on their way"""
    stopped: float
    """nothing was called for long: the run was interrupted, or waited"""


def account(facts: Facts) -> Account:
    """Where the time went."""
    functions: dict[str, float] = dict.fromkeys(_lanes(facts.calls), 0.0)
    for call in facts.calls:
        functions[call.function] += call.ended - call.started
    axis = _axis(facts.calls)
    stopped = sum(gap.end - gap.begin for gap in axis.gaps)
    covered = sum(end - begin for begin, end in Time(_spans(facts.calls), 0, 1, 0.0, 0.0).parts)
    whole = sum(end - begin for begin, end in axis.parts)
    return Account(
        functions, sum(each.job.seconds for each in facts.jobs), max(whole - covered, 0.0), stopped
    )


def _spans(calls: Iterable[Call]) -> list[tuple[float, float]]:
    return [(call.started, max(call.ended, call.started)) for call in calls]


def _axis(calls: Sequence[Call], start: float = LEFT, stop: float = WIDTH - RIGHT) -> Time:
    """Pauses longer than a tenth of the time that functions took, and than a second, are cut."""
    spans = _spans(calls)
    busy = sum(end - begin for begin, end in spans)
    return Time(spans, start, stop, max(1.0, 0.1 * busy), CUT)


def _lanes(calls: Iterable[Call]) -> list[str]:
    names = dict.fromkeys(call.function for call in calls)
    return [*(name for name in STEPS if name in names), *(name for name in names if name not in STEPS)]


def timeline(facts: Facts) -> Html:
    """All calls of a run, a lane for each function; jobs inside the calls that ran them."""
    calls = facts.calls[:MOST]
    if not calls:
        return el("p", "Nothing has been called yet.", class_="empty")
    left_out = len(facts.calls) - len(calls)
    note = (
        el("p", f"The first {MOST:,} calls; {left_out:,} more are not drawn.", class_="note")
        if left_out
        else None
    )
    axis = _axis(calls)
    jobs = [each for each in facts.jobs if each.ended <= calls[-1].ended + 1]
    return join(_drawing(f"Timeline of {count(len(calls), 'call')}.", axis, calls, jobs, "zoomable"), note)


def anatomy(facts: Facts) -> tuple[int, Html] | None:
    """The iteration of median length, from the start of its first call to the end of its last."""
    by_iteration: dict[int, list[Call]] = {}
    for call in facts.calls:
        by_iteration.setdefault(call.iteration, []).append(call)
    whole = {k: calls for k, calls in by_iteration.items() if k and len(calls) > 1}
    if len(whole) < 3:
        return None
    length = {k: max(c.ended for c in calls) - min(c.started for c in calls) for k, calls in whole.items()}
    middle = sorted(length, key=lambda k: length[k])[len(length) // 2]
    calls = whole[middle]
    jobs = [each for each in facts.jobs if each.iteration == middle]
    axis = Time([(min(c.started for c in calls), max(c.ended for c in calls))], LEFT, WIDTH - RIGHT, 0.0, 0.0)
    return middle, _drawing(f"Iteration {middle + 1}.", axis, calls, jobs, "")


def _drawing(title: str, axis: Time, calls: Sequence[Call], jobs: Sequence[Ran], more: str) -> Html:
    lanes = {name: TOP + k * LANE for k, name in enumerate(_lanes(calls))}
    height = TOP + len(lanes) * LANE + 40
    bottom = TOP + len(lanes) * LANE + 4
    moving = el(
        "g",
        [_call(call, axis, lanes[call.function], calls[0].started) for call in calls],
        [_job(job, axis, lanes.get("execute", TOP)) for job in jobs],
        class_="moving",
    )
    clip = f"clip-{more or 'one'}"
    return el(
        "svg",
        el("title", title),
        el("clipPath", el("rect", x=LEFT, y=0, width=WIDTH - RIGHT - LEFT, height=bottom), id=clip),
        [_lane(name, place) for name, place in lanes.items()],
        el("g", moving, clip_path=f"url(#{clip})"),
        el("g", _marks(axis, bottom), class_="marks"),
        el("g", _gaps(axis, bottom), class_="gaps"),
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
        class_=f"lanes {more}".strip(),
        data_left=LEFT,
        data_right=WIDTH - RIGHT,
        data_pieces=_pieces(axis),
    )


def _pieces(axis: Time) -> str:
    """What the axis is made of, for the script: [from, to] in seconds and [from, to] in places."""
    origin = axis.parts[0][0]
    return msgspec.json.encode(
        [[round(a - origin, 6), round(b - origin, 6), axis(a), axis(b)] for a, b in axis.parts]
    ).decode()


def _lane(name: str, place: float) -> Html:
    return join(
        el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=place + LANE - 3, y2=place + LANE - 3, class_="grid"),
        el("text", name, x=LEFT - 12, y=place + 20, class_="lane", text_anchor="end"),
    )


def _call(call: Call, axis: Time, place: float, origin: float) -> Html:
    where = f"\nin {call.host}" if call.host else ""
    tip = (
        f"{call.function}, iteration {call.iteration + 1}\ntook {duration(call.ended - call.started)}\n"
        f"began after {duration(call.started - origin)}{where}"
    )
    return _span(axis, call, place + 5, 22.0, _colour(call.function), tip)


def _job(ran: Ran, axis: Time, place: float) -> Html:
    job, cost = ran.job, ran.cost
    shots = f", {cost.shots:,} shots" if cost.shots else ", exact"
    tip = (
        f"job of iteration {ran.iteration + 1} on {job.backend}\ntook {duration(job.seconds)}\n"
        f"{count(cost.circuits, 'circuit')} in {count(job.rows, 'row')}{shots}"
    )
    return _span(axis, ran, place + 12, 8.0, "job", tip)


def _span(axis: Time, ran: Call | Ran, y: float, height: float, kind: str, tip: str) -> Html:
    """From when it began to when it ended, wide enough to be seen."""
    begin, end = axis(ran.started), axis(ran.ended)
    return el(
        "rect", x=begin, y=float(y), width=max(end - begin, 0.6), height=height, class_=kind, data_tip=tip
    )


def _colour(function: str) -> str:
    """Class of what belongs to a function."""
    return f"f-{function if function in STEPS else 'other'}"


def _marks(axis: Time, bottom: float) -> Html:
    """Round times: since the first call, and after a gap since its end."""
    length = sum(end - begin for begin, end in axis.parts)
    shown: list[Html] = []
    place_before = -100.0
    for begin, end in axis.parts:
        many = max(2, round(10 * (end - begin) / length)) if length else 2
        for mark in ticks(0.0, end - begin, many):
            place = axis(begin + mark)
            if place - place_before < 64:
                continue
            place_before = place
            since = "+" if begin > axis.parts[0][0] else ""
            label = since + duration(mark) if mark else "0" if not since else ""
            shown.append(el("text", label, x=place, y=bottom + 20, class_="tick", text_anchor="middle"))
            shown.append(el("line", x1=place, x2=place, y1=bottom - 4, y2=bottom + 4, class_="axis"))
    return join(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, class_="axis"), shown)


def _gaps(axis: Time, bottom: float) -> Html:
    return join(_gap(axis, gap, bottom) for gap in axis.gaps)


def _gap(axis: Time, gap: Gap, bottom: float) -> Html:
    """A cut, with how long nothing ran where there is room to say it."""
    said = f"{duration(gap.end - gap.begin)} nothing ran"
    place = axis(gap.begin)
    where = f"translate({place + axis.cut / 2 + 4:.1f} {bottom / 2:.1f}) rotate(-90)"
    text = el("text", said, transform=where, text_anchor="middle", class_="tick")
    return el(
        "g",
        el("rect", x=place + axis.cut * 0.12, y=0, width=axis.cut * 0.76, height=bottom, data_tip=said),
        text if axis.cut >= ROOM else None,
        class_="gap",
    )


def shares(found: Account) -> Html:
    """A bar of where the time went, and its legend."""
    execute = found.functions.get("execute", 0.0)
    parts = [
        ("job", "jobs on the backend", min(found.jobs, execute)),
        ("f-execute", "execute, around its jobs", max(execute - found.jobs, 0.0)),
        *((_colour(name), name, seconds) for name, seconds in found.functions.items() if name != "execute"),
        ("between", "between calls", found.between),
    ]
    whole = sum(seconds for _, _, seconds in parts) or 1.0
    place, drawn = 0.0, []
    for kind, name, seconds in parts:
        width = WIDTH * seconds / whole
        tip = f"{name}\n{duration(seconds)}, {100 * seconds / whole:.1f} %"
        drawn.append(el("rect", x=place, y=0, width=width, height=26, class_=kind, data_tip=tip))
        place += width
    bar = el(
        "svg",
        el("title", "Shares of the run's time."),
        drawn,
        viewBox=f"0 0 {WIDTH} 26",
        preserveAspectRatio="none",
        role="img",
        class_="bar",
    )
    return join(bar, el("ul", (_entry(*part, whole) for part in parts if part[2]), class_="legend"))


def _entry(kind: str, name: str, seconds: float, whole: float) -> Html:
    """A part in the legend."""
    share = f" {100 * seconds / whole:.1f} %"
    return el("li", el("i", class_=kind), f"{name} ", el("b", duration(seconds)), share)
