"""Simulators: the backends called aer, and aer:fake_NAME. Importing this costs no Qiskit."""

from __future__ import annotations

import importlib.util
import re
from difflib import get_close_matches

from varloop.errors import MissingExtra
from varloop.quantum.backends import Backend
from varloop.support.installation import install_line

__all__ = ["SIMULATORS", "Simulators"]


class Simulators:
    """The family of Qiskit Aer: ideal, or with the noise of a recorded device."""

    def open(self, name: str) -> Backend | None:
        if name == "aer":
            from varloop.quantum.backends.aer import Aer

            return Aer()
        if not name.startswith("aer:fake_"):
            return None
        if not _has_devices():
            raise MissingExtra("qiskit-ibm-runtime", "ibm")
        from varloop.quantum.backends.noisy import NoisyAer, device

        return NoisyAer(name) if device(name.removeprefix("aer:")) is not None else None

    def expected(self, name: str) -> str:
        forms = "aer or aer:fake_NAME"
        if not _has_devices():
            return f"{forms} ({install_line('ibm')})"
        from varloop.quantum.backends.noisy import devices

        known = [device.removeprefix("fake_") for device in devices()]
        near = get_close_matches(re.split("[_:]", name)[-1], known, 3) or ["torino"]
        return f"{forms}, such as {', '.join(f'aer:fake_{each}' for each in near)}"


SIMULATORS = Simulators()


def _has_devices() -> bool:
    return importlib.util.find_spec("qiskit_ibm_runtime") is not None
