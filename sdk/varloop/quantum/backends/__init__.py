"""Backends: what compiles a circuit for a device and runs its rows. Importing this costs no Qiskit.

A backend never sees a problem or an event: it gets a template and rows of angles, and returns numbers.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Protocol

from numpy.typing import ArrayLike

from varloop.errors import SpecError
from varloop.events import Measurement
from varloop.support.installation import AGAIN

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit
    from qiskit.transpiler import Target

    from varloop.quantum.templates import Template

__all__ = ["Backend", "Backends", "Compiled", "Family"]

GROUP = "varloop.backends"
"""of entry points, each of which names a family of backends"""


@dataclass(frozen=True, eq=False)
class Compiled:
    """Circuits a device can run, and where it holds the qubits of the circuit they were compiled from."""

    circuits: tuple[QuantumCircuit, ...]
    """one per measurement basis, qubit ``i`` measured into classical bit ``i``; without bases one, unmeasured"""
    layout: tuple[int, ...]
    """the device's qubit that holds qubit ``i`` at the end, the same in every circuit"""


class Backend(Protocol):
    """A device, real or simulated. Safe to share between threads."""

    @property
    def name(self) -> str:
        """As in the spec, e.g. ``aer:fake_torino``."""

    @property
    def calibration(self) -> str:
        """Changes whenever circuits should be compiled anew."""

    def facts(self, template: Template) -> dict[str, dict[str, float]]:
        """What the calibration says of what a template uses (see :class:`varloop.events.Provenance`)."""

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the software that compiled circuits depend on."""

    @property
    def target(self) -> Target:
        """What the device can do, with durations in seconds where they are known."""

    @property
    def measures_exactly(self) -> bool:
        """True if exact values too are those of measured circuits, as errors of the measurement are in them."""

    def limit(self, mode: str) -> int:
        """Qubits that a problem may have in this mode of a template (see :class:`Template`)."""

    def compile(self, circuit: QuantumCircuit, bases: Sequence[str], level: int) -> Compiled:
        """Compile once for all values of the parameters.

        :param bases: Pauli labels to measure in, rightmost letter = qubit 0; empty to measure nothing.
        :param level: of Qiskit's transpiler, 0–3.
        :raises CircuitError: the circuit does not fit the device.
        """

    def run(
        self,
        template: Template,
        rows: ArrayLike,
        *,
        shots: int | None,
        seed: int,
        calibrate: bool = False,
        outcomes: Sequence[int] = (),
    ) -> Measurement:
        """Run all rows in all bases as one job. The same arguments give the same numbers, bit for bit.

        :param rows: angles, shape (rows, n_angles), radians.
        :param shots: per row and basis; None is exact, as the template's mode says.
        :param calibrate: also measure the readout errors of the template's qubits.
        :param outcomes: of an exact distribution, report these too, however unlikely they are.
        :raises CircuitError: a row is not finite or has the wrong length, or the job failed.
        """


class Family(Protocol):
    """Backends whose names begin alike: what an entry point of the group ``varloop.backends`` names.

    The entry point's own name is the name of one of them, or comes before the colon in theirs: ``aer`` gives ``aer``
    and ``aer:fake_torino``.
    """

    def open(self, name: str) -> Backend | None:
        """The backend of this name, or None if there is none.

        :raises MissingExtra: it needs a package that is not installed.
        """

    def expected(self, name: str) -> str:
        """What could stand in place of a name that nobody knows: the forms of this family's names."""


class Backends:
    """The backends of this process, made when first asked for and kept. Safe between threads."""

    def __init__(self) -> None:
        self._made: dict[str, Backend] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Backend:
        """The backend of this name.

        :raises SpecError: there is none.
        :raises MissingExtra: it needs a package that is not installed.
        """
        with self._lock:
            if name not in self._made:
                self._made[name] = _opened(name)
            return self._made[name]


def _opened(name: str) -> Backend:
    points = _points()
    own = points.get(name.partition(":")[0])
    family: Family | None = own.load() if own else None
    backend = family.open(name) if family else None
    if backend is not None:
        return backend
    if not points:
        raise SpecError([f"backend: this installation knows none; {AGAIN}"])
    expected = [points[each].load().expected(name) for each in sorted(points)]
    raise SpecError([f"backend: unknown {name!r}, expected {'; or '.join(expected)}"])


@cache
def _points() -> dict[str, EntryPoint]:
    """Families by name. Finding them reads the metadata of every package that is installed."""
    return {point.name: point for point in entry_points(group=GROUP)}
