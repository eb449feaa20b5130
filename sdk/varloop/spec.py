"""The run spec: everything that defines a run, as plain frozen data.

:func:`parse` reads one from untrusted plain data and reports *all* faults it can see without building
circuits; what needs Qiskit (sizes, parameters, gates) is checked by :func:`varloop.quantum.check`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

import msgspec

from varloop.errors import SpecError, UsageError

__all__ = [
    "CANDIDATES",
    "MAX_ITERATIONS",
    "SHORT",
    "Budget",
    "CircuitSpec",
    "Energy",
    "FromRun",
    "Ising",
    "MaxCut",
    "OptimizerSpec",
    "Problem",
    "Qubo",
    "RunSpec",
    "converted",
    "digest",
    "fault_text",
    "first",
    "parse",
    "summary",
]

CANDIDATES = 3
"""points that a run with shots measures afresh at its end, at most; each of them twice"""

MAX_ITERATIONS = 999_999
"""of a run: events, and records in the store, count iterations with six digits"""
FAULTS = 10
"""of one kind that are told one by one"""
SMALLEST, LARGEST = 1e-100, 1e100
"""sizes that a problem's largest number may have: squares and quotients of sums stay within the range of numbers"""
RADIANS = 1e9
"""largest size of a first parameter: beyond, neighbouring numbers are angles apart"""

Iterations = Annotated[int, msgspec.Meta(ge=1, le=MAX_ITERATIONS)]
Total = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Shots = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Weight = tuple[int, int, float]
Gradient = Literal["auto", "none", "parameter-shift", "finite-difference", "spsa"]
Mitigation = Literal["none", "readout"]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class CircuitSpec(_Part, frozen=True, kw_only=True):
    """A parametric circuit: exactly one of qpy, qasm or library.

    ``qpy`` is base64 of zlib of Qiskit's QPY; ``qasm`` is OpenQASM 2 or 3 source; ``library`` names a
    function of ``qiskit.circuit.library`` (``efficient_su2``, …) called with ``options``.
    """

    qpy: str | None = None
    qasm: str | None = None
    library: str | None = None
    options: dict[str, Any] = {}


class Energy(_Part, frozen=True, kw_only=True, tag_field="kind", tag="energy"):
    """Minimise ⟨ψ(θ)|O|ψ(θ)⟩. Labels as Qiskit's: the rightmost letter acts on qubit 0."""

    observable: Annotated[list[tuple[str, float]], msgspec.Meta(min_length=1)]
    """(Pauli label, real coefficient) terms"""


class _Binary(_Part, frozen=True, kw_only=True):
    layers: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    """QAOA depth p; used when the spec brings no circuit"""
    cvar: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    """share of the best samples that the objective averages; 1 is the plain expectation value"""


class Qubo(_Binary, frozen=True, kw_only=True, tag_field="kind", tag="qubo"):
    """Minimise Σ w·x_i·x_j + offset over x ∈ {0, 1}ⁿ; a term with i = j is linear."""

    terms: Annotated[list[Weight], msgspec.Meta(min_length=1)]
    offset: float = 0.0


class Ising(_Binary, frozen=True, kw_only=True, tag_field="kind", tag="ising"):
    """Minimise Σ J·s_i·s_j + Σ h_i·s_i + offset over s ∈ {+1, −1}ⁿ, with s_i = 1 − 2·bit_i."""

    couplings: list[Weight]
    fields: list[float] = []
    offset: float = 0.0

    @classmethod
    def of(cls, program: Any, *, layers: int = 1, cvar: float = 1.0) -> Self:
        """The problem of a QuadraticProgram of qiskit-optimization, by its ``to_ising``.

        Bit k of a solution is variable k of the program. A program that maximises is minimised with its sign changed.

        :raises UsageError: if it has constraints or variables that are not binary, or is no such program.
        """
        try:
            operator, offset = program.to_ising()
            terms = operator.simplify().to_sparse_list()
        except Exception as error:  # whatever the foreign library says
            raise UsageError(
                f"problem: a {type(program).__name__} cannot become an Ising problem: {error}",
                hint="QuadraticProgramToQubo().convert(program) of qiskit-optimization takes constraints and "
                "integers in; from_docplex_mp(model) makes a program of a docplex model",
            ) from error
        fields, couplings = [0.0] * operator.num_qubits, []
        for _, places, coefficient in terms:
            weight = complex(coefficient).real
            match places:
                case []:
                    offset += weight
                case [i]:
                    fields[i] += weight
                case [i, j]:
                    couplings.append((i, j, weight))
        return cls(couplings=couplings, fields=fields, offset=float(offset), layers=layers, cvar=cvar)


class MaxCut(_Binary, frozen=True, kw_only=True, tag_field="kind", tag="maxcut"):
    """Cut a weighted graph: minimise −Σ w over the edges whose ends get different bits."""

    edges: Annotated[list[Weight], msgspec.Meta(min_length=1)]
    """(node, node, weight); nodes are 0 … n−1"""

    @classmethod
    def of(cls, graph: Any, *, layers: int = 1, cvar: float = 1.0) -> Self:
        """The problem of a networkx graph; edges without the attribute ``weight`` have weight 1.

        Bit k of a solution is node k if the nodes are 0 … n−1, and else the k-th of the graph, ``list(graph.nodes)[k]``.

        :raises UsageError: if the graph is directed, or is none.
        """
        try:
            directed, nodes = graph.is_directed(), list(graph.nodes)
            places = range(len(nodes))
            number = dict(zip(places if set(nodes) == set(places) else nodes, places, strict=True))
            edges = [(number[a], number[b], float(w)) for a, b, w in graph.edges(data="weight", default=1.0)]
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            raise UsageError(
                f"problem: a {type(graph).__name__} is no weighted graph: {error}",
                hint="a networkx.Graph, or varloop.MaxCut(edges=[(node, node, weight), …])",
            ) from error
        if directed:
            raise UsageError("problem: the graph is directed", hint="graph.to_undirected()")
        if edges and max(max(a, b) for a, b, _ in edges) < len(number) - 1:
            edges.append((len(number) - 2, len(number) - 1, 0.0))  # an isolated node has its bit too
        return cls(edges=edges, layers=layers, cvar=cvar)


Problem = Energy | Qubo | Ising | MaxCut


class OptimizerSpec(_Part, frozen=True, kw_only=True):
    """An optimizer by name, with its own options (see :mod:`varloop.optimizers`)."""

    name: str = "spsa"
    options: dict[str, Any] = {}


class Budget(_Part, frozen=True, kw_only=True):
    """When a run must stop. Reaching any of these ends it well, with its best point.

    A run with shots ends with a final measurement (:mod:`varloop.loop` says of what), which is not an iteration: shots
    and time for it are kept back.
    """

    iterations: Iterations = 100
    """of the optimizer, the final measurement not counted"""
    shots: Total | None = None
    """shots of the whole run; the next iteration is not started if it and the final measurement would exceed them"""
    deadline: Seconds | None = None
    """seconds from when the run was taken up; nothing is started after it, and the next iteration is not started if the
    final measurement would then be late, as far as the latest iteration tells"""
    tolerance: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """stop when the lowest value improved by less than this over the last 10 iterations"""

    def candidates(self, used: int, row: int, found: int) -> int:
        """How many points the final measurement of a run with shots compares.

        :param used: shots used so far.
        :param row: shots that a point takes. Each is measured twice if there are several.
        :param found: points worth comparing.
        """
        room = CANDIDATES if self.shots is None else (self.shots - used) // (2 * row)
        return max(1, min(room, found, CANDIDATES))

    def short_of(self, need: int, calibration: int) -> list[str]:
        """The fault if there are too few shots to optimise anything.

        :param need: shots of the first iteration and of the final value.
        :param calibration: shots of the first iteration, if it calibrates the optimizer; 0 if not.
        """
        if self.shots is None:
            return []
        text = f"budget.shots: {self.shots}, but "
        if need > self.shots:
            return [f"{text}the first iteration and the final value need {need}; raise it, or lower shots"]
        if 2 * calibration > self.shots:
            remedies = "raise it, lower optimizer.options.calibration, or set optimizer.options.learning_rate"
            return [f"{text}{calibration} of them would calibrate the optimizer, more than half; {remedies}"]
        return []


class FromRun(_Part, frozen=True, kw_only=True):
    """First parameters from another run of the same store, which has ended."""

    run: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    """its id: the parameters of its result, or of its latest iteration if it failed or was cancelled"""
    optimizer: bool = False
    """also the state of its optimizer, which must be the same one: goes on as if that run's budget had been larger"""


class RunSpec(_Part, frozen=True, kw_only=True):
    """Everything that defines a run. The same spec gives the same result, bit for bit, on a simulator."""

    problem: Problem
    circuit: CircuitSpec | None = None
    """the ansatz; None lets a binary problem use QAOA"""
    initial: list[float] | FromRun | None = None
    """first parameters, radians; or those of another run; None draws small ones from the seed"""
    optimizer: OptimizerSpec = OptimizerSpec()
    backend: str = "aer"
    """aer, or aer:fake_NAME for a simulated noisy device"""
    shots: Shots | None = None
    """per circuit; None is exact"""
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    gradient: Gradient = "auto"
    mitigation: Mitigation = "none"
    optimization_level: Annotated[int, msgspec.Meta(ge=0, le=3)] = 2
    """of Qiskit's transpiler"""
    budget: Budget = Budget()

    @property
    def point(self) -> list[float] | None:
        """The first parameters, if the spec has them itself."""
        return self.initial if isinstance(self.initial, list) else None

    def save(self, path: str | PathLike[str]) -> None:
        """Write it as JSON, which ``varloop run`` and :meth:`load` read."""
        Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")

    @staticmethod
    def load(path: str | PathLike[str]) -> RunSpec:
        """Read one that was saved.

        :raises UsageError: if there is no such file, or it is no JSON.
        :raises SpecError: with every fault found.
        """
        try:
            data = msgspec.json.decode(Path(path).read_bytes())
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UsageError(f"no spec can be read from {fspath(path)}: {error}") from error
        return parse(data)


Check = Callable[[dict[str, Any]], list[str]]
"""Finds faults in the fields of a spec that could be read, defaults among them; a field that could not is absent."""


def parse(data: object, *checks: Check) -> RunSpec:
    """Read a run spec from plain data.

    :param checks: further checks, run on the fields that have no fault yet.
    :raises SpecError: with every fault found in any field.
    """
    if not isinstance(data, dict):
        raise SpecError([f"spec: expected an object, got {type(data).__name__}"])
    faults: list[str] = []
    parts = _defaults(data) | _fields(RunSpec, data, "", faults)
    if data.get("circuit") is None and isinstance(parts.get("problem"), Energy):
        faults.append("circuit: missing; an energy problem needs an ansatz")
    faults += _meaning(parts)
    sound = {name: part for name, part in parts.items() if not any(_field(fault) == name for fault in faults)}
    for check in checks:
        faults += check(sound)
    if faults:
        raise SpecError(faults, hint="every field is in `varloop docs spec`")
    return RunSpec(**parts)


def _defaults(data: dict[str, Any]) -> dict[str, Any]:
    """What the fields are that are not in the data."""
    fields = (each for each in msgspec.structs.fields(RunSpec) if each.name not in data)
    return {field.name: field.default for field in fields if not field.required}


def summary(spec: RunSpec) -> str:
    """How a run goes, in a line."""
    shots = f"{spec.shots:,} shots" if spec.shots else "exact"
    kind = spec.problem.__struct_config__.tag
    return f"{kind} on {spec.backend}, {shots}, {spec.optimizer.name}, seed {spec.seed}"


def _field(fault: str) -> str:
    """The top-level field a fault is about."""
    return re.split(r"[.:\[]", fault, maxsplit=1)[0]


def digest(spec: RunSpec) -> str:
    """SHA-256 of the spec's canonical JSON, hexadecimal."""
    return hashlib.sha256(msgspec.json.encode(spec, order="deterministic")).hexdigest()


def _fields(kind: type[Any], data: dict[str, Any], path: str, faults: list[str]) -> dict[str, Any]:
    """Convert each field of a struct by itself, so that one fault does not hide the next."""
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    unknown = [name for name in data if name not in known and name != kind.__struct_config__.tag_field]
    expected = ", ".join(known)
    faults += first(
        (f"{path}{name!s:.60}: unknown field, expected one of {expected}" for name in unknown), "fields"
    )
    parts: dict[str, Any] = {}
    for name, field in known.items():
        if name not in data:
            if field.required:
                faults.append(f"{path}{name}: missing")
            continue
        value: Any = _spelt_out(field.type, data[name])
        before = len(faults)
        if not path and (why := _unwritable(value)):
            faults.append(f"{name}: {why}")
            continue
        nested = _struct(field.type, value, f"{path}{name}", faults)
        if nested is not None:
            inner = _fields(nested, value, f"{path}{name}.", faults)
            if len(faults) == before:
                parts[name] = nested(**inner)
        elif len(faults) == before:
            try:
                parts[name] = converted(value, field.type)
            except msgspec.ValidationError as error:
                faults.append(fault_text(f"{path}{name}", field.type, value, error))
    return parts


def _unwritable(value: object) -> str:
    """Why a value cannot become JSON: specs are stored, and travel."""
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return "holds a text with half of a surrogate pair, which is no Unicode"
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return f"holds what JSON cannot carry: {error}"
    return ""


SHORT: dict[Any, str] = {OptimizerSpec: "name", Budget: "iterations"}
"""the field that may stand for the whole object: ``optimizer: spsa``, ``budget: 10``"""


def _spelt_out(annotation: Any, value: object) -> object:
    """A value, or the object that it is short for."""
    short = annotation in SHORT and isinstance(value, str | int | float)
    return {SHORT[annotation]: value} if short else value


def converted(value: object, annotation: Any) -> Any:
    """A value as a field's type; numbers that are whole may be written as 1e4 or 10.0 where integers are expected."""
    try:
        return msgspec.convert(value, annotation)
    except msgspec.ValidationError:
        with suppress(msgspec.ValidationError):
            return msgspec.convert(_whole(value), annotation)
        raise


def _whole(value: object) -> object:
    """Plain data with floats that are whole numbers as integers."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= 2**53 else value
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list | tuple) else value


def fault_text(name: str, annotation: Any, value: object, error: msgspec.ValidationError) -> str:
    """What is wrong with a field's value: where inside it, what is there, and what is expected."""
    if get_origin(annotation) is Literal:
        return f"{name}: got {value!r:.60}, expected one of {', '.join(get_args(annotation))}"
    text, inside, place = str(error).partition(" - at `$")
    seen = "" if inside or ", got " in text else f", got {value!r:.60}"
    return f"{name}{place.removesuffix('`')}: {text}{seen}"


def _struct(annotation: Any, value: Any, path: str, faults: list[str]) -> type[_Part] | None:
    """The struct that a plain object stands for, or None where msgspec alone can tell."""
    kinds = get_args(annotation) or (annotation,)
    structs = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, _Part)]
    others = {*kinds} - {*structs, type(None)}
    if not structs or (value is None and type(None) in kinds) or (others and not isinstance(value, dict)):
        return None
    tags = {kind.__struct_config__.tag: kind for kind in structs}
    if not isinstance(value, dict):
        fields = ", ".join(structs[0].__struct_fields__)
        expected = f"with {fields}" if len(structs) == 1 else f"whose kind is {', '.join(map(str, tags))}"
        faults.append(f"{path}: got {value!r:.60}, expected an object {expected}")
        return None
    if len(structs) == 1:
        return structs[0]
    tag = value.get("kind")
    if not isinstance(tag, str) or tag not in tags:
        faults.append(f"{path}.kind: got {tag!r:.60}, expected one of {', '.join(map(str, tags))}")
        return None
    return tags[tag]


def _meaning(parts: dict[str, Any]) -> list[str]:
    """Faults that types cannot express and that need no circuit."""
    faults: list[str] = []
    circuit, problem, budget = parts.get("circuit"), parts.get("problem"), parts.get("budget")
    exact = parts.get("shots", 1) is None
    if circuit is not None:
        given = [name for name in ("qpy", "qasm", "library") if getattr(circuit, name) is not None]
        if len(given) != 1:
            faults.append(f"circuit: expected one of qpy, qasm, library; got {', '.join(given) or 'none'}")
    initial = parts.get("initial")
    if isinstance(initial, list) and not all(abs(x) <= RADIANS for x in initial):
        faults.append(f"initial: every parameter must be finite, and no larger than {RADIANS:g} radians")
    if exact and parts.get("mitigation") == "readout":
        faults.append("mitigation: readout mitigation needs shots; the run is exact")
    if budget is not None and budget.tolerance == math.inf:
        faults.append("budget.tolerance: must be finite; leave it out for no limit")
    if exact and budget is not None and budget.shots is not None:
        faults.append("budget.shots: the run is exact and uses none; set shots")
    return faults + (_weights(problem) if problem is not None else [])


def _weights(problem: Problem) -> list[str]:
    """Faults of a problem's numbers."""
    match problem:
        case Energy(observable=terms):
            return _paulis(terms)
        case Qubo(terms=weights, offset=offset):
            name, numbers = "terms", [offset]
        case Ising(couplings=weights, fields=fields, offset=offset):
            name, numbers = "couplings", [*fields, offset]
        case MaxCut(edges=weights):
            name, numbers = "edges", []
    apart = "" if name == "terms" else "different and "
    faults = first(
        (
            f"problem.{name}[{k}]: nodes must be ≥ 0 and {apart}the weight finite, at most {LARGEST:g}; got {[i, j, w]!s:.80}"
            for k, (i, j, w) in enumerate(weights)
            if min(i, j) < 0 or not abs(w) <= LARGEST or (i == j and name != "terms")
        ),
        name,
    )
    if not all(abs(number) <= LARGEST for number in numbers):
        faults.append(f"problem: every number must be finite, at most {LARGEST:g}")
    if not weights and not numbers[:-1]:
        faults.append("problem: has neither couplings nor fields")
    return faults


def first(faults: Iterable[str], what: str) -> list[str]:
    """The first faults of a kind, and how many more there are."""
    faults = iter(faults)
    found = list(islice(faults, FAULTS))
    more = sum(1 for _ in faults)
    return [*found, f"and {more} more {what} with faults"] if more else found


def _paulis(terms: list[tuple[str, float]]) -> list[str]:
    """Faults of an observable's terms."""
    width = len(terms[0][0])
    faults = ((k, fault) for k, term in enumerate(terms) for fault in _pauli(*term, width))
    return first((f"problem.observable[{k}]: {fault}" for k, fault in faults), "terms")


def _pauli(label: str, coefficient: float, width: int) -> Iterator[str]:
    """Faults of one term."""
    if not label or label.strip("IXYZ"):
        yield f"{label!r:.60} is not a Pauli label of I, X, Y, Z"
    elif len(label) != width:
        yield f"{len(label)} qubits, the first term has {width}"
    if not math.isfinite(coefficient):
        yield f"coefficient {coefficient} is not finite"
    elif abs(coefficient) > LARGEST:
        yield f"coefficient {coefficient:g}, expected at most {LARGEST:g}"
