from __future__ import annotations

import subprocess
import sys

import pytest

import varloop


def test_the_door_lists_its_names_in_order() -> None:
    """`__all__` is sorted, has no name twice, and is what `dir` shows."""
    assert varloop.__all__ == sorted(set(varloop.__all__))
    assert dir(varloop) == varloop.__all__


@pytest.mark.parametrize("name", varloop.__all__)
def test_every_listed_name_is_there(name: str) -> None:
    """Each public name can be had from the door, and says where it is defined."""
    value = getattr(varloop, name)

    assert name == "__version__" or value.__module__.startswith("varloop.")


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name is reported as such."""
    with pytest.raises(AttributeError, match="module 'varloop' has no attribute 'sumbit'"):
        _ = varloop.sumbit


def test_opening_the_door_loads_nothing() -> None:
    """`import varloop` imports no other module of varloop and no library."""
    program = "import sys, varloop; print(*(name.partition('.')[0] for name in sys.modules))"
    run = [sys.executable, "-c", program]
    loaded = set(subprocess.run(run, check=True, capture_output=True, text=True).stdout.split())

    assert not loaded & {"click", "cloudevents", "flask", "msgspec", "numpy", "qiskit", "qiskit_aer", "scipy"}
