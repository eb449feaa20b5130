from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from report import scenes
from varloop.client import Run, embedded
from varloop.errors import EventError
from varloop.report import Facts, gather, page
from varloop.report.html import VOID, el, join
from varloop.report.timeline import account
from varloop.store.memory import MemoryStore
from varloop.support.numbers import with_error

OUTSIDE = re.compile(
    r"""(?:src|href|action|data|poster|srcset)\s*=|url\((?!#)|@import|https?://|//[a-z]|fetch\(|XMLHttp"""
)


def facts(run: Run) -> Facts:
    """What the store knows."""
    return gather(run.client.resources, run.id)


def html(run: Run) -> str:
    """The run's page."""
    return page(facts(run))


class Reader(HTMLParser):
    """Reads a page as strictly as no browser does.

    :ivar tips: what the marks of the drawings tell.
    :ivar text: everything that is shown.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tips: list[str] = []
        self.ids: list[str] = []
        self.policy = ""
        self.text = ""
        self.data: Any = None
        self.feed(text)
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what is opened."""
        values = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        self.tips += [values["data-tip"] or ""] if "data-tip" in values else []
        self.ids += [values["id"] or ""] if "id" in values else []
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""

    def handle_endtag(self, tag: str) -> None:
        """Demand that it is closed in order."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note what is shown, and the page's data."""
        if self.open and self.open[-1] == "script" and data.startswith("{"):
            self.data = json.loads(data)
        elif not self.open or self.open[-1] not in ("script", "style"):
            self.text += data + "\n"


SCENES = {
    "finished": scenes.finished,
    "sampled": lambda: scenes.finished(shots=100),
    "long": lambda: scenes.finished(shots=100, budget={"iterations": 500}),
    "interrupted": scenes.interrupted,
    "failed": lambda: scenes.finished(optimizer={"name": "spsa", "options": {"broken": 2}}),
    "just submitted": lambda: scenes.client().submit(scenes.spec(), pipeline="toy"),
    "one iteration": lambda: scenes.finished(budget={"iterations": 1}),
}


@pytest.mark.parametrize("scene", SCENES)
def test_every_page_is_whole_and_asks_nobody_for_anything(scene: str) -> None:
    """Whatever became of the run: all tags close, ids are unique, no address outside, and a policy that says so."""
    text = html(SCENES[scene]())
    reader = Reader(text)

    assert len(reader.ids) == len(set(reader.ids))
    drawn = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.DOTALL)
    assert OUTSIDE.findall(drawn) == []
    assert reader.policy.startswith("default-src 'none'; ")
    assert "NaN" not in drawn
    assert "nan" not in re.findall(r'\b(?:x|y|d|cx|cy|width)="([^"]*)"', drawn)


def test_the_page_has_every_value_and_call() -> None:
    """Each iteration is a mark and a row of a table, each call and each job is a bar that tells its time."""
    run = scenes.finished(shots=100)
    reader = Reader(html(run))
    found = facts(run)

    for each in run.history():
        assert any(f"value {with_error(each.value, each.error)}" in tip for tip in reader.tips)
    assert sum(tip.startswith("iteration ") for tip in reader.tips) == 6
    assert sum(tip.startswith("final point") for tip in reader.tips) == 1
    assert sum(" iteration " in tip and "\ntook" in tip for tip in reader.tips) >= len(found.calls) == 22
    assert sum(tip.startswith("job of iteration") for tip in reader.tips) >= len(found.jobs) == 7
    assert "100 shots" in " ".join(reader.tips)


def test_the_pages_data_is_in_it() -> None:
    """What the page shows can be read from it as JSON, just as `varloop report --json` prints it."""
    run = scenes.finished(shots=100)

    assert Reader(html(run)).data == msgspec.to_builtins(facts(run))


def test_provenance_is_complete() -> None:
    """Spec, digests, versions, store and hosts are on the page; digests are equal for equal runs."""
    one, two, other = (
        scenes.finished(run=name, **more) for name, more in (("a", {}), ("b", {}), ("c", {"seed": 1}))
    )
    text = Reader(html(one)).text

    for expected in (
        "real_amplitudes",
        "SHA-256 of the spec",
        facts(one).digests["result"],
        "qiskit-aer",
        "embedded",
    ):
        assert expected in text
    assert facts(one).digests == facts(two).digests
    assert facts(one).digests["spec"] != facts(other).digests["spec"]


def test_errors_are_drawn_as_bars_and_of_many_iterations_as_a_band() -> None:
    """An exact run has neither."""
    few, many, exact = (html(SCENES[name]()) for name in ("sampled", "long", "finished"))

    assert 'class="error"' in few
    assert 'class="band"' not in few
    assert 'class="band"' in many
    assert 'class="error"' not in exact


def test_an_exact_run_has_a_logarithmic_view() -> None:
    """How fast it converges is seen on a logarithmic scale; a sampled run has no such view."""
    exact = scenes.finished(budget={"iterations": 12})

    assert "logarithmic" in html(exact)
    assert "logarithmic" not in html(SCENES["sampled"]())


def test_a_pause_is_told_and_not_drawn() -> None:
    """Two hours in which the run had no process are cut from the timeline and named."""
    run = scenes.interrupted(hours=2)
    reader = Reader(html(run))

    assert "2 h 00 min nothing ran" in reader.text
    assert account(facts(run)).stopped == pytest.approx(7200, abs=1)


def test_where_the_time_went_adds_up() -> None:
    """Functions, what is between them and pauses make up the whole time, and jobs are inside execute."""
    run = scenes.interrupted()
    found, calls = account(facts(run)), facts(run).calls
    whole = calls[-1].ended - calls[0].started

    assert sum(found.functions.values()) + found.between + found.stopped == pytest.approx(whole)
    assert found.jobs == pytest.approx(0.001 * 31)
    assert found.jobs <= found.functions["execute"]


def test_a_failed_run_says_why() -> None:
    """The error, the function it came from and what to do stand at the top."""
    text = Reader(html(SCENES["failed"]())).text

    for expected in ("PermanentError in execute: ", "the toy broke as told", "What to do: do not tell it to"):
        assert expected in text


def test_a_cancelled_run_says_so() -> None:
    """The state and the reason are told, with the values it had."""
    run = scenes.client().submit(scenes.spec(), pipeline="toy")
    for _ in zip(range(13), run.watch(), strict=False):
        pass
    run.cancel("enough of it")
    run.client.host.drain()  # type: ignore[attr-defined]
    text = Reader(html(run)).text

    assert "cancelled" in text
    assert "enough of it" in text
    assert "latest value" in text


def test_nothing_in_a_run_can_break_out_of_its_page() -> None:
    """Markup in error messages, specs and reasons is shown as text, in the JSON too."""
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'"
    run = scenes.client().submit(scenes.spec(circuit={"library": evil}), pipeline="toy")
    run.cancel(evil)
    run.client.host.drain()  # type: ignore[attr-defined]
    text = html(run)

    assert "<img" not in text
    assert text.count("<script") == text.count("</script") == 2
    assert Reader(text).data["state"]["outcome"]["reason"] == evil


def test_passwords_in_the_stores_address_stay_out() -> None:
    """The page may be sent around."""

    class Elsewhere(MemoryStore):
        """A store with a password."""

        url = "s3://me:hunter22@host/bucket"

    run = scenes.client(Elsewhere()).submit(scenes.spec(), pipeline="toy")

    assert "hunter22" not in html(run)


def test_what_cannot_be_read_is_noted() -> None:
    """A corrupt template costs its part of the page, not the page."""
    client = embedded("memory:")
    spec = {"problem": {"kind": "maxcut", "edges": [[0, 1, 1.0]]}, "budget": {"iterations": 2}}
    run = client.submit(spec, run="mine")
    run.result()
    (key,) = client.resources.store.keys("templates/")
    client.resources.store.put(key, b"nonsense")

    text = Reader(html(run)).text
    assert "could not be read" in text
    assert "Best solution" in text


def test_the_compiled_circuit_is_described() -> None:
    """Qubits, depth, gates, bases, and how many jobs one compilation served."""
    client = embedded("memory:")
    spec = {
        "problem": {"kind": "energy", "observable": [["ZZ", 1.0], ["XX", 0.5]]},
        "circuit": {"library": "efficient_su2", "options": {"num_qubits": 2, "reps": 1}},
        "shots": 10,
        "budget": {"iterations": 2},
    }
    run = client.submit(spec)
    run.result()

    (template,) = facts(run).templates
    text = Reader(html(run)).text

    assert (template.qubits, template.two_qubit_gates, template.parameters) == (2, 1, 8)
    assert (sorted(template.bases), template.jobs) == (["XX", "ZZ"], 3)
    assert "3 jobs" in text
    assert template.key in text


def test_a_solution_has_its_bits_cost_and_order() -> None:
    """Each bit stands in its place, and which end is variable 0 is said."""
    run = embedded("memory:").submit(
        {
            "problem": {"kind": "maxcut", "edges": [[0, 1, 1.0], [1, 2, 1.0]]},
            "shots": 200,
            "budget": {"iterations": 3},
        }
    )
    solution = run.result().solution
    assert solution is not None
    text = html(run)

    bits = re.findall(r'<span class="bit b\d" title="variable (\d)">(\d)</span>', text)
    assert bits == [(str(k), bit) for k, bit in enumerate(solution.bits)]
    assert "Variable 0 (qubit 0) is on the left." in text


def test_parameters_have_their_names() -> None:
    """Those of the circuit, and γ and β of QAOA's layers."""
    cut = {"problem": {"kind": "maxcut", "edges": [[0, 1, 1.0], [1, 2, 1.0]], "layers": 2}}
    energy = {
        "problem": {"kind": "energy", "observable": [["Z", 1.0]]},
        "circuit": {"library": "real_amplitudes", "options": {"num_qubits": 1, "reps": 1}},
    }
    for spec, names in ((cut, ["γ[0]", "γ[1]", "β[0]", "β[1]"]), (energy, ["θ[0]", "θ[1]"])):
        run = embedded("memory:").submit({**spec, "budget": {"iterations": 2}})
        run.result()

        assert facts(run).parameters == names
        assert all(f"<td>{name}</td>" in html(run) for name in names)


def test_a_page_needs_a_run() -> None:
    """An unknown run is an error with its id."""
    with pytest.raises(EventError, match="none"):
        gather(scenes.client().resources, "none")


def test_text_is_escaped_and_markup_is_not_twice() -> None:
    """What is made by the builder stands as it is, everything else is text; absent attributes are left out."""
    made = el("p", "a < b", el("b", '"'), class_="x", data_tip='"&', hidden=None, open=True)

    assert made == '<p class="x" data-tip="&quot;&amp;" open>a &lt; b<b>&quot;</b></p>'
    assert join(made, None, ["<", 1, 2.5]) == made + "&lt;12.5"
