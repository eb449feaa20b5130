"""Circuits on the wire: canonical QPY bytes, and circuits read from specs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from varloop.spec import CircuitSpec

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

__all__ = ["from_qpy", "load", "spec_of", "to_qpy"]


def to_qpy(circuit: QuantumCircuit) -> bytes:
    """zlib of QPY, canonical: circuits of the same structure give the same bytes."""
    raise NotImplementedError


def from_qpy(data: bytes) -> QuantumCircuit:
    """The circuit of :func:`to_qpy`'s bytes.

    :raises CircuitError: corrupt, truncated or too large.
    """
    raise NotImplementedError


def load(spec: CircuitSpec) -> QuantumCircuit:
    """The circuit a spec describes.

    :raises CircuitError: it cannot be read or built.
    """
    raise NotImplementedError


def spec_of(circuit: QuantumCircuit) -> CircuitSpec:
    """The spec that describes this circuit, as QPY."""
    raise NotImplementedError
