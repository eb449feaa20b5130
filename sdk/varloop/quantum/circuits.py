"""Circuits on the wire: canonical QPY bytes, and circuits read from specs.

What is read here comes from outside, so every failure of a parser becomes a CircuitError, no file is opened, and
sizes are checked before anything of that size is allocated, wherever the source states them. Where only reading it
would tell, :class:`varloop.quantum.sandbox.Sandbox` reads it in a process with limits.
"""

from __future__ import annotations

import base64
import io
import math
import re
import struct
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Any

from varloop.errors import CircuitError, UsageError, VarloopError
from varloop.quantum.gates import inlined, plain, timed
from varloop.spec import CircuitSpec

if TYPE_CHECKING:
    from qiskit.circuit import (
        CircuitInstruction,
        Delay,
        Operation,
        Parameter,
        ParameterVector,
        QuantumCircuit,
    )

__all__ = [
    "MAX_BYTES",
    "MAX_OPERATIONS",
    "MAX_PARAMETERS",
    "MAX_QUBITS",
    "Load",
    "check_operations",
    "check_size",
    "from_qpy",
    "load",
    "placeholders",
    "qasm_version",
    "spec_of",
    "to_qpy",
]

MAX_BYTES = 64 << 20
"""bytes of QPY after decompression"""
MAX_QUBITS = 4096
"""of a circuit that is read, idle ones included"""

MAX_PARAMETERS = 1 << 17
"""of a circuit that is read, elements of its vectors that it does not use included"""

MAX_OPERATIONS = 1 << 17
"""of a circuit, those inside its gates' definitions included"""

Load = Callable[[CircuitSpec, int], "QuantumCircuit"]
"""What reads circuits: :func:`load`, or :meth:`varloop.quantum.sandbox.Sandbox.load`"""

_LIBRARY_QUBITS = 64
"""of a circuit of the library, which has no idle ones; no problem has more"""
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "varloop:parameters")
_HEADER = struct.Struct("!6sBBBBQcc")
_CIRCUIT = struct.Struct("!H1cHII")
_NAMES = "varloop.parameters"
_OLDEST = 13
_SYMBOL = re.compile(rb"vv\0{10}.{8}", re.DOTALL)
_SYMBOLS = re.compile(rb"(?:vv\0{10}.{8}){2,}", re.DOTALL)
"""symbols of an expression in QPY 18: type, type and size (0) of the value, number of the vector (0), index"""
_COMMENT = re.compile(r"\"[^\"]*\"|'[^']*'|//[^\n]*|/\*.*?\*/", re.DOTALL)
"""of OpenQASM, or a string, which may look like one inside"""
_REGISTER = re.compile(r"\b(?:[qc]reg\s+\w+|qubit|bit)\s*\[\s*([\d_]+)\s*\]")
_VERSION = re.compile(r"\A\s*OPENQASM\s+(\d)")
_UNDEFINED = ("measure", "barrier", "delay", "reset")


def to_qpy(circuit: QuantumCircuit) -> bytes:
    """zlib of QPY, canonical: two builds of one circuit give the same bytes, and so does what is read from them.

    Names and metadata of the circuit are dropped, identities of its Parameters follow from their names, and gates
    that QPY does not write whole are taken apart.

    :raises CircuitError: the circuit holds something QPY cannot express.
    """
    return _written(
        from_qpy(_written(circuit))
    )  # an expression such as 1·x is read as x: the second writing is final


def from_qpy(data: bytes) -> QuantumCircuit:
    """The circuit of :func:`to_qpy`'s bytes.

    :raises CircuitError: corrupt, truncated, more than MAX_BYTES or MAX_QUBITS, or not one circuit.
    """
    from qiskit import qpy

    with _boundary("not zlib of QPY"):
        raw = _inflate(data)
        _check_header(raw)
    with _boundary("Qiskit cannot read this QPY"):
        return _restored(*qpy.load(io.BytesIO(raw)))


def load(spec: CircuitSpec, seed: int = 0) -> QuantumCircuit:
    """The circuit a spec describes: its gates alone, on numbered qubits (see :mod:`varloop.quantum.gates`).

    :param seed: of the run: what a function of the library draws at random derives from it, unless the options
        give a seed.
    :raises CircuitError: it cannot be read or built, is too large, or holds more than gates and final measurements.
    """
    if spec.qpy is not None:
        with _boundary("not base64"):
            data = base64.b64decode(spec.qpy, validate=True)
        circuit = from_qpy(data)
    elif spec.qasm is not None:
        circuit = _from_qasm(spec.qasm)
    else:
        circuit = _from_library(spec.library or "", spec.options, seed)
    check_size(circuit.num_qubits, "qubits")
    with _boundary("its gates cannot be counted"):
        check_operations(circuit)
    circuit = _gates_of(circuit)
    check_operations(circuit)  # controls of a gate become gates too
    return circuit


def spec_of(circuit: QuantumCircuit) -> CircuitSpec:
    """The spec that describes this circuit, as QPY.

    :raises UsageError: it is no circuit.
    :raises CircuitError: the circuit holds more than gates and final measurements.
    """
    from qiskit.circuit import QuantumCircuit

    if not isinstance(circuit, QuantumCircuit):
        raise UsageError(
            f"the circuit is a {type(circuit).__name__}, expected a QuantumCircuit",
            hint="varloop.CircuitSpec(library=…) names one of Qiskit's library, qasm=… takes OpenQASM",
        )
    return CircuitSpec(qpy=base64.b64encode(to_qpy(_gates_of(circuit))).decode("ascii"))


def _gates_of(circuit: QuantumCircuit) -> QuantumCircuit:
    with _boundary("the circuit cannot be taken apart"):
        return plain(circuit)


def placeholders(circuit: QuantumCircuit) -> ParameterVector:
    """As many parameters as the circuit has, with a name that none of its own has."""
    from qiskit.circuit import ParameterVector

    names = [parameter.name for parameter in circuit.parameters]
    return ParameterVector(max(names, default="") + "_", len(names), uuid=_NAMESPACE)


def _written(circuit: QuantumCircuit) -> bytes:
    from qiskit import qpy

    with _boundary("the circuit cannot be written as QPY"), io.BytesIO() as buffer:
        qpy.dump(_canonical(circuit), buffer)
        return zlib.compress(_in_order(buffer.getvalue()), 6)


def _canonical(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit as it is written: its parameters are those of one vector, their names are in the metadata.

    QPY lists vectors, and the symbols of an expression, in the order of a randomly seeded hash table. With one
    vector there is nothing to order in the first list, and :func:`_in_order` can find the second.
    """
    parameters = list(circuit.parameters)
    circuit = inlined(circuit.assign_parameters(dict(zip(parameters, placeholders(circuit), strict=True))))
    _replace_delays(circuit, _with_unit)
    circuit.name, circuit.metadata = "", {_NAMES: [_name(each) for each in parameters]}
    return circuit


def _in_order(raw: bytes) -> bytes:
    """QPY with the symbols of each expression in ascending order."""
    return _SYMBOLS.sub(lambda run: b"".join(sorted(_SYMBOL.findall(run[0]))), raw)


def _restored(circuit: QuantumCircuit) -> QuantumCircuit:
    """A circuit that was read, with the parameters it had before :func:`_canonical`."""
    from qiskit.circuit import Parameter, ParameterVector

    vectors: dict[tuple[str, int], ParameterVector] = {}
    parameters: list[Parameter] = []
    for name, *place in (circuit.metadata or {}).get(_NAMES, ()):
        if not place:
            parameters.append(Parameter(name, uuid=uuid.uuid5(_NAMESPACE, name)))
            continue
        index, length = place
        if (name, length) not in vectors:
            check_size(length + sum(map(len, vectors.values())), "parameters", MAX_PARAMETERS)
            identity = uuid.uuid5(_NAMESPACE, f"{name}[{length}]")
            vectors[name, length] = ParameterVector(name, length, uuid=identity)
        parameters.append(vectors[name, length][index])
    circuit.metadata = {}
    _replace_delays(circuit, _from_unit)
    if not parameters:
        return circuit
    return circuit.assign_parameters(dict(zip(circuit.parameters, parameters, strict=True)))


def _name(parameter: Parameter) -> tuple[str] | tuple[str, int, int]:
    """Name; of an element its vector's name, its index and the vector's length."""
    from qiskit.circuit import ParameterVectorElement

    if isinstance(parameter, ParameterVectorElement):
        return parameter.vector.name, parameter.index, len(parameter.vector)
    return (parameter.name,)


def _replace_delays(circuit: QuantumCircuit, change: Callable[[CircuitInstruction], Delay]) -> None:
    if not circuit.count_ops().get("delay"):
        return
    for place, instruction in enumerate(circuit.data):
        if instruction.name == "delay":
            circuit.data[place] = instruction.replace(operation=change(instruction))


def _with_unit(instruction: CircuitInstruction) -> Delay:
    """The delay as QPY keeps it whole: it forgets units, but not that of a constant expression (Qiskit issue 8293)."""
    from qiskit.circuit import Delay, Duration
    from qiskit.circuit.classical import expr

    delay = instruction.operation
    if delay.unit in {"dt", "expr"}:
        return delay
    return Delay(expr.lift(getattr(Duration, delay.unit)(float(delay.duration))))


def _from_unit(instruction: CircuitInstruction) -> Delay:
    """The delay of :func:`_with_unit`."""
    if instruction.operation.unit == "dt" and not isinstance(instruction.params[0], int):
        raise CircuitError(
            "a delay has lost its unit in Qiskit's QPY",
            hint="give durations in dt, or hand the circuit to varloop.submit, which keeps units",
        )
    return timed(instruction.operation)


def _inflate(data: bytes) -> bytes:
    """Decompress at most MAX_BYTES."""
    inflater = zlib.decompressobj()
    raw = inflater.decompress(data, MAX_BYTES)
    if inflater.unconsumed_tail:
        raise CircuitError(f"the circuit has more than {MAX_BYTES} bytes of QPY")
    if not inflater.eof or inflater.unused_data:
        raise CircuitError("truncated, or followed by other data")
    return raw


def _check_header(raw: bytes) -> None:
    """Refuse what Qiskit's reader would trust: formats with code in them, and memory for any size stated."""
    magic, version, *_, programs, _, kind = _HEADER.unpack_from(raw)
    if magic != b"QISKIT" or version < _OLDEST or kind != b"q" or programs != 1:
        raise CircuitError(f"expected QPY of version {_OLDEST} or later with one circuit")
    start = struct.unpack_from("!Q", raw, _HEADER.size)[0] if version >= 16 else _HEADER.size
    *_, qubits, clbits = _CIRCUIT.unpack_from(raw, start)
    check_size(qubits, "qubits")
    check_size(clbits, "classical bits")


def check_size(count: int, what: str, limit: int = MAX_QUBITS) -> None:
    """Refuse a circuit that has more of something than the limit.

    :raises CircuitError: it has.
    """
    if count > limit:
        raise CircuitError(f"the circuit has {count} {what}, expected at most {limit}")


def check_operations(circuit: QuantumCircuit) -> None:
    """Count a circuit's operations as its gates' definitions spell them out, and stop at the limit.

    :raises CircuitError: more than MAX_OPERATIONS.
    """
    if _operations(circuit, MAX_OPERATIONS) < 0:
        raise CircuitError(f"the circuit has more than {MAX_OPERATIONS} operations, its gates' own included")


def _operations(circuit: QuantumCircuit, left: int) -> int:
    """What is left of a number of operations after those of a circuit; negative if they are more."""
    left -= len(circuit.data)
    for instruction in circuit.data:
        if left < 0:
            break
        if not instruction.is_standard_gate():
            left = _inner(instruction.operation, left)
    return left


def _inner(operation: Operation, left: int) -> int:
    """What is left after the operations that one of no standard kind consists of."""
    from qiskit.circuit import AnnotatedOperation, PowerModifier

    if isinstance(operation, AnnotatedOperation):
        repeats = [each.power for each in operation.modifiers if isinstance(each, PowerModifier)]
        once = left - _inner(operation.base_op, left)
        return left - int(max(once, 1) * math.prod(math.ceil(abs(power)) for power in repeats))
    if operation.name == "unitary":  # Shende et al., IEEE Trans. CAD 25, 1000 (2006): some 4ⁿ gates
        return left - int(4**operation.num_qubits)
    if operation.name in _UNDEFINED:
        return left
    inner = getattr(operation, "definition", None)
    return left if inner is None else _operations(inner, left)


def _from_qasm(source: str) -> QuantumCircuit:
    """OpenQASM 2 or 3, by its version line; 3 is assumed without one. It can include what Qiskit has built in."""
    from qiskit import qasm2, qasm3
    from qiskit.exceptions import MissingOptionalLibraryError

    bare = _COMMENT.sub(_blank, source)
    sizes = [int(size.replace("_", "")) for size in _REGISTER.findall(bare)]
    check_size(sum(sizes), "bits in its registers", 2 * MAX_QUBITS)
    with _boundary("the OpenQASM source cannot be read"):
        if qasm_version(source) == "2":
            return qasm2.loads(source, include_path=())
        try:
            with redirect_stderr(io.StringIO()):  # where the parser prints what its error says
                return qasm3.loads(source)
        except MissingOptionalLibraryError as error:
            raise CircuitError(
                "OpenQASM 3 cannot be read here", hint="pip install qiskit-qasm3-import"
            ) from error


def qasm_version(source: str) -> str:
    """The major version that OpenQASM says it has; empty if it says none."""
    version = _VERSION.search(_COMMENT.sub(_blank, source))
    return version[1] if version else ""


def _blank(match: re.Match[str]) -> str:
    """Strings stay, comments become a space."""
    return match[0] if match[0][0] in "\"'" else " "


def _from_library(name: str, options: dict[str, Any], seed: int) -> QuantumCircuit:
    """Call a function of qiskit.circuit.library."""
    import inspect

    from qiskit.circuit import QuantumCircuit, library

    function = getattr(library, name, None)
    if name.startswith("_") or not inspect.isfunction(function):
        raise CircuitError(
            f"qiskit.circuit.library has no function {name!r}", hint="for example efficient_su2"
        )
    draws = "seed" in inspect.signature(function).parameters
    if draws and options.get("seed") is None:
        options = {**options, "seed": seed}
    for option, size in options.items():
        if isinstance(size, int) and option != "seed":
            qubits = option in ("num_qubits", "feature_dimension")
            check_size(size, option, _LIBRARY_QUBITS if qubits else MAX_QUBITS)
    with _boundary(f"{name} of qiskit.circuit.library cannot be built with {options!s:.256}"):
        circuit = function(**options)
    if not isinstance(circuit, QuantumCircuit):
        raise CircuitError(
            f"{name} of qiskit.circuit.library makes a {type(circuit).__name__}, not a circuit"
        )
    return circuit


@contextmanager
def _boundary(what: str) -> Iterator[None]:
    """Turn any failure of a parser into a CircuitError; Rust panics are no Exception, and are caught too."""
    try:
        yield
    except (VarloopError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise CircuitError(f"{what}: {type(error).__name__}: {str(error)[:256]}") from error
