"""What a spec would run and cost, before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from varloop.client.builder import build_spec, checked
from varloop.errors import SpecError
from varloop.spec import RunSpec

if TYPE_CHECKING:
    from varloop.evaluation import Evaluation
    from varloop.optimizers import Ask
    from varloop.quantum.check import Report

__all__ = ["check", "examine"]


def check(spec: RunSpec | dict[str, Any] | None = None, /, **fields: Any) -> Report:
    """What a run would cost, touching no hardware; its first point is simulated once.

        print(varloop.check(circuit=ansatz, observable=hamiltonian, shots=1024, budget=60).total_shots)

    :param spec: a spec; or the fields of one as keyword arguments, those of :func:`varloop.build_spec`.
    :return: sizes of the compiled circuits, jobs, shots, QPU seconds and their price, and the objective at the first
        point: :class:`varloop.quantum.check.Report`.
    :raises SpecError: with every fault of the spec.
    """
    sound = checked(build_spec(**fields) if spec is None else spec)
    return examine(sound)[0]


def examine(spec: RunSpec) -> tuple[Report, int]:
    """The report of a sound spec for what its optimizer asks time and again, and how many points come first."""
    from varloop import optimizers
    from varloop.quantum.backends import Backends
    from varloop.quantum.check import report
    from varloop.quantum.problems import ansatz

    optimizer = optimizers.create(spec.optimizer, spec.seed)
    start = spec.point or [0.0] * ansatz(spec).num_parameters
    state = optimizer.start(start)
    first = optimizer.ask(state)
    if first is None:
        raise SpecError([f"optimizer: {spec.optimizer.name} has nothing to ask for this circuit"])
    later = optimizer.ask(optimizer.tell(state, _imagined(first, len(start)))) or first
    points = len(first.points)
    seen = report(spec, Backends(), len(later.points), later.gradient, first=points, start=start)
    return seen, points


def _imagined(ask: Ask, parameters: int) -> Evaluation:
    """Any answer, to see what the optimizer asks next."""
    from varloop.evaluation import Evaluation

    values = [0.1 * k for k in range(len(ask.points))]
    gradient = [0.1] * parameters if ask.gradient else None
    return Evaluation(values, [0.0] * len(values), gradient)
