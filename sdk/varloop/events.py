"""The events of the variational loop: frozen, typed, pure data. No I/O ever belongs here.

An :class:`Event` is a CloudEvent 1.0 whose ``data`` is one of the bodies below; the body's class
decides the CloudEvents ``type``. Codecs to and from the wire live in :mod:`varloop.wire.codec`.
"""

from __future__ import annotations

import hashlib
import uuid
from html import escape
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec

from varloop.evaluation import Evaluation
from varloop.support.numbers import fixed, with_error
from varloop.support.signing import sign

__all__ = [
    "BODIES",
    "Body",
    "CancelRequested",
    "CircuitEncoded",
    "CircuitExecuted",
    "Claim",
    "Event",
    "Job",
    "Measurement",
    "Memo",
    "ObjectiveEvaluated",
    "ParametersProposed",
    "Provenance",
    "Readout",
    "Request",
    "RequestSkipped",
    "RunCancelled",
    "RunCompleted",
    "RunFailed",
    "RunSubmitted",
    "Samples",
    "Solution",
    "StopRequested",
    "Terminal",
    "event_id",
    "is_signed",
]

PREFIX = "dev.varloop."
VERSION = 1
_NAMESPACE = uuid.UUID("5b0bd1b4-5a3c-5d4e-9f57-0a4d3c1f7e11")


class Body(msgspec.Struct, frozen=True):
    """The data of one type of event. Subclass it, with ``type`` set, for events of your own."""

    type: ClassVar[str] = ""
    advances: ClassVar[bool] = False
    """True if the event opens the next iteration instead of belonging to the current one."""


class Memo(msgspec.Struct, frozen=True):
    """A reference to what a step remembered in the run's journal: the record's key and the digest."""

    key: str
    digest: str


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """Measured outcomes of a batch, column by column, row-major in (row, group).

    ``rows × groups`` cells; cell ``c`` owns entries ``offsets[c]:offsets[c + 1]`` of ``outcomes`` and
    ``weights``. An outcome is an integer whose bit ``q`` is the outcome of qubit ``q`` (Qiskit's
    little-endian order). Weights are counts, or probabilities when the run is exact.
    """

    num_qubits: int
    rows: int
    groups: int
    offsets: list[int]
    outcomes: bytes
    """unsigned 64-bit little-endian integers"""
    weights: bytes
    """64-bit little-endian floats"""


class Readout(msgspec.Struct, frozen=True, kw_only=True):
    """A calibration of the readout."""

    errors: list[list[float]]
    """shares of wrong readings per qubit, shape (n_qubits, 2): [P(read 1 | 0), P(read 0 | 1)]"""
    shots: int
    """that each share was counted in"""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch measured, of every row, and what that took."""

    circuits: int
    """executions: rows × measurement groups, calibration circuits included"""
    shots: int
    """of all executions together; 0 when exact"""
    values: list[float] | None = None
    """the objective of each row, shape (rows,), when exact; None when sampled"""
    samples: Samples | None = None
    """outcomes of every row and group; of an exact run of a binary problem, each row's likeliest outcomes"""
    readout: Readout | None = None
    """of the problem's qubits, if the run undoes their errors"""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One batched job."""

    backend: str
    rows: int
    seconds: float = 0.0


class Solution(msgspec.Struct, frozen=True, kw_only=True):
    """An assignment of a binary problem.

    ``bits[i]`` is variable ``i`` (qubit ``i``), so the string reads left to right from qubit 0.
    """

    bits: str
    cost: float
    probability: float
    """share of the samples that gave these bits: of the batch that found them; in a run's result, of those measured
    afresh at its parameters"""


class RunSubmitted(Body, frozen=True, kw_only=True):
    """An application asks for a run. ``spec`` is a run spec as plain data (see :mod:`varloop.spec`)."""

    type = PREFIX + "run.submitted"
    spec: dict[str, Any]


class Request(Body, frozen=True, kw_only=True):
    """The points of one iteration, to be executed in one batch."""

    template: str
    """key of the compiled template in the store"""
    points: list[list[float]]
    """parameter points, shape (n_points, n_parameters), in the circuit's parameter order; radians"""
    gradient: str = "none"
    """none, parameter-shift, finite-difference or spsa: also measure the gradient at points[0]"""
    memo: Memo
    """what the optimizer remembered when it proposed these points"""
    deadline: float | None = None
    """seconds since the epoch, after which it shall not be carried out; none by default"""
    solution: Annotated[str, msgspec.Meta(pattern="^[01]{0,64}$")] = ""
    """bits of an assignment whose share at the points is asked for, as the final measurement of a binary problem does"""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's numbers depend on besides its spec."""

    versions: dict[str, str]
    """of Python, varloop and the libraries that decide numbers, where the circuit was compiled"""
    calibration: str
    """names the state of the device; ``ideal`` for a simulator without noise"""
    device: dict[str, dict[str, float]] = {}
    """what that calibration says of what is in use: of each operation, as ``cz 3 4``, its ``error`` and ``duration``
    in seconds; of each qubit, as ``qubit 3``, its ``t1`` and ``t2`` in seconds"""


class CircuitEncoded(Request, frozen=True, kw_only=True):
    """The run's circuit is compiled; carries the first points."""

    type = PREFIX + "circuit.encoded"
    names: list[str] = []
    """of the parameters, in their order"""
    bases: list[str] = []
    """measurement bases in the order of the samples' groups, rightmost letter = qubit 0; none if nothing is measured"""
    provenance: Provenance | None = None


class ParametersProposed(Request, frozen=True, kw_only=True):
    """The optimizer's next points."""

    type = PREFIX + "parameters.proposed"
    advances = True


class CircuitExecuted(Body, frozen=True, kw_only=True):
    """The outcome of one iteration's batch."""

    type = PREFIX + "circuit.executed"
    request: Request
    job: Job
    measurement: Measurement


class RequestSkipped(Body, frozen=True, kw_only=True):
    """A request was not carried out, because the run is to end: nothing was measured in this iteration."""

    type = PREFIX + "request.skipped"
    reason: str
    """deadline, or stopped if the run was asked to"""


class ObjectiveEvaluated(Body, frozen=True, kw_only=True):
    """The objective at the requested points."""

    type = PREFIX + "objective.evaluated"
    memo: Memo
    evaluation: Evaluation
    shots: int = 0
    """shots this iteration used"""
    solution: Solution | None = None
    """best assignment seen in this iteration, or the one that was asked for if that is better; for binary problems"""
    shares: list[float] | None = None
    """share of that assignment in the samples of each point, if one was asked for, shape (n_points,)"""


class RunCompleted(Body, frozen=True, kw_only=True):
    """The run ended well, with its parameters and the objective's value there.

    With shots the optimizer's last recommendation and the points of the lowest values so far are measured afresh, each
    twice: the first value selects one of them, the second is the result, unbiased. An exact run has the lowest value of
    all points. A deadline that left no time for this says so in ``fresh``.
    """

    type = PREFIX + "run.completed"
    value: float
    error: float
    """standard error of value; 0 when exact"""
    parameters: list[float]
    """shape (n_parameters,), in the circuit's parameter order; radians"""
    iterations: int
    shots: int
    reason: str
    """converged, iterations, shots, deadline or stopped"""
    fresh: bool = True
    """false after a deadline that left no time for the final measurement of a run with shots: the value is that of the
    latest iteration's first point, unbiased, but not of the best point"""
    solution: Solution | None = None
    """best assignment sampled in any iteration, for binary problems"""

    def _repr_html_(self) -> str:
        """For a notebook."""
        rows = {
            "value": with_error(self.value, self.error),
            "solution": f"{self.solution.bits}, cost {self.solution.cost:g}" if self.solution else "",
            "parameters": ", ".join(fixed(each, 6) for each in self.parameters),
            "iterations": f"{self.iterations}, ended by: {self.reason}",
            "shots": f"{self.shots:,}" if self.shots else "none, exact",
        }
        cells = (f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in rows.items() if text)
        return f"<table>{''.join(cells)}</table>"


class RunFailed(Body, frozen=True, kw_only=True):
    """The run cannot go on."""

    type = PREFIX + "run.failed"
    error: str
    """class of the error"""
    detail: str
    hint: str = ""
    function: str = ""
    faults: list[str] = []


class RunCancelled(Body, frozen=True, kw_only=True):
    """The run was cancelled. Its iterations so far are in the store."""

    type = PREFIX + "run.cancelled"
    reason: str = ""


class StopRequested(Body, frozen=True, kw_only=True):
    """An application asks to end a run well, with its result, as a budget that is used up does.

    An iteration under way is finished, and one more may be.
    """

    type = PREFIX + "run.stop.requested"


class CancelRequested(Body, frozen=True, kw_only=True):
    """An application asks to end a run."""

    type = PREFIX + "run.cancel.requested"
    reason: str = ""


Terminal = (RunCompleted, RunFailed, RunCancelled)

BODIES: dict[str, type[Body]] = {
    body.type: body
    for body in (
        RunSubmitted,
        CircuitEncoded,
        ParametersProposed,
        CircuitExecuted,
        RequestSkipped,
        ObjectiveEvaluated,
        RunCompleted,
        RunFailed,
        RunCancelled,
        StopRequested,
        CancelRequested,
    )
}

B = TypeVar("B", bound=Body, covariant=True)
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Event(msgspec.Struct, Generic[B], frozen=True, kw_only=True, eq=False):
    """A CloudEvent with a typed body. ``run`` is the CloudEvents subject and partition key."""

    id: Text
    source: Text
    run: Text
    data: B
    time: float
    """seconds since the epoch, UTC; 0 if the event does not say"""
    pipeline: Text = "default"
    iteration: int = 0
    shard: int = 0
    """which of ``shards`` parts of an iteration's work it belongs to, from 0"""
    shards: int = 1
    origin: str = ""
    """set by pure functions, see :attr:`call`"""
    traceparent: str = ""
    tracestate: str = ""
    encoded: bytes = b""
    """data as JSON, if it was encoded already: the id depends on these very bytes"""

    def __eq__(self, other: object) -> bool:
        """Equal in everything that travels."""
        return isinstance(other, Event) and all(
            getattr(self, name) == getattr(other, name)
            for name in self.__struct_fields__
            if name != "encoded"
        )

    def __hash__(self) -> int:
        return hash((self.source, self.id))

    @property
    def type(self) -> str:
        """CloudEvents type, e.g. ``dev.varloop.run.submitted``."""
        return self.data.of if isinstance(self.data, Claim) else self.data.type

    @property
    def call(self) -> str:
        """Identity of the call that it asks for: its own or, if a pure function made it, that of the call it came of.

        Another machine may calculate the event of a pure function with another last digit, and another id.
        """
        return f"{self.type} {self.origin}" if self.origin else f"{self.source} {self.id}"


class Claim(Body, frozen=True, kw_only=True):
    """Stands for a body too large for an event: it lies in the store under ``ref`` (claim check)."""

    of: str
    """CloudEvents type of the body"""
    ref: str
    """store key, ``runs/<run>/objects/<sha256>``"""


def event_id(
    pipeline: str, run: str, iteration: int, type: str, data: bytes, *, shard: int = 0, shards: int = 1
) -> str:
    """Deterministic id of an event: UUIDv5 of its routing and the SHA-256 of its encoded data.

    The same outcome always gets the same id, and an event whose content was altered on the way no
    longer matches its own. Where there is a key (:mod:`varloop.support.signing`) the id is a signature of all this,
    a UUIDv8, that nobody else can make.
    """
    digest = hashlib.sha256(data).hexdigest()
    part = f"{iteration}" if shards == 1 else f"{iteration}@{shard}of{shards}"
    return _identity(f"{pipeline}/{run}/{part}/{type}/{digest}")


def _identity(text: str) -> str:
    """UUIDv5 of a text or, with a key, 122 bits of its signature as a UUIDv8."""
    signature = sign("event", text.encode())
    if not signature:
        return str(uuid.uuid5(_NAMESPACE, text))
    bits = int.from_bytes(signature[:16], "big") & ~(0xF000 << 64 | 0xC000 << 48)
    return str(uuid.UUID(int=bits | 0x8000 << 64 | 0x8000 << 48))


def is_signed(id: str) -> bool:
    """Whether an id is a signature, by its form."""
    return id[14:15] == "8"
