"""varloop: variational quantum algorithms as event-driven functions.

Everything public is here, and in the ``__all__`` of these modules:

- :mod:`varloop.events`, :mod:`varloop.spec`, :mod:`varloop.errors`: what travels, what defines a run, what may go wrong
- :mod:`varloop.objective`: for a postprocess step of your own
- :mod:`varloop.optimizers`, :mod:`varloop.optimizers.replay`: for an optimizer of your own
- :mod:`varloop.testing`: to try your own steps with every fault on demand

Importing ``varloop`` loads none of it; a name is loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from varloop.app import App
    from varloop.client import Run, embedded, submit
    from varloop.client.builder import build_spec
    from varloop.client.check import check
    from varloop.client.remote import connect
    from varloop.context import Context
    from varloop.errors import (
        EventError,
        PermanentError,
        RunEnded,
        RunTimeout,
        SpecError,
        TemporaryError,
        UnknownRun,
        UsageError,
        VarloopError,
    )
    from varloop.events import Body, Event
    from varloop.progress import Iteration
    from varloop.spec import (
        Budget,
        CircuitSpec,
        Energy,
        Ising,
        MaxCut,
        OptimizerSpec,
        Qubo,
        RunSpec,
    )

_HOMES = {
    "app": ("App",),
    "client": ("Run", "embedded", "submit"),
    "context": ("Context",),
    "errors": (
        "EventError",
        "PermanentError",
        "RunEnded",
        "RunTimeout",
        "SpecError",
        "TemporaryError",
        "UnknownRun",
        "UsageError",
        "VarloopError",
    ),
    "events": ("Body", "Event"),
    "progress": ("Iteration",),
    "client.builder": ("build_spec",),
    "client.check": ("check",),
    "client.remote": ("connect",),
    "spec": ("Budget", "CircuitSpec", "Energy", "Ising", "MaxCut", "OptimizerSpec", "Qubo", "RunSpec"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "App",
    "Body",
    "Budget",
    "CircuitSpec",
    "Context",
    "Energy",
    "Event",
    "EventError",
    "Ising",
    "Iteration",
    "MaxCut",
    "OptimizerSpec",
    "PermanentError",
    "Qubo",
    "Run",
    "RunEnded",
    "RunSpec",
    "RunTimeout",
    "SpecError",
    "TemporaryError",
    "UnknownRun",
    "UsageError",
    "VarloopError",
    "__version__",
    "build_spec",
    "check",
    "connect",
    "embedded",
    "submit",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'varloop' has no attribute {name!r}")
    value = getattr(import_module(f"varloop.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
