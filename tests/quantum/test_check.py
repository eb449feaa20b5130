from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp, Statevector

from quantum.backend_contract import RING, backends
from varloop.cli.check import rows
from varloop.errors import MissingExtra, SpecError
from varloop.quantum import check
from varloop.quantum.backends import Backends
from varloop.quantum.circuits import spec_of
from varloop.spec import Budget, CircuitSpec, Energy, MaxCut, OptimizerSpec, RunSpec
from varloop.testing import trial

BELL = Energy(observable=[("ZZ", 1.0), ("XX", -0.5), ("II", 2.0)])
SU2 = CircuitSpec(library="efficient_su2", options={"num_qubits": 2, "reps": 1})
LINE = MaxCut(edges=[(i, i + 1, 1.0) for i in range(3)])


def faults(**parts: Any) -> list[str]:
    """Faults of a sound spec with these fields."""
    return check.faults(msgspec.structs.asdict(RunSpec(problem=BELL, circuit=SU2)) | parts)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"initial": [0.0] * 8, "shots": 100, "mitigation": "readout", "gradient": "parameter-shift"},
        {"problem": RING, "circuit": None},
        {"problem": MaxCut(edges=RING.edges, cvar=0.5), "circuit": None, "gradient": "spsa"},
        {"backend": "aer:fake_torino"},
    ],
)
def test_a_sound_spec_has_no_faults(parts: dict[str, Any]) -> None:
    """Nothing is found where nothing is wrong."""
    assert faults(**parts) == []


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ({"circuit": CircuitSpec(qpy="AAAA")}, "circuit: not zlib of QPY"),
        ({"circuit": CircuitSpec(library="nothing_like_it")}, "circuit: .*'nothing_like_it'"),
        (
            {"circuit": CircuitSpec(library="efficient_su2", options={"num_qubits": 3})},
            "circuit: has 3 qubits, the problem acts on 2",
        ),
        ({"initial": [0.1] * 7}, "initial: has 7 numbers, the circuit has 8 parameters"),
        ({"backend": "nowhere"}, "backend: unknown 'nowhere', expected aer or aer:fake_NAME"),
        (
            {"problem": Energy(observable=[("II", 1.0)])},
            "problem: is a constant, there is nothing to minimise",
        ),
        ({"problem": Energy(observable=[("ZZ", 0.0), ("II", 1.0)])}, "problem: is a constant"),
        (
            {"problem": MaxCut(edges=RING.edges, cvar=0.5), "circuit": None, "mitigation": "readout"},
            "mitigation: readout mitigation corrects expectation values; this objective is a CVaR",
        ),
        (
            {"problem": MaxCut(edges=RING.edges, cvar=0.5), "circuit": None, "gradient": "parameter-shift"},
            "gradient: parameter-shift differentiates expectation values",
        ),
    ],
)
def test_each_fault_is_found(parts: dict[str, Any], fault: str) -> None:
    """One thing wrong gives one fault, which names the field, what it is and what it should be."""
    found = faults(**parts)
    assert len(found) == 1, found
    assert re.match(fault, found[0]), found


def test_a_circuit_without_parameters_is_a_fault() -> None:
    """Without parameters there is nothing to optimise."""
    circuit = QuantumCircuit(2)
    circuit.h(0)
    found = faults(circuit=spec_of(circuit), gradient="parameter-shift")
    assert found == ["circuit: has no parameters, there is nothing to optimise"]


def test_a_gradient_without_a_rule_is_a_fault() -> None:
    """Parameter-shift needs a rule, and a derivative, for every angle."""
    circuit, t = QuantumCircuit(2), Parameter("t")
    circuit.rx(t.sign(), 0)
    (found,) = faults(circuit=spec_of(circuit), gradient="parameter-shift")
    assert found == "gradient: parameter-shift has no rule for 1 of the angles; use auto"


def test_rotosolve_where_it_would_not_find_the_minimum() -> None:
    """Its assumption is checked: parameters that several gates share, and CVaR objectives, are refused."""
    rotosolve = OptimizerSpec(name="rotosolve")

    assert faults(optimizer=rotosolve) == []
    (shared,) = faults(problem=RING, circuit=None, optimizer=rotosolve)
    assert shared == (
        "optimizer.name: rotosolve needs each parameter to be the angle of one rotation, unscaled; "
        "cost[0], mixer[0]: not so; expected another optimizer"
    )
    tail = MaxCut(edges=[(0, 1, 1.0)], cvar=0.5)
    (cvar,) = faults(problem=tail, circuit=SU2, optimizer=rotosolve)
    assert cvar.endswith("this objective is a CVaR")


def test_many_parameters_that_rotosolve_cannot_turn_are_counted() -> None:
    """A fault stays one line."""
    deep = MaxCut(edges=RING.edges, layers=9)
    (found,) = faults(problem=deep, circuit=None, optimizer=OptimizerSpec(name="rotosolve"))
    assert "unscaled; cost[0], cost[1], cost[2] and 15 more: not so" in found


def test_all_faults_are_found_at_once() -> None:
    """One fault does not hide the next."""
    found = faults(
        backend="nowhere", circuit=CircuitSpec(library="efficient_su2", options={"num_qubits": 4}), initial=[]
    )
    assert [fault.split(":")[0] for fault in found] == ["backend", "circuit", "initial"]


@pytest.mark.parametrize(
    ("size", "parts", "fault"),
    [
        (29, {}, "problem: acts on 29 qubits, exact probabilities on aer allow 16"),
        (17, {}, "problem: acts on 17 qubits, exact probabilities on aer allow 16; set shots for more"),
        (29, {"shots": 10}, "problem: acts on 29 qubits, shots on aer allow 28"),
        (
            11,
            {"backend": "aer:fake_torino"},
            "problem: acts on 11 qubits, exact probabilities on aer:fake_torino allow 10; set shots for more",
        ),
        (10**9, {"shots": 10}, f"problem: acts on {10**9} qubits, shots on aer allow 28"),
    ],
)
def test_too_many_qubits_are_found_before_anything_is_built(
    size: int, parts: dict[str, Any], fault: str
) -> None:
    """A problem that no memory could hold is refused by its numbers alone, and told to use shots where that helps."""
    numbers = f"; numbers start at 0, and only 2 up to {size - 1} are in use: number them 0 to 1"
    assert faults(problem=MaxCut(edges=[(0, size - 1, 1.0)]), circuit=None, **parts) == [fault + numbers]
    chained = MaxCut(edges=[(k, k + 1, 1.0) for k in range(28)])
    (found,) = faults(problem=chained, circuit=None, shots=10)
    assert found == "problem: acts on 29 qubits, shots on aer allow 28"


def test_an_energy_too_large_for_exact_values() -> None:
    """Energies have a limit of their own."""
    found = faults(problem=Energy(observable=[("Z" * 29, 1.0)]))
    assert found == ["problem: acts on 29 qubits, exact values on aer allow 28"]


def test_a_fault_of_the_problem_does_not_hide_others() -> None:
    """The circuit is looked at by itself where the problem cannot be read, or is too large."""
    bad = CircuitSpec(library="no_such_thing")
    small = CircuitSpec(library="efficient_su2", options={"num_qubits": 2, "reps": 1})
    for problem in (None, Energy(observable=[("Z" * 29, 1.0)])):
        parts = {"problem": problem, "circuit": bad, "initial": [0.1], "backend": "aer", "shots": None}
        sizes = [] if problem is None else ["problem: acts on 29 qubits, exact values on aer allow 28"]
        *others, found = check.faults(parts)
        assert others == sizes
        assert found.startswith("circuit: qiskit.circuit.library has no function 'no_such_thing'")
        *others, found = check.faults(parts | {"circuit": small})
        assert others == sizes
        assert found == "initial: has 1 numbers, the circuit has 8 parameters"


def test_what_cannot_be_read_makes_no_other_faults() -> None:
    """Shots, circuit or backend that are absent, being faulty, are not taken for their defaults."""
    ring, wide = MaxCut(edges=RING.edges), MaxCut(edges=[(k, k + 1, 1.0) for k in range(19)])
    whole = {"problem": ring, "circuit": None, "initial": [0.1] * 5, "backend": "aer", "shots": None}
    assert len(check.faults(whole)) == 1  # QAOA has two parameters
    assert check.faults({name: part for name, part in whole.items() if name != "circuit"}) == []
    assert check.faults({"problem": wide, "backend": "aer"}) == []  # with shots it might fit


def test_openqasm_2_has_no_parameters() -> None:
    """Who sends OpenQASM 2 is told what could have parameters."""
    source = '// mine\nOPENQASM 2.0; include "qelib1.inc"; qreg q[2]; rx(0.1) q[0];'
    (found,) = faults(circuit=CircuitSpec(qasm=source))
    assert found == (
        "circuit: has no parameters, there is nothing to optimise; OpenQASM 2 can have none: expected OpenQASM 3 "
        "with input float, a function of the library, or QPY"
    )


def test_numbers_too_small_to_work_with_are_a_constant() -> None:
    """What would overflow as soon as something is divided by it is refused."""
    (found,) = faults(problem=Energy(observable=[("ZZ", 1e-310)]))
    assert found == "problem: is a constant, there is nothing to minimise"


def test_fields_that_could_not_be_read_are_skipped() -> None:
    """Another check reports them; this one works with the rest."""
    assert check.faults({}) == []
    assert check.faults({"backend": "aer", "shots": 5}) == []
    assert check.faults({"problem": BELL}) == []


def test_a_missing_extra_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spec that needs a package says how to install it."""

    def refuse(self: Backends, name: str) -> None:
        raise MissingExtra("qiskit-ibm-runtime", "ibm")

    monkeypatch.setattr(Backends, "get", refuse)
    assert faults() == [
        "backend: qiskit-ibm-runtime is not installed (pip install 'qiskit-ibm-runtime>=0.40')"
    ]


def test_the_report_of_an_exact_run() -> None:
    """Sizes of the compiled circuit, rows of the gradient, and the exact value at the first point."""
    where = np.linspace(0.1, 0.8, 8).tolist()
    spec = RunSpec(problem=BELL, circuit=SU2, initial=where, budget=Budget(iterations=20))
    seen = check.report(spec, backends(), 1, True)
    state = Statevector(efficient_su2(2, reps=1).assign_parameters(where))
    exact = state.expectation_value(SparsePauliOp.from_list(BELL.observable)).real
    assert (seen.backend, seen.mode, seen.qubits, seen.device_qubits) == ("aer", "expectation", 2, 2)
    assert (seen.parameters, seen.angles, seen.bases, seen.two_qubit_gates) == (8, 8, 1, 1)
    assert (seen.points, seen.gradient, seen.rows, seen.circuits) == (1, "parameter-shift", 17, 17)
    assert (seen.jobs, seen.shots, seen.total_shots, seen.qpu_seconds, seen.cost) == (21, 0, 0, None, None)
    assert seen.depth == 5
    assert seen.value == pytest.approx(exact)
    assert seen.error == 0.0


def test_the_report_names_what_is_broken() -> None:
    """At level 1 qubits 0 and 1 of fake_cusco are taken, whatever they read; at level 2 better ones are found."""
    spec = RunSpec(problem=BELL, circuit=SU2, backend="aer:fake_cusco", optimization_level=1)
    seen = check.report(spec, backends(), 1, False)
    errors = {q: backends().get("aer:fake_cusco").target["measure"][q,].error for q in (0, 1)}
    bad = [f"measure on {q} ({error:.0%} errors)" for q, error in errors.items() if error >= check.BROKEN]
    assert bad
    assert set(bad) <= set(seen.broken)
    assert ("broken", ", ".join(seen.broken) + "; optimization_level 2 avoids them") in rows(spec, seen, 1)
    better = msgspec.structs.replace(spec, optimization_level=2)
    assert check.report(better, backends(), 1, False).broken == []


def test_the_report_of_a_cvar_counts_finite_differences() -> None:
    """No shift rule is exact for a CVaR: its gradient is told, and counted, as the run will measure it."""
    seen = check.report(RunSpec(problem=MaxCut(edges=LINE.edges, cvar=0.5)), backends(), 1, True)
    assert (seen.gradient, seen.parameters, seen.rows) == ("finite-difference", 2, 1 + 2 * 2)


def test_the_report_of_a_sampled_run() -> None:
    """Shots, calibration and the final measurement of three points, each twice; QPU seconds by the stated constants."""
    spec = RunSpec(problem=BELL, circuit=SU2, shots=100, mitigation="readout", budget=Budget(iterations=10))
    seen = check.report(spec, backends(), 2, False)
    assert (seen.mode, seen.bases, seen.rows, seen.circuits, seen.gradient) == ("counts", 2, 2, 4, "none")
    assert (seen.jobs, seen.shots, seen.total_shots) == (11, 400, 10 * 400 + 200 + 6 * 200)
    assert seen.qpu_seconds is not None
    assert seen.qpu_seconds == pytest.approx(11 * check.JOB_SECONDS + 5400 * check.SHOT_SECONDS)
    assert seen.cost == pytest.approx(seen.qpu_seconds * check.PRICE)
    assert seen.error > 0
    assert abs(seen.value - 3) < 5 * seen.error + 1e-9  # all parameters zero: ⟨ZZ⟩ = 1, ⟨XX⟩ = 0


def test_the_budget_of_shots_ends_a_run_early() -> None:
    """No more iterations are counted than the shots allow, the final measurement included; one at least."""
    for shots, jobs, total in ((2399, 3, 2 * 400 + 6 * 200), (1300, 2, 400 + 4 * 200), (600, 2, 400 + 200)):
        spec = RunSpec(problem=BELL, circuit=SU2, shots=100, budget=Budget(iterations=10, shots=shots))
        seen = check.report(spec, backends(), 2, False)
        assert (seen.jobs, seen.total_shots) == (jobs, total)


def test_a_budget_that_not_one_iteration_fits_into() -> None:
    """It is refused before anything runs, with what is needed: two points, the final value, and the calibration."""
    spec = RunSpec(problem=LINE, shots=10, mitigation="readout", budget=Budget(shots=30))
    with pytest.raises(SpecError, match=r"budget.shots: 30, but .* need 50; raise it, or lower shots"):
        check.report(spec, Backends(), 2, False)


def test_a_budget_that_calibration_would_eat() -> None:
    """More than half of the shots for calibrating the optimizer is a fault, here as when the run begins."""
    spec = RunSpec(problem=LINE, shots=10, budget=Budget(shots=999))
    with pytest.raises(SpecError, match="999, but 500 of them would calibrate the optimizer, more than half"):
        check.report(spec, backends(), 2, False, first=50)
    assert trial(spec).end.data.faults == [
        "budget.shots: 999, but 500 of them would calibrate the optimizer, more "
        "than half; raise it, lower optimizer.options.calibration, or set optimizer.options.learning_rate"
    ]


def test_the_first_iteration_may_have_more_points() -> None:
    """Points that calibrate the optimizer count once, in the whole run."""
    spec = RunSpec(problem=BELL, circuit=SU2, shots=100, budget=Budget(iterations=10))
    usual, more = (check.report(spec, backends(), 2, False, first=first) for first in (2, 50))
    assert more.shots == usual.shots
    assert more.total_shots - usual.total_shots == 48 * usual.bases * 100


def test_the_report_starts_where_it_is_told() -> None:
    """The first point may be given; the spec's own is not needed then."""
    spec = RunSpec(problem=LINE)
    zero = check.report(spec, backends(), 1, False)
    moved = check.report(spec, backends(), 1, False, start=[0.4, -0.4])
    assert zero.value == pytest.approx(-1.5)
    assert moved.value != pytest.approx(zero.value)


def test_a_device_tells_how_long_its_gates_take() -> None:
    """On a device a shot takes its circuit's duration and the rest between shots."""
    spec = RunSpec(
        problem=BELL, circuit=SU2, shots=1000, backend="aer:fake_manila", budget=Budget(iterations=1)
    )
    seen = check.report(spec, backends(), 1, False)
    assert seen.qpu_seconds is not None
    shot = (seen.qpu_seconds - 2 * check.JOB_SECONDS) / seen.total_shots
    assert check.REST_SECONDS + 5e-6 < shot < check.REST_SECONDS + 20e-6  # its measurement takes 5.35e-6 s
    assert seen.device_qubits == 2
