"""Batches made by hand, for what reads them."""

from __future__ import annotations

from dataclasses import dataclass

from varloop.events import Measurement, Readout, Samples
from varloop.quantum.objective import Objective
from varloop.quantum.templates import Template
from varloop.spec import Problem


@dataclass(frozen=True)
class Bare:
    """The part of a template that an estimate reads."""

    objective: Objective


def template(problem: Problem) -> Template:
    """A template without circuits."""
    return Bare(Objective(problem))  # type: ignore[return-value]


def measured(
    samples: Samples | None = None, errors: list[list[float]] | None = None, shots: int = 10**9
) -> Measurement:
    """What a batch measured.

    :param errors: of a readout calibration.
    :param shots: of the calibration.
    """
    readout = None if errors is None else Readout(errors=errors, shots=shots)
    return Measurement(circuits=1, shots=1, samples=samples, readout=readout)
