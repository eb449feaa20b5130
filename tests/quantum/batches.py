"""Batches made by hand, for what reads them."""

from __future__ import annotations

from dataclasses import dataclass

from varloop.events import CircuitExecuted, Job, Memo, Request, Samples
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


def measured(samples: Samples | None = None, readout: list[list[float]] | None = None) -> CircuitExecuted:
    """An executed batch."""
    return CircuitExecuted(
        request=Request(template="", points=[], memo=Memo(key="", digest="")),
        job=Job(backend="", rows=1, circuits=1, shots=1),
        samples=samples,
        readout=readout,
    )
