"""Optimizers of other packages, named in a spec like varloop's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from varloop.client import submit
from varloop.errors import SpecError
from varloop.optimizers import NAMES, create, faults
from varloop.spec import OptimizerSpec

MODULE = """
import msgspec
from varloop.optimizers import Ask

class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rate: float = 0.1
    steps: int = 1

class Descent:
    name = "my-descent"
    needs_gradient = True
    def __init__(self, options): self.options = options
    def start(self, x0): return {"iteration": 0, "x": list(x0)}
    def ask(self, state): return Ask([state["x"]], True)
    def tell(self, state, evaluation):
        x = [x - self.options.rate * g for x, g in zip(state["x"], evaluation.gradient, strict=True)]
        return {"iteration": state["iteration"] + 1, "x": x}
    def best(self, state): return state["x"]

def create(options, seed): return Descent(options)
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package is installed that has an optimizer, one that cannot be imported, and one with a name of varloop's."""
    (tmp_path / "my_descent.py").write_text(MODULE)
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[varloop.optimizers]\nmy-descent = my_descent\nbroken = no_such_module\nspsa = my_descent\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def found(name: str, **options: Any) -> list[str]:
    """The faults of an optimizer."""
    return faults({"optimizer": OptimizerSpec(name=name, options=options)})


def test_a_run_uses_it() -> None:
    """The same steps as varloop's own gradient descent, to the last bit."""
    what: dict[str, Any] = {
        "circuit": {"library": "real_amplitudes", "options": {"num_qubits": 2, "reps": 1}},
        "observable": [("ZZ", 1.0), ("XI", 0.5)],
        "budget": 5,
        "store": "memory:",
    }
    mine = OptimizerSpec(name="my-descent", options={"rate": 0.2})
    own = OptimizerSpec(name="gradient-descent", options={"learning_rate": 0.2})

    assert submit(**what, optimizer=mine).result() == submit(**what, optimizer=own).result()


def test_its_faults_are_told_as_those_of_the_others() -> None:
    """Its options are checked, whole numbers may be written as floats, and its name stands among the known ones."""
    assert found("my-descent", rate=0.5, steps=1e2) == []
    assert found("my-descent", speed=1) == [
        "optimizer.options.speed: unknown option, expected one of rate, steps"
    ]
    assert found("my-ascent") == [
        f"optimizer.name: got 'my-ascent', expected one of {', '.join(NAMES)}, broken, my-descent"
    ]
    with pytest.raises(
        SpecError, match="broken is installed but cannot be imported: No module named 'no_such_module'"
    ):
        create(OptimizerSpec(name="broken"), 0)


def test_a_package_does_not_replace_varloops_own() -> None:
    """What a spec means does not depend on what else is installed."""
    assert type(create(OptimizerSpec(name="spsa"), 0)).__module__ == "varloop.optimizers.spsa"
