"""A run that has ended is continued: from its parameters, or with its optimizer as it was left."""

from __future__ import annotations

from typing import Any

import pytest

import varloop
from varloop import MaxCut, build_spec
from varloop.client import Run, embedded
from varloop.errors import RunEnded
from varloop.spec import Budget

CUT = MaxCut(edges=[(0, 1, 1.0), (1, 2, 1.0), (2, 3, 2.0)], layers=2)


def ended(budget: int, optimizer: str = "adam", **fields: Any) -> Run:
    """A run that has ended."""
    spec = build_spec(**{"problem": CUT, "optimizer": optimizer, "budget": budget, "seed": 3, **fields})
    run = embedded("memory:").submit(spec, run="first")
    run.result()
    return run


def again(run: Run, initial: dict[str, Any], **fields: Any) -> Run:
    """Another run in the same store."""
    spec = {"problem": CUT, "optimizer": "adam", "budget": 3, "initial": initial, **fields}
    return run.client.submit(spec, run="second")


@pytest.mark.parametrize("optimizer", ["adam", "spsa", "cobyla", "l-bfgs-b"])
def test_extending_is_as_if_the_budget_had_been_larger(optimizer: str) -> None:
    """Exact: the iterations of both runs together are those of a longer one, bit for bit."""
    first = ended(4, optimizer)
    second = first.extend(3, run="second")
    second.result()
    whole = ended(7, optimizer)

    def values(run: Run) -> list[float]:
        return [each.value for each in run.history() if not each.final]

    assert second.id == "second"
    assert values(first) + values(second) == values(whole)


def test_a_run_starts_where_another_ended() -> None:
    """From the parameters of its result, with an optimizer of any kind."""
    first = ended(5)
    second = again(first, {"run": "first"}, optimizer="spsa", shots=None)
    second.result()
    center = [sum(pair) / 2 for pair in zip(*spread(second), strict=True)]

    assert center == pytest.approx(first.result().parameters)


def spread(run: Run) -> list[list[float]]:
    """The two points of the first pair that SPSA measured."""
    for event in run.client.recorded(run.id):  # type: ignore[attr-defined]
        if event is not None and event.type.endswith("circuit.encoded"):
            points: list[list[float]] = event.data.points[:2]
            return points
    raise AssertionError


def test_what_failed_or_was_cancelled_is_continued_from_its_latest_iteration() -> None:
    """There is no result, but there are parameters."""
    run = embedded("memory:").submit(
        build_spec(problem=CUT, optimizer="adam", budget=Budget(iterations=9)), run="first"
    )
    for event in run.watch():
        if event.iteration == 3:
            break
    run.cancel()
    with pytest.raises(RunEnded):
        run.result()
    second = again(run, {"run": "first", "optimizer": True})
    second.result()

    assert second.history()[0].iteration == 0
    assert second.history()[0].value < run.history()[-1].value


@pytest.mark.parametrize(
    ("initial", "fields", "fault"),
    [
        ({"run": "none"}, {}, r"initial\.run: .*knows no such run"),
        ({"run": "first"}, {"problem": MaxCut(edges=CUT.edges)}, "first has 4 parameters, the circuit has 2"),
        ({"run": "first", "optimizer": True}, {"optimizer": "spsa"}, "first has another optimizer"),
        ({"run": "second"}, {}, "run second has not ended"),
    ],
)
def test_a_run_that_does_not_fit(initial: dict[str, Any], fields: dict[str, Any], fault: str) -> None:
    """Is a fault of the spec, which names the run and what is wrong with it."""
    with pytest.raises(RunEnded, match=fault):
        again(ended(2), initial, **fields).result()


def test_l_bfgs_b_is_refused_with_shots() -> None:
    """Its line search takes noise for curvature: better nothing than a wrong minimum."""
    with pytest.raises(
        varloop.SpecError, match="l-bfgs-b expects exact values; with shots take spsa or adam"
    ):
        embedded("memory:").submit(build_spec(problem=CUT, optimizer="l-bfgs-b", shots=100))
