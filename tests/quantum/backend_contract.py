"""What every backend promises. A suite plugs in by subclassing :class:`BackendContract`.

Statistical tests are seeded, so they pass or fail for good; each states the probability that a correct backend
would have drawn an unlucky seed.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector

from varloop.errors import CircuitError
from varloop.events import Samples
from varloop.quantum.backends import Backend, Backends
from varloop.quantum.circuits import spec_of
from varloop.quantum.estimate import estimate
from varloop.quantum.pool import TemplatePool
from varloop.quantum.samples import cell
from varloop.quantum.templates import Template
from varloop.spec import Energy, MaxCut, RunSpec
from varloop.store.memory import MemoryStore

ZZ = Energy(observable=[("IIZ", 0.8), ("IZZ", -0.5), ("ZIZ", 0.3)])
MIXED = Energy(observable=[("IIZ", 0.8), ("XXI", -0.5), ("YII", 0.3), ("IZX", 0.4)])
RING = MaxCut(edges=[(0, 1, 1.0), (1, 2, 2.0), (0, 2, 0.5)])

Array = NDArray[np.float64]


@cache
def backends() -> Backends:
    """One set for all suites: a recorded device takes seconds to load."""
    return Backends()


def ansatz() -> QuantumCircuit:
    """Three qubits, six parameters, one of them in two gates."""
    angles = ParameterVector("t", 6)
    circuit = QuantumCircuit(3)
    for qubit in range(3):
        circuit.ry(angles[qubit], qubit)
    circuit.cx(0, 1)
    circuit.rz(2 * angles[3], 1)
    circuit.cx(1, 2)
    circuit.rx(angles[4] + 0.3, 2)
    circuit.ry(angles[5], 0)
    circuit.rzz(angles[3] - angles[5], 0, 1)
    circuit.ry(0.4, 1)
    return circuit


def points(number: int, seed: int = 0) -> Array:
    """Parameter points of the ansatz."""
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, (number, 6))


class BackendContract:
    """Subclasses name a backend, and say what it should measure."""

    name: str
    tolerance = 1e-12
    """of exact values"""
    fidelity = 1e-12
    """how far noise may take them from the ideal circuit's"""

    def exact(self, template: Template, problem: Energy, point: Array, *, misread: bool = True) -> float:
        """What infinitely many shots at a point tell of the problem, computed without the backend.

        :param misread: with the device's readout errors.
        """
        raise NotImplementedError

    def misread(self, template: Template) -> Array:
        """(n_qubits, 2) readout errors of the template's qubits."""
        raise NotImplementedError

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend under test."""
        return backends().get(self.name)

    def template(self, backend: Backend, problem: Energy | MaxCut, shots: int | None = None) -> Template:
        """The ansatz compiled for a problem."""
        spec = RunSpec(problem=problem, circuit=spec_of(ansatz()), backend=self.name, shots=shots)
        return TemplatePool(MemoryStore()).of(spec, backend)

    def bound(self, template: Template, point: Array, group: int = 0) -> QuantumCircuit:
        """A compiled circuit at a point, without its measurements."""
        circuit = template.circuits[group]
        row = dict(zip(template.parameters, template.angles.bind([point])[0], strict=True))
        bare = QuantumCircuit(circuit.qubits)
        for instruction in circuit.data:
            if instruction.name != "measure":
                bare.append(instruction)
        return bare.assign_parameters({each: row[each.name] for each in bare.parameters})

    def test_says_what_it_is(self, backend: Backend) -> None:
        """A backend has the name it was asked for, a calibration, and versions of what it compiles with."""
        assert backend.name == self.name
        assert backend.calibration
        assert backend.calibration == backend.calibration
        assert backend.versions["qiskit"]
        assert backend.limit("counts") >= backend.limit("expectation") >= 3

    def test_exact_values_are_those_of_the_device(self, backend: Backend) -> None:
        """Exact energies equal an independent simulation of the same compiled circuit, row by row."""
        template, where = self.template(backend, MIXED), points(4)
        done = backend.run(template, template.angles.bind(where), shots=None, seed=0)
        expected = [self.exact(template, MIXED, point) for point in where]
        assert done.values == pytest.approx(expected, abs=self.tolerance)
        assert (done.circuits, done.shots, done.samples) == (4 * len(template.circuits), 0, None)

    def test_any_function_of_the_parameters(self, backend: Backend) -> None:
        """Angles that are no linear function of the parameters are computed as Qiskit computes them."""
        circuit, x, y = QuantumCircuit(3), Parameter("x"), Parameter("y")
        circuit.rx(x * y + 1, 0)
        circuit.ry(x.sin(), 1)
        circuit.cx(0, 2)
        spec = RunSpec(problem=MIXED, circuit=spec_of(circuit), backend=self.name)
        template, where = TemplatePool(MemoryStore()).of(spec, backend), points(3)[:, :2]
        done = backend.run(template, template.angles.bind(where), shots=None, seed=0)
        expected = [self.exact(template, MIXED, point) for point in where]
        assert done.values == pytest.approx(expected, abs=self.tolerance)

    def test_exact_probabilities_are_those_of_the_device(self, backend: Backend) -> None:
        """An exact run of a binary problem gives each row's mean cost, less the constant, and its likeliest outcomes."""
        template, where = self.template(backend, RING), points(3)
        done = backend.run(template, template.angles.bind(where), shots=None, seed=0)
        cut = Energy(observable=[("IZZ", 0.5), ("ZZI", 1.0), ("ZIZ", 0.25)])
        expected = [self.exact(template, cut, point) for point in where]
        assert done.values == pytest.approx(expected, abs=self.tolerance)
        assert done.samples is not None
        assert done.samples.rows == 3
        for row in range(3):
            outcomes, weights = cell(done.samples, row)
            assert outcomes.tolist() == sorted(set(outcomes.tolist()))
            assert weights.sum() == pytest.approx(1.0)  # of eight outcomes, all are listed

    def test_an_exact_distribution_tells_what_was_asked(self, backend: Backend) -> None:
        """An outcome that was asked for is among each row's, once, with its probability, however small."""
        template, where = self.template(backend, RING), points(3)
        rows = template.angles.bind(where)
        likeliest = backend.run(template, rows, shots=None, seed=0).samples
        asked = backend.run(template, rows, shots=None, seed=0, outcomes=[5]).samples
        assert asked is not None
        assert likeliest is not None
        for row in range(3):
            before, after = (
                dict(zip(*map(list, cell(each, row)), strict=True)) for each in (likeliest, asked)
            )
            assert before.items() <= after.items()
            assert 5 in after
            assert set(after) - set(before) <= {5}

    def test_rows_keep_their_order(self, backend: Backend) -> None:
        """Each row's value belongs to that row, alone, in a batch, and in another order."""
        template = self.template(backend, MIXED)
        rows = template.angles.bind(points(5))
        values = backend.run(template, rows, shots=None, seed=0).values
        assert values is not None
        assert backend.run(template, rows[::-1], shots=None, seed=0).values == values[::-1]
        for row, value in zip(rows, values, strict=True):
            alone = backend.run(template, [row], shots=None, seed=0).values
            assert alone == pytest.approx([value], abs=self.tolerance)

    def test_outcomes_are_little_endian(self, backend: Backend) -> None:
        """A flip of qubit q shows in bit q of the outcome."""
        flips = QuantumCircuit(3)
        angles = ParameterVector("t", 3)
        for qubit in range(3):
            flips.rx(angles[qubit], qubit)
        spec = RunSpec(problem=ZZ, circuit=spec_of(flips), backend=self.name, shots=200)
        template = TemplatePool(MemoryStore()).of(spec, backend)
        done = backend.run(template, np.pi * np.eye(3), shots=200, seed=3)
        assert done.samples is not None
        for row in range(3):
            outcomes, weights = cell(done.samples, row)
            assert outcomes[weights.argmax()] == 1 << row

    def test_every_shot_is_counted(self, backend: Backend) -> None:
        """Every row has all its shots in every basis, and the execution counts circuits and shots."""
        template = self.template(backend, MIXED, shots=100)
        done = backend.run(template, template.angles.bind(points(4)), shots=100, seed=5)
        samples, groups = done.samples, len(template.circuits)
        assert samples is not None
        assert groups > 1
        assert (samples.num_qubits, samples.rows, samples.groups) == (3, 4, groups)
        assert (done.circuits, done.shots, done.values) == (4 * groups, 400 * groups, None)
        for row in range(4):
            for group in range(groups):
                outcomes, weights = cell(samples, row, group)
                assert weights.sum() == 100
                assert outcomes.tolist() == sorted(set(outcomes.tolist()))
                assert outcomes.max() < 8

    def test_the_seed_decides(self, backend: Backend) -> None:
        """The same seed gives the same bytes, another seed other shots, and equal rows are not copies."""
        template = self.template(backend, ZZ, shots=500)
        rows = template.angles.bind(np.repeat(points(1), 2, axis=0))
        first, again, other = (
            backend.run(template, rows, shots=500, seed=seed, calibrate=True) for seed in (7, 7, 8)
        )
        assert (first.samples, first.readout) == (again.samples, again.readout)
        assert first.samples != other.samples
        assert isinstance(first.samples, Samples)
        assert not np.array_equal(cell(first.samples, 0)[1], cell(first.samples, 1)[1])

    @pytest.mark.parametrize("problem", [ZZ, MIXED], ids=["one basis", "several bases"])
    def test_estimates_are_unbiased_and_their_errors_honest(self, backend: Backend, problem: Energy) -> None:
        """Over 300 rows z = (estimate − truth) / error is standard normal: |mean| and variance in bounds.

        The bounds |z̄| < 4/√300 and |s² − 1| < 4·√(2/300) are four standard deviations each, exceeded by a correct
        backend with probability 1.3e-4 in all.
        """
        template = self.template(backend, problem, shots=400)
        where = points(3, seed=4)
        rows = template.angles.bind(np.tile(where, (100, 1)))
        done = backend.run(template, rows, shots=400, seed=11)
        truth = np.tile([self.exact(template, problem, point) for point in where], 100)
        found = estimate(template, done, problem)
        z = (found.values - truth) / found.errors
        assert abs(z.mean()) < 4 / np.sqrt(300)
        assert abs(z.var() - 1) < 4 * np.sqrt(2 / 300)

    def test_readout_errors_are_measured_and_undone(self, backend: Backend) -> None:
        """The calibration finds the device's readout errors, and mitigated values are those without them.

        Bounds of five standard deviations, of six numbers and of one: a correct backend misses with 4e-6.
        """
        shots = 200_000
        template = self.template(backend, ZZ, shots=shots)
        point = points(1, seed=4)[0]
        done = backend.run(template, template.angles.bind([point]), shots=shots, seed=2, calibrate=True)
        assert done.circuits == len(template.circuits) + 2
        assert done.shots == done.circuits * shots
        assert done.readout is not None
        truth = self.misread(template)
        spread = np.sqrt((truth * (1 - truth)).clip(1e-3) / shots)
        assert np.all(np.abs(np.array(done.readout.errors) - truth) < 5 * spread + self.preparation)
        found = estimate(template, done, ZZ, "readout")
        exact = self.exact(template, ZZ, point, misread=False)
        assert abs(found.values[0] - exact) < 5 * found.errors[0] + 3 * self.preparation

    preparation = 0.0
    """error of the calibration's own flips, which no calibration can tell from readout errors"""

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_refuses_angles_that_are_not_numbers(self, backend: Backend, bad: float) -> None:
        """A row that is not finite is an error that names the row."""
        template = self.template(backend, MIXED)
        rows = template.angles.bind(points(3))
        rows[1, 2] = bad
        with pytest.raises(CircuitError, match="row 1 has an angle that is not finite"):
            backend.run(template, rows, shots=None, seed=0)

    def test_refuses_rows_of_another_shape(self, backend: Backend) -> None:
        """Rows of the wrong width, or none at all, are an error that says both shapes."""
        template = self.template(backend, MIXED)
        width = len(template.parameters)
        with pytest.raises(CircuitError, match=rf"rows of shape \(2, 3\), expected \(≥ 1, {width}\)"):
            backend.run(template, np.zeros((2, 3)), shots=None, seed=0)
        with pytest.raises(CircuitError, match=rf"rows of shape \(0, {width}\)"):
            backend.run(template, np.zeros((0, width)), shots=None, seed=0)

    def test_a_template_runs_only_as_it_was_compiled(self, backend: Backend) -> None:
        """A measured template needs shots and an exact one refuses them."""
        for shots, asked in ((None, 10), (10, None)):
            template = self.template(backend, ZZ, shots=shots)
            with pytest.raises(CircuitError, match=f"cannot run with {asked} shots"):
                backend.run(template, template.angles.bind(points(1)), shots=asked, seed=0)

    def test_a_circuit_without_parameters_runs_once_per_row(self, backend: Backend) -> None:
        """Rows of width 0 are rows all the same."""
        circuit = QuantumCircuit(3)
        circuit.h(0)
        pool = TemplatePool(MemoryStore())
        spec = RunSpec(problem=ZZ, circuit=spec_of(circuit), backend=self.name)
        done = backend.run(pool.of(spec, backend), np.zeros((3, 0)), shots=None, seed=0)
        assert done.values is not None
        assert len(done.values) == 3
        sampled = RunSpec(problem=ZZ, circuit=spec_of(circuit), backend=self.name, shots=50)
        template = pool.of(sampled, backend)
        counts = backend.run(template, np.zeros((3, 0)), shots=50, seed=0, calibrate=True)
        assert counts.samples is not None
        assert (counts.samples.rows, counts.circuits) == (3, 5)

    @pytest.mark.parametrize("level", [0, 1, 2, 3])
    def test_every_optimization_level_means_the_same(self, backend: Backend, level: int) -> None:
        """Whatever the transpiler moves or merges, qubit i of the problem is measured as qubit i."""
        spec = RunSpec(problem=MIXED, circuit=spec_of(ansatz()), backend=self.name, optimization_level=level)
        template = TemplatePool(MemoryStore()).of(spec, backend)
        where = points(1, seed=9)
        done = backend.run(template, template.angles.bind(where), shots=None, seed=0)
        expected = self.exact(template, MIXED, where[0])
        assert done.values == pytest.approx([expected], abs=self.tolerance)
        ideal = Statevector(ansatz().assign_parameters(where[0]))
        energy = ideal.expectation_value(SparsePauliOp.from_list(MIXED.observable)).real
        assert done.values == pytest.approx([energy], abs=self.fidelity)
