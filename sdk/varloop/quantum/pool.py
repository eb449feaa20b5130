"""The pool of templates: in memory, else from the store, else compiled, for every thread of a process."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from weakref import WeakValueDictionary

import msgspec

from varloop.errors import CircuitError, CorruptObject, MissingObject
from varloop.quantum import problems
from varloop.quantum.angles import separate
from varloop.quantum.backends import Backend
from varloop.quantum.circuits import Load, from_qpy, load, to_qpy
from varloop.quantum.objective import Objective, mode_of
from varloop.quantum.templates import Template
from varloop.spec import RunSpec
from varloop.store import Store
from varloop.store.layout import template_key
from varloop.support.cache import LruCache

__all__ = ["TemplatePool"]


class TemplatePool:
    """Templates, each compiled once. Safe between threads, which wait for each other only over the same template.

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
        self._turns: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._lock = threading.Lock()
        """of all the above, held for as long as they are looked at"""

    def of(self, spec: RunSpec, backend: Backend) -> Template:
        """The template of a spec; compiled, and stored for everybody, if nobody did yet.

        :raises CircuitError: the circuit cannot be read or compiled.
        :raises CorruptObject: what the store holds is not this template.
        """
        identity = _identity(spec, backend)
        with self._lock:
            known = self._keys.recall(identity)
        if known is not None:
            return self.get(known, spec, backend)
        key, compile_now = _draft(spec, backend, self._load_circuit)
        found = self._find(key, spec, compile_now)
        with self._lock:
            self._keys[identity] = key
        return found

    def get(self, key: str, spec: RunSpec, backend: Backend) -> Template:
        """The template with this key, which this spec has, or had, on this backend.

        :raises MissingObject: the store lost it, and it cannot be made again because the backend has changed.
        :raises CorruptObject: what the store holds is not this template.
        """

        def compile_again() -> Template:
            now, compile_now = _draft(spec, backend, self._load_circuit)
            if now == key:
                return compile_now()
            raise MissingObject(
                f"template {key} is not in the store, and {backend.name} would compile another",
                hint="the device was recalibrated or Qiskit upgraded since; start a new run",
            )

        return self._find(key, spec, compile_again)

    def _find(self, key: str, spec: RunSpec, make: Callable[[], Template]) -> Template:
        """In memory, else in the store, else made; by one thread while others wait for it."""
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            return self._recall(key, spec) or self._load(key, spec) or self._publish(make(), spec)

    def _recall(self, key: str, spec: RunSpec) -> Template | None:
        with self._lock:
            found = self._kept.recall((key, _digest(spec.problem)))
            self.hits += found is not None
        return found

    def _load(self, key: str, spec: RunSpec) -> Template | None:
        data = self._store.find(template_key(key))
        if data is None:
            return None
        template = Template.from_bytes(data, Objective(spec.problem))
        if template.key != key:
            raise CorruptObject(f"object {template_key(key)} holds the template {template.key}")
        with self._lock:
            self.store_hits += 1
            self._kept[key, _digest(spec.problem)] = template
        return template

    def _publish(self, template: Template, spec: RunSpec) -> Template:
        self._store.create(template_key(template.key), template.to_bytes())
        with self._lock:
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
        "format": 3,
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
