"""Data out: what a run measured, as rows, as CSV, as a table of pandas."""

from __future__ import annotations

import csv
import io
import sys
import types
from typing import Any

import pytest

import varloop
from varloop import Iteration, MaxCut
from varloop.client import Run, embedded
from varloop.errors import UsageError
from varloop.runs import History


def gradients() -> Run:
    """An exact run with gradients and named parameters."""
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter

    circuit = QuantumCircuit(2)
    circuit.ry(Parameter("b"), 0)
    circuit.ry(Parameter("a") * 2, 1)
    spec = varloop.build_spec(
        circuit=circuit, observable=[("ZZ", 1.0)], optimizer="adam", budget=3, initial=[0.2, 0.7]
    )
    run = embedded("memory:").submit(spec)
    run.result()
    return run


def test_every_iteration_has_its_point_and_its_gradient() -> None:
    """Exact: value = cos 2a · cos b, and the gradient is its derivative at the parameters of the same row."""
    import math

    history = gradients().history()

    assert history.names == ["a", "b"]
    for each in history[:-1]:
        a, b = each.parameters
        assert each.value == pytest.approx(math.cos(2 * a) * math.cos(b))
        assert each.gradient == pytest.approx(
            [-2 * math.sin(2 * a) * math.cos(b), -math.cos(2 * a) * math.sin(b)]
        )
        assert each.gradient_errors == [0.0, 0.0]
    assert history[0].parameters == [0.2, 0.7]


def test_rows_have_the_same_columns() -> None:
    """Parameters and gradients by name; what was not measured in an iteration is None."""
    rows = gradients().history().rows()

    assert list(rows[0]) == [
        *("iteration", "final", "value", "error", "lowest", "shots"),
        *("parameter a", "parameter b", "gradient a", "gradient b", "gradient error a", "gradient error b"),
    ]
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    assert rows[0]["parameter a"] == 0.2
    assert (rows[-1]["final"], rows[-1]["gradient a"]) == (True, None)


def test_rows_of_a_binary_problem() -> None:
    """The best solution so far is in two columns."""
    spec = varloop.build_spec(problem=MaxCut(edges=[(0, 1, 1.0), (1, 2, 1.0)]), shots=50, budget=2)
    run = embedded("memory:").submit(spec)
    result = run.result()
    rows = run.history().rows()

    assert result.solution is not None
    assert (rows[-1]["bits"], rows[-1]["cost"]) == (result.solution.bits, result.solution.cost)
    assert (rows[-1]["value"], rows[-1]["error"]) == (result.value, result.error)
    assert {"parameter γ[0]", "parameter β[0]"} <= rows[0].keys()


def test_csv_holds_every_number_in_full() -> None:
    """What is read back from CSV is what was measured, bit for bit."""
    history = gradients().history()
    read = list(csv.DictReader(io.StringIO(history.to_csv())))

    assert [float(row["value"]) for row in read] == [each.value for each in history]
    assert [float(row["parameter b"]) for row in read] == [each.parameters[1] for each in history]
    assert History().to_csv() == ""


def test_parameters_without_names_have_numbers() -> None:
    """A pipeline of one's own may report iterations without telling names."""
    iteration = Iteration(iteration=0, value=1.0, error=0.1, lowest=1.0, parameters=[0.5])

    assert History([iteration]).rows()[0]["parameter 0"] == 0.5


def test_a_table_of_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """If pandas is there it makes a table of the rows; if not, the error says how to get it."""
    pandas: Any = types.ModuleType("pandas")
    pandas.DataFrame = lambda rows: ("table", rows)
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    history = gradients().history()
    assert history.to_pandas() == ("table", history.rows())

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"pandas is not installed \(pip install pandas\)"):
        history.to_pandas()


def test_outcomes_are_those_of_the_result() -> None:
    """With shots: the counts at its parameters, in each basis, of which the value and its error are made."""
    spec = varloop.build_spec(
        circuit=varloop.CircuitSpec(library="real_amplitudes", options={"num_qubits": 2, "reps": 1}),
        observable=[("ZI", 1.0), ("XX", 0.5)],
        shots=200,
        budget=3,
    )
    run = embedded("memory:").submit(spec)
    assert run.outcomes() == {}
    result = run.result()
    outcomes = run.outcomes()
    means = {
        basis: sum(
            count * (-1) ** sum(bit == "1" for bit, letter in zip(bits, label, strict=True) if letter != "I")
            for bits, count in counts.items()
        )
        / sum(counts.values())
        for basis, counts in outcomes.items()
        for label in ("ZI", "XX")
        if all(letter in ("I", other) for letter, other in zip(label, basis, strict=True))
    }

    assert all(sum(counts.values()) == 200 for counts in outcomes.values())
    assert sum(
        weight * mean
        for weight, mean in zip(
            (1.0, 0.5), (means[basis] for basis in sorted(means, reverse=True)), strict=True
        )
    ) == pytest.approx(result.value)
    (first, *_) = outcomes.values()
    assert list(first.values()) == sorted(first.values(), reverse=True)
    assert all(len(each) == 1 for each in run.outcomes(most=1).values())


def test_outcomes_of_an_exact_run() -> None:
    """Probabilities of a binary problem's assignments; of an energy, which is not sampled, nothing."""
    run = embedded("memory:").submit(varloop.build_spec(problem=MaxCut(edges=[(0, 1, 1.0)]), budget=3))
    result = run.result()
    (outcomes,) = run.outcomes().values()

    assert sum(outcomes.values()) == pytest.approx(1.0)
    assert -sum(share for bits, share in outcomes.items() if bits in ("01", "10")) == pytest.approx(
        result.value
    )
    assert gradients().outcomes() == {}


def test_a_spec_is_saved_and_loaded(tmp_path: Any) -> None:
    """What is loaded is what was saved; what cannot be read is told by name."""
    spec = varloop.build_spec(problem=MaxCut(edges=[(0, 1, 1.5)]), shots=50, budget=2)
    spec.save(tmp_path / "spec.json")

    assert varloop.RunSpec.load(tmp_path / "spec.json") == spec
    for damage in (None, b"{", b"\xff"):
        if damage is not None:
            (tmp_path / "bad.json").write_bytes(damage)
        with pytest.raises(UsageError, match=r"no spec can be read from .*bad\.json"):
            varloop.RunSpec.load(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text('{"shots": 0}')
    with pytest.raises(varloop.SpecError, match="2 faults"):
        varloop.RunSpec.load(tmp_path / "bad.json")


def test_a_check_tells_what_the_run_uses() -> None:
    """The shots that are foretold are those that are used; a spec with faults is refused with all of them."""
    fields: dict[str, Any] = {"problem": MaxCut(edges=[(0, 1, 1.0), (1, 2, 1.0)]), "shots": 50, "budget": 4}
    report = varloop.check(**fields)

    assert report == varloop.check(varloop.build_spec(**fields))
    assert report.total_shots == embedded("memory:").submit(varloop.build_spec(**fields)).result().shots
    with pytest.raises(varloop.SpecError):
        varloop.check(**{**fields, "backend": "nowhere"})
