from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varloop.errors import SpecError
from varloop.events import Event, RunFailed
from varloop.spec import (
    MAX_ITERATIONS,
    Budget,
    CircuitSpec,
    Energy,
    Ising,
    MaxCut,
    OptimizerSpec,
    Qubo,
    RunSpec,
    digest,
    parse,
)
from varloop.wire.codec import from_json, to_json

ENERGY = {"kind": "energy", "observable": [["ZZ", 1.0], ["XI", -0.5]]}
CIRCUIT = {"library": "efficient_su2", "options": {"num_qubits": 2}}
SPEC: dict[str, Any] = {"problem": ENERGY, "circuit": CIRCUIT}


def faults(data: object, *checks: Any) -> list[str]:
    """All faults of a spec."""
    with pytest.raises(SpecError) as caught:
        parse(data, *checks)
    return list(caught.value.faults)


def test_a_small_spec_and_its_defaults() -> None:
    """A problem and a circuit are enough; the rest has defaults."""
    assert parse(SPEC) == RunSpec(
        problem=Energy(observable=[("ZZ", 1.0), ("XI", -0.5)]),
        circuit=CircuitSpec(library="efficient_su2", options={"num_qubits": 2}),
        optimizer=OptimizerSpec(name="spsa"),
        backend="aer",
        budget=Budget(iterations=100),
    )


def test_a_spec_as_people_write_it() -> None:
    """A name stands for an optimizer, a number for a budget of iterations, and 1e4 is a whole number."""
    people = {**SPEC, "optimizer": "adam", "budget": 1e2, "shots": 1e4, "seed": 3.0}

    assert parse(people) == parse(
        {
            **SPEC,
            "optimizer": {"name": "adam"},
            "budget": {"iterations": 100},
            "shots": 10_000,
            "seed": 3,
        }
    )
    edges = {"problem": {"kind": "maxcut", "edges": [[0.0, 1.0, 2]]}, "budget": {"shots": 5e5}, "shots": 1}
    assert (parse(edges).problem, parse(edges).budget.shots) == (MaxCut(edges=[(0, 1, 2.0)]), 500_000)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("shots", 1.5, "shots: Expected `int | null`, got `float`"),
        ("shots", 1e300, "shots: Expected `int | null`, got `float`"),
        ("budget", 2.5, "budget.iterations: Expected `int`, got `float`"),
        ("budget", True, "budget.iterations: Expected `int`, got `bool`"),
        ("optimizer", 5, "optimizer.name: Expected `str`, got `int`"),
        ("optimizer", ["spsa"], "optimizer: got ['spsa'], expected an object with name, options"),
    ],
)
def test_what_is_no_short_form(field: str, value: object, expected: str) -> None:
    """The field is named, and what is expected."""
    assert faults({**SPEC, field: value}) == [expected]


PROBLEMS = st.one_of(
    st.builds(
        Energy,
        observable=st.lists(st.tuples(st.text("IXYZ", min_size=2, max_size=2), st.floats(-5, 5)), min_size=1),
    ),
    st.builds(
        Qubo, terms=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(-5, 5)), min_size=1)
    ),
    st.builds(
        Ising, couplings=st.just([]), fields=st.lists(st.floats(-5, 5), min_size=1), offset=st.floats(-5, 5)
    ),
    st.builds(MaxCut, edges=st.just([(0, 1, 1.0)]), layers=st.integers(1, 4), cvar=st.floats(0.01, 1)),
)


@given(
    problem=PROBLEMS,
    initial=st.none() | st.lists(st.floats(-7, 7)),
    shots=st.none() | st.integers(1, 10**6),
    seed=st.integers(0, 2**53),
    budget=st.builds(Budget, iterations=st.integers(1, 999), deadline=st.none() | st.floats(0.1, 1e6)),
)
def test_what_is_written_is_parsed(problem: Any, **fields: Any) -> None:
    """Any valid spec comes back from plain data equal, with the same digest."""
    spec = RunSpec(problem=problem, circuit=CircuitSpec(library="real_amplitudes"), **fields)
    again = parse(msgspec.json.decode(msgspec.json.encode(spec)))

    assert again == spec
    assert digest(again) == digest(spec)


def test_the_digest_tells_specs_apart() -> None:
    """Another seed is another digest; the order of options is not."""
    first, second = ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    specs = [
        RunSpec(problem=MaxCut(edges=[(0, 1, 1.0)]), optimizer=OptimizerSpec(options=x))
        for x in (first, second)
    ]

    assert digest(specs[0]) == digest(specs[1])
    assert digest(specs[0]) != digest(msgspec.structs.replace(specs[0], seed=1))


def test_all_faults_at_once() -> None:
    """A spec with a fault in every field reports every one of them."""
    found = faults(
        {
            "problem": {"kind": "energy", "observable": [["ZA", 1.0], ["Z", 1.0]], "mean": True},
            "circuit": {"qpy": "x", "qasm": "y"},
            "initial": ["one"],
            "optimizer": {"name": 5},
            "backend": 7,
            "shots": 0,
            "seed": -1,
            "gradient": "steepest",
            "mitigation": "magic",
            "optimization_level": 4,
            "budget": {"iterations": 0, "deadline": -1.0},
            "colour": "red",
        }
    )

    named = {fault.partition(":")[0] for fault in found}
    assert named == {
        "problem.mean",
        "circuit",
        "initial[0]",
        "optimizer.name",
        "backend",
        "shots",
        "seed",
        "gradient",
        "mitigation",
        "optimization_level",
        "budget.iterations",
        "budget.deadline",
        "colour",
    }


def test_faults_of_meaning_come_with_the_others() -> None:
    """What types cannot express is reported beside what they can."""
    found = faults(
        {
            "problem": {"kind": "energy", "observable": [["ZA", 1.0], ["Z", math.inf]]},
            "circuit": {},
            "initial": [math.nan],
            "mitigation": "readout",
            "budget": {"shots": 5},
            "seed": -1,
        }
    )

    assert found == [
        "seed: Expected `int` >= 0, got -1",
        "circuit: expected one of qpy, qasm, library; got none",
        "initial: every parameter must be finite, and no larger than 1e+09 radians",
        "mitigation: readout mitigation needs shots; the run is exact",
        "budget.shots: the run is exact and uses none; set shots",
        "problem.observable[0]: 'ZA' is not a Pauli label of I, X, Y, Z",
        "problem.observable[1]: 1 qubits, the first term has 2",
        "problem.observable[1]: coefficient inf is not finite",
    ]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"problem": {"kind": "energy", "observable": []}}, "problem.observable: Expected `array` of length >= 1"),
        ({"problem": {"kind": "energy", "observable": [["", 1]]}}, "problem.observable[0]: '' is not a Pauli label"),
        ({"problem": {"kind": "sudoku"}}, "problem.kind: got 'sudoku', expected one of energy, qubo, ising, maxcut"),
        ({"problem": {"kind": ["energy"]}}, "problem.kind: got ['energy'], expected one of energy"),
        ({"problem": {}}, "problem.kind: got None, expected one of energy"),
        ({"problem": 5}, "problem: got 5, expected an object whose kind is energy, qubo, ising, maxcut"),
        ({"problem": {"kind": "qubo", "terms": [[-1, 0, 1]]}}, "problem.terms[0]: nodes must be ≥ 0"),
        ({"problem": {"kind": "maxcut", "edges": [[1, 1, 1]]}}, "problem.edges[0]: nodes must be ≥ 0 and different"),
        ({"problem": {"kind": "maxcut", "edges": [[0, 1, math.nan]]}}, "problem.edges[0]: nodes must be"),
        ({"problem": {"kind": "ising", "couplings": []}}, "problem: has neither couplings nor fields"),
        ({"problem": {"kind": "ising", "couplings": [], "fields": [math.inf]}}, "problem: every number must be"),
        ({"problem": {"kind": "qubo", "terms": [[0, 0, 1]], "offset": math.inf}}, "problem: every number must be"),
        ({"problem": {"kind": "qubo", "terms": [[0, 0, 1]], "cvar": 0}}, "problem.cvar: Expected `float` > 0"),
        ({"problem": {"kind": "qubo", "terms": [[0, 0, 1]], "layers": 0}}, "problem.layers: Expected `int` >= 1"),
        ({"circuit": None}, "circuit: missing; an energy problem needs an ansatz"),
        ({"circuit": "H"}, "circuit: got 'H', expected an object with qpy, qasm, library, options"),
        ({"optimizer": {"name": "spsa", "option": {}}}, "optimizer.option: unknown field, expected one of name"),
        ({"shots": True}, "shots: Expected `int | null`, got `bool`"),
        ({"budget": {"iterations": True}}, "budget.iterations: Expected `int`, got `bool`"),
        ({"seed": 2**53 + 1}, "seed: Expected `int` <= 9007199254740992"),
        ({"seedling": 1, "seed": -1}, "seed: Expected `int` >= 0, got -1"),
        ({"initial": [0.0, "x"]}, "initial[1]: Expected `float`, got `str`"),
        ({"gradient": "up"}, "gradient: got 'up', expected one of auto, none, parameter-shift, finite-difference"),
        ({"budget": {"deadline": math.inf}}, "budget.deadline: Expected `float` <= 1000000000.0, got inf"),
        ({"budget": {"tolerance": math.inf}}, "budget.tolerance: must be finite"),
        ({"circuits": [], "circuit": "H"}, "circuit: got 'H', expected an object with qpy, qasm, library, options"),
    ],
    ids=str,
)  # fmt: skip
def test_a_fault_is_named(change: dict[str, Any], fault: str) -> None:
    """Each fault names its field, what is there and what is expected."""
    found = faults({**SPEC, **change})

    assert any(line.startswith(fault) for line in found), found


@pytest.mark.parametrize("data", [None, 5, "spec", [], [SPEC]])
def test_what_is_no_object(data: object) -> None:
    """A spec that is not an object says what it is instead."""
    assert faults(data) == [f"spec: expected an object, got {type(data).__name__}"]


def test_checks_see_what_could_be_read() -> None:
    """A further check gets the fields that are right, without those that are not, and adds its faults."""
    seen: dict[str, Any] = {}

    def check(parts: dict[str, Any]) -> list[str]:
        seen.update(parts)
        return ["backend: no such device"]

    found = faults({**SPEC, "shots": 0, "backend": "mars"}, check)

    assert found == ["shots: Expected `int` >= 1, got 0", "backend: no such device"]
    assert "shots" not in seen
    assert (seen["backend"], seen["problem"].observable[0]) == ("mars", ("ZZ", 1.0))


def test_the_error_tells_what_to_do() -> None:
    """The message has the count, the faults and a command."""
    with pytest.raises(
        SpecError, match=r"the spec has 2 faults: .*; .* \(every field is in `varloop docs spec`"
    ):
        parse({**SPEC, "seed": -1, "shots": 0})


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**70), 2**70) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "terms", "observable", "edges", "qpy", "name", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from([field.name for field in msgspec.structs.fields(RunSpec)])
        | st.text(max_size=5)
        | st.integers(),
        JSON | st.sampled_from([ENERGY, CIRCUIT, {"kind": "maxcut", "edges": [[0, 1, 1.0]]}]),
    )
)
def test_any_plain_data_is_a_spec_or_has_faults(data: dict[Any, Any]) -> None:
    """Nothing that JSON or YAML can hold makes the parser raise anything else."""
    try:
        spec = parse({"problem": ENERGY, "circuit": CIRCUIT, **data})
    except SpecError:
        return
    assert parse(msgspec.to_builtins(spec)) == spec


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"problem": {"kind": "energy", "observable": [["ZQ", 1.0]] * 200_000}}, "terms"),
        ({"problem": {"kind": "maxcut", "edges": [[-1, 0, 1.0]] * 200_000}}, "edges"),
        ({f"field{k}": 0 for k in range(200_000)}, "fields"),
    ],
)
def test_many_faults_are_counted(changes: dict[str, Any], what: str) -> None:
    """An answer has the first ten faults of a kind and says how many more there are."""
    with pytest.raises(SpecError) as caught:
        parse(SPEC | changes)
    assert len(caught.value.faults) == 11
    assert caught.value.faults[-1] == f"and {200_000 - 10} more {what} with faults"
    assert len(str(caught.value)) < 4000


def test_a_fault_quotes_no_more_than_a_line() -> None:
    """What is wrong may be megabytes long; what is said about it is not."""
    long = "Q" * 10**6
    for changes in (
        {"problem": {"kind": "energy", "observable": [[long, 1.0]]}},
        {long: 1},
        {"backend": [long]},
    ):
        with pytest.raises(SpecError) as caught:
            parse(SPEC | changes)
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"budget": {"iterations": 10**30}}, "budget.iterations: Expected `int` <= 999999"),
        ({"budget": 10**6}, "budget.iterations: Expected `int` <= 999999"),
        ({"budget": {"shots": 10**30}, "shots": 1}, "budget.shots: Expected `int` <= 9007199254740992"),
        (
            {"initial": [0.1, 1e300]},
            "initial: every parameter must be finite, and no larger than 1e+09 radians",
        ),
        ({"problem": {"kind": "qubo", "terms": [[0, 1, 1.7e308]]}}, "problem.terms[0]: nodes must be"),
        ({"seed": "\ud800"}, "seed: holds a text with half of a surrogate pair"),
    ],
)
def test_limits_of_numbers_are_told(changes: dict[str, Any], fault: str) -> None:
    """Numbers that a run could not keep, count or calculate with are refused when the spec is read."""
    with pytest.raises(SpecError) as caught:
        parse(SPEC | changes)
    (found,) = caught.value.faults
    assert found.startswith(fault)


def test_a_run_may_have_as_many_iterations_as_can_be_resumed() -> None:
    """The largest budget's last event, the final measurement, can be read."""
    spec = parse(SPEC | {"budget": MAX_ITERATIONS})
    assert spec.budget.iterations == MAX_ITERATIONS
    failed = RunFailed(error="", detail="")
    event = Event(id="x", source="y", run="r", time=1.0, data=failed, iteration=MAX_ITERATIONS)
    assert from_json(to_json(event)).iteration == MAX_ITERATIONS
