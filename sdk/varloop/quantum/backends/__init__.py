"""Backends: what compiles a circuit for a device and runs its rows. Importing this costs no Qiskit.

A backend never sees a problem or an event: it gets a template and rows of angles, and returns numbers.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Protocol

from numpy.typing import ArrayLike

from varloop.errors import MissingExtra, SpecError
from varloop.events import Measurement
from varloop.support.installation import install_line

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit
    from qiskit.transpiler import Target

    from varloop.quantum.templates import Template

__all__ = ["Backend", "Backends", "Compiled"]


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
        self, template: Template, rows: ArrayLike, *, shots: int | None, seed: int, calibrate: bool = False
    ) -> Measurement:
        """Run all rows in all bases as one job. The same arguments give the same numbers, bit for bit.

        :param rows: angles, shape (rows, n_angles), radians.
        :param shots: per row and basis; None is exact, as the template's mode says.
        :param calibrate: also measure the readout errors of the template's qubits.
        :raises CircuitError: a row is not finite or has the wrong length, or the job failed.
        """


class Backends:
    """The backends of this process, made when first asked for and kept."""

    def __init__(self) -> None:
        self._made: dict[str, Backend] = {}

    def get(self, name: str) -> Backend:
        """The backend of this name.

        :raises SpecError: there is none.
        :raises MissingExtra: it needs a package that is not installed.
        """
        if name not in self._made:
            self._made[name] = _make(name)
        return self._made[name]


def _make(name: str) -> Backend:
    if name == "aer":
        from varloop.quantum.backends.aer import Aer

        return Aer()
    if name.startswith("aer:fake_"):
        if importlib.util.find_spec("qiskit_ibm_runtime") is None:
            raise MissingExtra("qiskit-ibm-runtime", "ibm")
        from varloop.quantum.backends.noisy import NoisyAer, device

        if device(name.removeprefix("aer:")) is not None:
            return NoisyAer(name)
    raise SpecError([f"backend: unknown {name!r}, expected aer or aer:fake_NAME{_like(name)}"])


def _like(name: str) -> str:
    """Devices whose names are like this one."""
    if importlib.util.find_spec("qiskit_ibm_runtime") is None:
        return f" ({install_line('ibm')})"
    from varloop.quantum.backends.noisy import devices

    known = [device.removeprefix("fake_") for device in devices()]
    near = get_close_matches(re.split("[_:]", name)[-1], known, 3) or ["torino"]
    return f", such as {', '.join(f'aer:fake_{each}' for each in near)}"
