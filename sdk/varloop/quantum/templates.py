"""Templates: circuits compiled once for all parameters, kept in memory and in the store.

Circuits are decoded when they are first asked for: reading the template of an exact run imports no Qiskit.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import msgspec
import numpy as np

from varloop.errors import CircuitError, CorruptObject, MissingObject
from varloop.quantum import problems
from varloop.quantum.angles import MAX_ENTRIES, SHIFTS, Angles, separate
from varloop.quantum.backends import Backend
from varloop.quantum.circuits import Load, check_size, from_qpy, load, to_qpy
from varloop.quantum.grouping import Group
from varloop.quantum.objective import Mode, Objective, mode_of
from varloop.spec import RunSpec
from varloop.store import Store
from varloop.store.layout import template_key
from varloop.support.cache import LruCache

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

__all__ = ["Template", "TemplatePool"]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Template:
    """Compiled circuits, and all that is needed to run rows of angles through them."""

    key: str
    """SHA-256 of all that they depend on, hexadecimal"""
    mode: Mode
    """expectation: exact energies. distribution: exact probabilities of a binary problem. counts: shots."""
    qpy: tuple[bytes, ...]
    """the circuits: one per basis, measured; without bases one, not measured"""
    bases: tuple[str, ...]
    """Pauli label that each circuit measures; none if exact values come from the state itself"""
    layout: tuple[int, ...]
    """the device's qubit that holds qubit ``i`` of the problem"""
    parameters: tuple[str, ...]
    """names of the circuits' parameters in the order of the angles, shape (n_angles,)"""
    angles: Angles
    objective: Objective
    """never stored: templates depend on the circuit and the bases, not on the problem's coefficients"""
    _prepared: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def num_qubits(self) -> int:
        """Qubits of the problem."""
        return len(self.layout)

    @property
    def groups(self) -> tuple[Group, ...]:
        """Terms that each circuit measures; none if nothing is measured."""
        return self.objective.groups if self.bases else ()

    @cached_property
    def circuits(self) -> tuple[QuantumCircuit, ...]:
        """The circuits, decoded."""
        try:
            return tuple(map(from_qpy, self.qpy))
        except CircuitError as error:
            raise CorruptObject(f"template {self.key} holds no circuits: {error.detail}") from error

    def prepared(self, name: str, build: Callable[[], T]) -> T:
        """What the backend prepares once, under a name of its own, and keeps with the template; never stored."""
        if name not in self._prepared:
            self._prepared[name] = build()
        return cast(T, self._prepared[name])

    def to_bytes(self) -> bytes:
        """All but the objective."""
        rows, cols = np.nonzero(self.angles.matrix)
        values = self.angles.matrix[rows, cols]
        stored = _Stored(
            key=self.key,
            mode=self.mode,
            qpy=self.qpy,
            layout=self.layout,
            parameters=self.parameters,
            shape=(len(self.angles.matrix), self.angles.matrix.shape[1]),
            matrix=list(zip(rows.tolist(), cols.tolist(), values.tolist(), strict=True)),
            offset=self.angles.offset.tolist(),
            rules=self.angles.rules,
            bases=self.bases,
        )
        return msgspec.msgpack.encode(stored)

    @classmethod
    def from_bytes(cls, data: bytes, objective: Objective) -> Template:
        """The template of :meth:`to_bytes`, for this objective.

        :raises CorruptObject: these are not the bytes of a template, or not of one for this objective.
        """
        try:
            stored = msgspec.msgpack.decode(data, type=_Stored)
            angles = stored.angles()
        except (msgspec.MsgspecError, CircuitError) as error:
            raise CorruptObject(f"these {len(data)} bytes are not a template: {error}") from error
        template = cls(
            key=stored.key,
            mode=stored.mode,
            qpy=stored.qpy,
            bases=stored.bases,
            layout=stored.layout,
            parameters=stored.parameters,
            angles=angles,
            objective=objective,
        )
        if stored.bases != tuple(each.basis for each in template.groups):
            raise CorruptObject(f"template {stored.key} measures {stored.bases}, not what this spec needs")
        return template


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    mode: Mode
    qpy: tuple[bytes, ...]
    layout: tuple[int, ...]
    parameters: tuple[str, ...]
    shape: tuple[int, int]
    matrix: list[tuple[int, int, float]]
    offset: list[float]
    rules: tuple[str, ...]
    bases: tuple[str, ...]
    format: Literal[1] = 1

    def angles(self) -> Angles:
        """The angles, if the sizes told are those of what is there.

        :raises CircuitError: they are not.
        """
        size, (rows, columns) = len(self.parameters), self.shape
        if not (size == rows == len(self.offset) == len(self.rules)) or columns < 0:
            raise CircuitError(f"shape {self.shape}, {size} names, {len(self.offset)} offsets")
        if unknown := set(self.rules) - SHIFTS.keys() - {"none"}:
            raise CircuitError(f"unknown rule {min(unknown)!r:.60}")
        check_size(rows * columns, "angles times parameters", MAX_ENTRIES)
        matrix = np.zeros(self.shape)
        for row, column, value in self.matrix:
            if not (0 <= row < rows and 0 <= column < columns):
                raise CircuitError(f"entry ({row}, {column}) of a matrix of shape {self.shape}")
            matrix[row, column] = value
        return Angles(matrix, np.array(self.offset), self.rules)


class TemplatePool:
    """Templates in memory, else from the store, else compiled. Safe between threads.

    :param load: reads the circuits of specs.
    :param capacity: templates kept in memory, the most recently used.
    """

    def __init__(self, store: Store, load: Load = load, capacity: int = 64) -> None:
        self.hits = 0
        """found in memory"""
        self.store_hits = 0
        self.compiles = 0
        self._store = store
        self._load_circuit = load
        self._kept: LruCache[tuple[str, bytes], Template] = LruCache(capacity)
        self._keys: LruCache[bytes, str] = LruCache(capacity)
        self._lock = threading.RLock()

    def of(self, spec: RunSpec, backend: Backend) -> Template:
        """The template of a spec; compiled, and stored for everybody, if nobody did yet.

        :raises CircuitError: the circuit cannot be read or compiled.
        :raises CorruptObject: what the store holds is not this template.
        """
        with self._lock:
            identity = _identity(spec, backend)
            if identity in self._keys:
                return self.get(self._keys[identity], spec, backend)
            key, compile_now = _draft(spec, backend, self._load_circuit)
            found = self._recall(key, spec) or self._load(key, spec) or self._publish(compile_now(), spec)
            self._keys[identity] = key
            return found

    def get(self, key: str, spec: RunSpec, backend: Backend) -> Template:
        """The template with this key, which this spec has, or had, on this backend.

        :raises MissingObject: the store lost it, and it cannot be made again because the backend has changed.
        :raises CorruptObject: what the store holds is not this template.
        """
        with self._lock:
            found = self._recall(key, spec) or self._load(key, spec)
            if found is not None:
                return found
            now, compile_now = _draft(spec, backend, self._load_circuit)
            if now != key:
                raise MissingObject(
                    f"template {key} is not in the store, and {backend.name} would compile another",
                    hint="the device was recalibrated or Qiskit upgraded since; start a new run",
                )
            return self._publish(compile_now(), spec)

    def _recall(self, key: str, spec: RunSpec) -> Template | None:
        found = self._kept.recall((key, _digest(spec.problem)))
        if found is not None:
            self.hits += 1
        return found

    def _load(self, key: str, spec: RunSpec) -> Template | None:
        data = self._store.find(template_key(key))
        if data is None:
            return None
        template = Template.from_bytes(data, Objective(spec.problem))
        if template.key != key:
            raise CorruptObject(f"object {template_key(key)} holds the template {template.key}")
        self.store_hits += 1
        self._kept[key, _digest(spec.problem)] = template
        return template

    def _publish(self, template: Template, spec: RunSpec) -> Template:
        self._store.create(template_key(template.key), template.to_bytes())
        self.compiles += 1
        self._kept[template.key, _digest(spec.problem)] = template
        return template


def _draft(spec: RunSpec, backend: Backend, load: Load) -> tuple[str, Callable[[], Template]]:
    """The key of a spec's template, and what compiles it."""
    objective, mode = Objective(spec.problem), mode_of(spec)
    measured = mode == "counts" or backend.measures_exactly
    bases = tuple(each.basis for each in objective.groups) if measured else ()
    if measured and not bases:
        raise CircuitError("the observable is a constant: there is nothing to measure")
    written = to_qpy(problems.ansatz(spec, load))
    depends = {
        "format": 2,
        "circuit": hashlib.sha256(written).hexdigest(),
        "bases": bases,
        "mode": mode,
        "level": spec.optimization_level,
        "backend": backend.name,
        "calibration": backend.calibration,
        "versions": backend.versions,
    }
    key = _digest(depends).hex()

    def compile_now() -> Template:
        separated, angles = separate(from_qpy(written))  # the same, whoever read the circuit
        compiled = backend.compile(separated, bases, spec.optimization_level)
        return Template(
            key=key,
            mode=mode,
            qpy=tuple(map(to_qpy, compiled.circuits)),
            bases=bases,
            layout=compiled.layout,
            parameters=tuple(parameter.name for parameter in separated.parameters),
            angles=angles,
            objective=objective,
        )

    return key, compile_now


def _identity(spec: RunSpec, backend: Backend) -> bytes:
    """Equal for specs that share a template; cheap, as no circuit is built."""
    seed = spec.seed if spec.circuit and spec.circuit.library else 0
    parts = spec.circuit, seed, spec.problem, spec.shots is None, spec.optimization_level
    return _digest((*parts, backend.name, backend.calibration))


def _digest(data: object) -> bytes:
    return hashlib.sha256(msgspec.json.encode(data, order="sorted")).digest()
