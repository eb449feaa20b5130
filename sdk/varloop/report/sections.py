"""The parts of the page that are words and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from varloop.events import Provenance, RunCompleted, RunFailed, Solution
from varloop.report.convergence import split
from varloop.report.facts import Facts, TemplateFacts
from varloop.report.html import Child, Html, el, join
from varloop.support.numbers import count, fixed, rounded, share, stamp, with_error

__all__ = ["iterations", "parameters", "provenance", "section", "solution", "templates", "trouble"]

ROWS = 400
"""rows of a table; of more, every few are shown"""
MANY_BASES = 60


def section(name: str, title: str, *children: Child) -> Html:
    """A part of the page, with a link to it."""
    return el("section", el("h2", title), *children, id=name)


def table(heads: Sequence[str], rows: Iterable[Sequence[Child]], *, caption: str = "") -> Html:
    """A table; numbers are on the right."""
    return el(
        "div",
        el(
            "table",
            el("caption", caption) if caption else None,
            el("thead", el("tr", [el("th", head, scope="col") for head in heads])),
            el("tbody", [el("tr", [el("td", cell) for cell in row]) for row in rows]),
        ),
        class_="scroll",
    )


def facts_list(rows: Iterable[tuple[str, Child]]) -> Html:
    """Names and values."""
    return el("dl", [el("div", el("dt", name), el("dd", value)) for name, value in rows], class_="facts")


def trouble(facts: Facts) -> Html:
    """Why the run failed, and what could not be read."""
    found: list[Html] = []
    if isinstance(facts.state.outcome, RunFailed):
        failed = facts.state.outcome
        where = f" in {failed.function}" if failed.function else ""
        found.append(el("p", el("b", f"{failed.error}{where}: "), failed.detail))
        found.append(el("ul", [el("li", fault) for fault in failed.faults]))
        found.append(el("p", f"What to do: {failed.hint}") if failed.hint else Html())
    found += [el("p", note) for note in facts.notes]
    return el("section", *found, class_="trouble", role="alert") if found else Html()


def iterations(facts: Facts) -> Html:
    """The numbers of the drawing."""
    found, last = split(facts.iterations)
    if not found:
        return Html()
    every = -(-len(found) // ROWS)
    shown = [each for each in found if each.iteration % every == 0 or each is found[-1]]
    shown += [last] if last else []
    left_out = f", every {every}th of {len(found):,}" if every > 1 else ""
    rows = [
        (
            "final" if each.final else str(each.iteration + 1),
            rounded(each.value, each.error),
            with_error(each.value, each.error).partition("± ")[2] or ("0" if each.shots else "exact"),
            rounded(each.lowest, each.error),
            f"{each.shots:,}",
        )
        for each in shown
    ]
    return el(
        "details",
        el("summary", f"As a table{left_out}"),
        el("p", _final(facts), class_="note"),
        table(("iteration", "value", "standard error", "lowest so far", "shots so far"), rows),
    )


def _final(facts: Facts) -> str:
    """What the rows are, and what the last one may be."""
    text = "The value of an iteration is the lowest of the points it measured."
    if split(facts.iterations)[1] is not None:
        text += (
            " The last row is the final measurement: with shots the lowest of noisy values is biased, so the last and the "
            "lowest points are measured afresh, once to select one of them and once more for its value."
        )
    return text


def solution(facts: Facts) -> Html:
    """The best assignment of a binary problem, with its quality and its bit order."""
    found: Solution | None = None
    if isinstance(facts.state.outcome, RunCompleted):
        found = facts.state.outcome.solution
    found = found or next((each.solution for each in reversed(facts.iterations) if each.solution), None)
    if found is None:
        return Html()
    bits = [el("span", bit, class_=f"bit b{bit}", title=f"variable {k}") for k, bit in enumerate(found.bits)]
    ones = [str(k) for k, bit in enumerate(found.bits) if bit == "1"]
    return section(
        "solution",
        "Best solution",
        el("p", bits, class_="bits"),
        el("p", "Variable 0 (qubit 0) is on the left.", class_="note"),
        facts_list(
            [
                ("cost", f"{found.cost:g}"),
                ("share of the samples", share(found.probability)),
                ("variables that are 1", ", ".join(ones) or "none"),
            ]
        ),
    )


def templates(facts: Facts) -> Html:
    """The compiled circuits."""
    if not facts.templates:
        return Html()
    return section("circuits", "Compiled circuit", [_template(each) for each in facts.templates])


def _template(found: TemplateFacts) -> Html:
    modes = {"expectation": "exact energy", "distribution": "exact probabilities", "counts": "shots"}
    gates = ", ".join(
        f"{name} {number}" for name, number in sorted(found.gates.items(), key=lambda each: -each[1])
    )
    shown = found.bases[:MANY_BASES]
    more = f" and {len(found.bases) - len(shown)} more" if len(found.bases) > len(shown) else ""
    rows: list[tuple[str, Child]] = [
        ("qubits", str(found.qubits)),
        ("depth", str(found.depth)),
        ("two-qubit gates", str(found.two_qubit_gates)),
        ("parameters", f"{found.parameters}, in {count(found.angles, 'angle')}"),
        ("measured by", modes.get(found.mode, found.mode)),
        ("in the store", f"{found.bytes / 1024:.1f} KiB"),
        ("compiled once for", count(found.jobs, "job")),
    ]
    return join(
        facts_list(rows),
        facts_list(
            [
                ("gates", gates),
                *([("measurement bases", el("code", "  ".join(shown) + more))] if shown else []),
                ("key", el("code", found.key)),
            ]
        ),
    )


def parameters(facts: Facts) -> Html:
    """The final parameters, as bars about zero."""
    outcome = facts.state.outcome
    if not isinstance(outcome, RunCompleted):
        return Html()
    values = outcome.parameters
    known = facts.parameters if len(facts.parameters) == len(values) else None
    names = known or [str(k) for k in range(len(values))]
    most = max([0.05, *map(abs, values)])
    rows = []
    for name, value in zip(names[:ROWS], values, strict=False):
        width = 100 * abs(value) / most
        start = 100.0 if value >= 0 else 100 - width
        bar = el(
            "svg",
            el("line", x1=100, x2=100, y1=0, y2=14, class_="axis"),
            el("rect", x=start, y=2, width=width, height=10, class_="value"),
            viewBox="0 0 200 14",
            aria_hidden="true",
            class_="spark",
        )
        rows.append((name, fixed(value, 6), bar))
    more = f" The first {ROWS} of {len(values)}." if len(values) > ROWS else ""
    return section(
        "parameters",
        "Final parameters",
        el(
            "details",
            el("summary", f"{count(len(values), 'parameter')}, in the circuit's order, radians.{more}"),
            table(("parameter", "value", ""), rows),
            open=len(values) <= 16,
        ),
    )


def provenance(facts: Facts) -> Html:
    """What was asked for, what proves what came of it, and with what it was made."""
    state = facts.state
    rows: list[tuple[str, Child]] = [
        ("run", el("code", state.run)),
        ("submitted", stamp(state.submitted)),
        *([("ended", stamp(facts.ended))] if facts.ended else []),
        *((f"SHA-256 of the {name}", el("code", text)) for name, text in facts.digests.items()),
        ("store", el("code", facts.store)),
        ("hosts", ", ".join(sorted({call.host for call in facts.calls if call.host})) or "unknown"),
        *_made_with(facts.provenance),
        ("this page by", ", ".join(f"{name} {version}" for name, version in facts.versions.items())),
    ]
    spec = yaml.safe_dump(
        _shortened(facts.spec), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
    return section(
        "provenance",
        "Provenance",
        facts_list(rows),
        el(
            "p",
            "The same spec gives the same result, bit for bit, on a simulator; the digests tell.",
            class_="note",
        ),
        el("details", el("summary", "Run spec, as YAML"), el("pre", spec)),
    )


def _made_with(provenance: Provenance | None) -> list[tuple[str, Child]]:
    """Versions and the device's calibration, as recorded with the run."""
    if provenance is None:
        return []
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions.items())
    rows: list[tuple[str, Child]] = [("compiled by", versions)]
    if provenance.device:
        numbers = [
            f"{what}: " + ", ".join(f"{name} {number:.3g}" for name, number in each.items())
            for what, each in provenance.device.items()
        ]
        listed = el("details", el("summary", provenance.calibration), el("pre", "\n".join(numbers)))
        rows.append(("calibration", listed))
    return rows


def _shortened(node: Any) -> Any:
    """Plain data with very long texts, such as circuits, cut."""
    if isinstance(node, dict):
        return {name: _shortened(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_shortened(value) for value in node]
    if isinstance(node, str) and len(node) > 2000:
        return f"{node[:200]}… ({len(node):,} characters; the page's data has all of them)"
    return node
