"""Versions of what decides a run's numbers."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata

__all__ = ["PACKAGES", "versions"]

PACKAGES = ("varloop", "qiskit", "qiskit-aer", "qiskit-ibm-runtime", "numpy", "scipy")


@cache
def versions() -> dict[str, str]:
    """Of this process, by name; what is not installed is left out."""
    found = {"Python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
