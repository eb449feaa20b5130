"""Any plain data is a sound spec or a SpecError with its faults, in bounded time; and a sound spec's run ends well."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.circuit import Parameter, ParameterExpression, QuantumCircuit

import varloop
from varloop import errors, optimizers
from varloop.errors import SpecError
from varloop.events import RunCompleted, RunFailed
from varloop.quantum import check
from varloop.spec import RunSpec, parse
from varloop.testing import trial

BINARY: dict[str, Any] = {"layers": 1, "cvar": 0.5}
PROBLEMS: list[dict[str, Any]] = [
    {"kind": "energy", "observable": [["ZZ", 1.0], ["XI", -0.5]]},
    {"kind": "qubo", "terms": [[0, 1, 1.0], [1, 1, -2.0]], "offset": 1.0, **BINARY},
    {"kind": "ising", "couplings": [[0, 1, 1.0]], "fields": [0.5, 0.25], "offset": 1.0, **BINARY},
    {"kind": "maxcut", "edges": [[0, 1, 1.0], [1, 2, 2.0]], **BINARY},
]
CIRCUIT: dict[str, Any] = {"library": "real_amplitudes", "options": {"num_qubits": 2, "reps": 1}}
SPECS = [
    {
        "problem": problem,
        "circuit": CIRCUIT if problem["kind"] == "energy" else None,
        "initial": [0.1] * (4 if problem["kind"] == "energy" else 2),
        "optimizer": {
            "name": "spsa",
            "options": {"first_step": 0.2, "calibration": 2, "learning_rate": None},
        },
        "backend": "aer",
        "shots": 10,
        "seed": 3,
        "gradient": "auto",
        "mitigation": "none",
        "optimization_level": 1,
        "budget": {"iterations": 2, "shots": 10**4, "deadline": 1e6, "tolerance": 1e-9},
    }
    for problem in PROBLEMS
]
NUMBERS = [
    *(0, 1, -1, 2, 63, 64, 65, 10**6, 2**31, 2**53, 2**53 + 1, 2**64, 10**30, 10**400, -(10**400)),
    *(0.0, -0.0, 0.5, 1e-320, 1e-100, 1e12, 1e100, 1.7e308, -1.7e308, math.nan, math.inf, -math.inf),
]
OTHERS: list[Any] = [
    *(None, True, False, "", "x", "Z", "ZZ", "Z" * 70, "ZQ", "\ud800", "\x1b[2J", "9" * 5000),
    *([], {}, [[]], [None], [1, 2], [1, 2, 3], [["ZZ", 1]], {"": 0}, {"name": "adam"}, {"kind": "qubo"}),
    [[[[[[[[]]]]]]]],
]


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to everything in plain data."""
    if path:
        yield path
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def put(data: Any, path: tuple[Any, ...], value: Any) -> None:
    """Replace what is at a path, if it is still there."""
    for key in path[:-1]:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(data, dict) or (isinstance(data, list) and path[-1] < len(data)):
        data[path[-1]] = value


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """A sound spec, some of whose values are replaced by unfriendly ones."""
    data = copy.deepcopy(draw(st.sampled_from(SPECS)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(data))))
        put(data, path, copy.deepcopy(draw(st.sampled_from(NUMBERS) | st.sampled_from(OTHERS))))
    return data


PLAIN = st.recursive(
    st.sampled_from([*NUMBERS, *OTHERS[:12]]) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def sound(data: Any) -> RunSpec | SpecError:
    """What varloop's own steps make of some data."""
    try:
        return parse(data, optimizers.faults, check.faults)
    except SpecError as error:
        return error


@settings(deadline=5000, max_examples=600, derandomize=True, database=None)
@given(data=specs() | PLAIN | st.fixed_dictionaries({"problem": PLAIN, "circuit": PLAIN, "budget": PLAIN}))
def test_any_data_is_a_spec_or_a_spec_error(data: Any) -> None:
    """No other exception and no warning, whatever is where; the faults are few and short."""
    found = sound(data)
    if isinstance(found, SpecError):
        assert 0 < len(found.faults) <= SpecError.TOLD + 1
        assert all(0 < len(fault) <= 2 * SpecError.LONGEST for fault in found.faults)
        assert found.detail.encode()


@settings(deadline=20_000, max_examples=120, derandomize=True, database=None)
@given(data=specs())
def test_a_sound_spec_has_a_run_that_ends(data: dict[str, Any]) -> None:
    """A spec without faults runs to a result, or to an error of varloop's own that says what is wrong."""
    spec = sound(data)
    if isinstance(spec, SpecError) or spec.budget.iterations > 10:
        return
    end = trial(data).end.data
    assert isinstance(end, RunCompleted | RunFailed)
    if isinstance(end, RunFailed):
        assert hasattr(errors, end.error), end.detail
    else:
        assert math.isfinite(end.value)
        assert math.isfinite(end.error)


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("size", [1e-310, 1e-101, 1e-99, 1e99, 1e101, 1.7e308])
@pytest.mark.parametrize("optimizer", ["spsa", "l-bfgs-b", "cobyla", "adam"])
def test_numbers_at_the_edge(kind: int, size: float, optimizer: str) -> None:
    """A problem times any constant is refused with the field, or solved."""
    data = copy.deepcopy(SPECS[kind]) | {"optimizer": optimizer, "shots": None, "budget": 3, "initial": None}
    problem = data["problem"]
    for name in problem.keys() & {"observable", "terms", "couplings", "edges"}:
        problem[name] = [[*head, weight * size] for *head, weight in problem[name]]
    if "fields" in problem:
        problem["fields"] = [size, -size]
    end = trial(data).end.data
    if isinstance(end, RunFailed):
        assert not 1e-100 <= size <= 1e100 or optimizer == "adam", end.detail
        assert end.error in ("SpecError", "PermanentError"), end.detail
    else:
        assert math.isfinite(end.value)


def half(t: Parameter) -> ParameterExpression:
    """One half but at zero, where it is none."""
    return t / (2 * t)


@pytest.mark.parametrize(
    ("angle", "start"),
    [(half, 0.0), (Parameter.log, -1.0), (Parameter.log, 0.0), (Parameter.arccos, 2.0), (Parameter.tan, 1e9)],
)
@pytest.mark.parametrize("optimizer", ["cobyla", "adam"])
def test_angles_without_a_value(angle: Any, start: float, optimizer: str) -> None:
    """An expression that has no real value at a point is an error of the circuit, never a bug; any other one runs."""
    circuit, t = QuantumCircuit(1), Parameter("t")
    circuit.ry(angle(t), 0)
    problem = varloop.Energy(observable=[("Z", 1.0)])
    spec = varloop.build_spec(
        circuit=circuit, problem=problem, initial=[start], optimizer=optimizer, budget=2
    )
    end = trial(spec).end.data
    if isinstance(end, RunFailed):
        assert end.error == "CircuitError", end.detail
        assert "no real value at" in end.detail or "is not finite" in end.detail
    else:
        assert math.isfinite(end.value)


def test_the_sign_of_a_parameter() -> None:
    """An expression that has no derivative everywhere is run, or refused as the circuit's fault."""
    circuit, t = QuantumCircuit(1), Parameter("t")
    circuit.ry(t.sign(), 0)
    spec = varloop.build_spec(circuit=circuit, observable="Z", initial=[0.5], optimizer="cobyla", budget=2)
    end = trial(spec).end.data
    assert isinstance(end, RunCompleted) or end.error in ("CircuitError", "SpecError"), end.detail
