from __future__ import annotations

import pytest

from cli.program import Program

H2 = """\
sound  h2: nothing was found that would stop it
  backend       aer, exact
  qubits        4
  circuit       depth 5, 3 two-qubit gates
  parameters    8, in 8 angles
  iteration     1 job: 17 rows × 1 basis = 17 circuits, gradient by parameter-shift
  whole run     at most 61 jobs
  value         -1.116999 at the first point
"""


def test_a_sound_spec_is_told_what_it_would_run(program: Program) -> None:
    """Circuit, jobs, and the value of the first point: for h2 the Hartree-Fock energy."""
    assert program("check", "h2").stdout == H2


def test_shots_and_cost_of_a_run_are_told_beforehand(program: Program) -> None:
    """What a check says of shots is what the run then uses, the optimizer's calibration included."""
    expected = program.json("check", "maxcut", "--set", "budget.iterations=5")
    used = program.json("run", "maxcut", "--set", "budget.iterations=5")

    assert expected["total_shots"] == used["shots"]
    assert expected["cost"] > 0
    assert "to calibrate the optimizer" in program("check", "maxcut").stdout


def test_all_faults_are_told_at_once(program: Program) -> None:
    """Faults of fields, of the problem, of the optimizer and of the backend come together, with exit code 2."""
    changes = (
        "seed=x",
        "problem.observable=[[XQ, 1.0]]",
        "optimizer.options.rate=1",
        "backend=abacus",
        "shot=1",
    )
    result = program("check", "h2", *(word for change in changes for word in ("--set", change)), code=2)

    head, *faults = result.stderr.splitlines()
    assert head == "error: the spec has 5 faults"
    fields = ("shot", "seed", "problem.observable[0]", "optimizer.options.rate", "backend")
    for field in fields:
        assert any(fault.startswith(f"  - {field}: ") for fault in faults), field


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("circuit.options.num_qubits=3", "circuit: has 3 qubits, the problem acts on 4"),
        ("initial=[0.1]", "initial: has 1 numbers, the circuit has 8 parameters"),
        ("initial=[.nan]", "initial: every parameter must be finite"),
        ("circuit.qpy=eJw=", "circuit: expected one of qpy, qasm, library; got qpy, library"),
    ],
)
def test_a_circuit_that_does_not_fit_is_refused(program: Program, change: str, fault: str) -> None:
    """What is seen only when the circuit is built is found before a run, too."""
    assert f"  - {fault}" in program("check", "h2", "--set", change, code=2).stderr


def test_every_refusal_has_one_exit_code(program: Program) -> None:
    """What the fields, the circuit's source, compiling it or running it tell: exit code 2, and no advice to check."""
    source = 'OPENQASM 3.0; include "stdgates.inc"; input float w; qubit[4] q; ry(1 / w) q[0];'
    refusals = [
        (["shots=x"], "shots: "),
        (["circuit.library=nothing"], "circuit: qiskit.circuit.library has no function"),
        (["backend=abacus"], "backend: "),
        (["backend=aer:fake_nothing"], "backend: "),
        ([f"circuit={{qasm: '{source}'}}"], "initial: has 8 numbers, the circuit has 1 parameters"),
        ([f"circuit={{qasm: '{source}'}}", "initial=[0]"], "circuit: the angle"),
    ]
    for changes, fault in refusals:
        settings = (word for change in changes for word in ("--set", change))
        said = program("check", "h2", *settings, code=2).stderr
        assert f"  - {fault}" in said, said
        assert "varloop check" not in said
