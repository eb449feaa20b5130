from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

from varloop import optimizers
from varloop.errors import SpecError
from varloop.optimizers import NAMES, create, faults
from varloop.optimizers.cobyla import Options as CobylaOptions
from varloop.spec import OptimizerSpec, parse

GRADIENT = {"adam", "gradient-descent", "l-bfgs-b"}


def options_of(name: str) -> tuple[str, ...]:
    """The options of an optimizer, from its module."""
    module = import_module(f"varloop.optimizers.{name.replace('-', '_')}")
    fields: tuple[str, ...] = module.Options.__struct_fields__
    return fields


def found(name: str, **options: Any) -> list[str]:
    """The faults of an optimizer and its options; creating it reports the same."""
    spec = OptimizerSpec(name=name, options=options)
    reported = faults({"optimizer": spec})
    if reported:
        with pytest.raises(SpecError) as caught:
            create(spec, 0)
        assert list(caught.value.faults) == reported
    else:
        create(spec, 0)
    return reported


@pytest.mark.parametrize("name", NAMES)
def test_every_name_creates_its_optimizer(name: str) -> None:
    """Each name gives an optimizer of that name, which needs a gradient or not as documented."""
    optimizer = create(OptimizerSpec(name=name), 0)

    assert optimizer.name == name
    assert optimizer.needs_gradient == (name in GRADIENT)
    assert name in (optimizers.__doc__ or "")


def test_an_unknown_name_lists_the_known_ones() -> None:
    """A name that does not exist is one fault, which lists what exists."""
    assert found("sgd") == [f"optimizer.name: got 'sgd', expected one of {', '.join(NAMES)}"]


@pytest.mark.parametrize("name", ["os", "../spsa", "protocol", "checks", "gradient_descent", "SPSA", ""])
def test_a_name_is_not_a_way_to_import_modules(name: str) -> None:
    """Only the listed names are looked up, however the modules are called."""
    assert found(name)[0].startswith(f"optimizer.name: got {name!r}")


def test_all_faults_are_reported_at_once() -> None:
    """Unknown names, wrong types and values out of range are each reported with the field and the value."""
    assert found("spsa", learning_rate=-1, alpha=2.5, gamma="x", calibration=1.5, resamplings=True, a=1) == [
        "optimizer.options.a: unknown option, expected one of learning_rate, first_step, calibration, "
        "perturbation, stability, alpha, gamma, resamplings",
        "optimizer.options.alpha: Expected `float` <= 1.0, got 2.5",
        "optimizer.options.calibration: Expected `int`, got `float`",
        "optimizer.options.gamma: Expected `float`, got `str`",
        "optimizer.options.learning_rate: Expected `float` > 0.0, got -1",
        "optimizer.options.resamplings: Expected `int`, got `bool`",
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("name", "option"),
    [(name, option) for name in NAMES for option in options_of(name)],
)
def test_no_option_takes_a_number_that_is_not_finite(name: str, option: str, value: float) -> None:
    """NaN and infinities are faults of every option of every optimizer."""
    (fault,) = found(name, **{option: value})

    assert fault.startswith(f"optimizer.options.{option}: ")


def test_options_that_do_not_go_together_are_a_fault() -> None:
    """COBYLA's final trust region must not be larger than its first; equal is the least run there is."""
    assert found("cobyla", first_step=0.5, tolerance=2) == [
        "optimizer.options.tolerance: 2.0 is more than first_step, 0.5; the trust region only shrinks"
    ]
    assert found("cobyla", first_step=0.5, tolerance=0.5) == []
    with pytest.raises(ValueError, match="only shrinks"):
        CobylaOptions(first_step=0.5, tolerance=2)


def test_long_values_are_cut() -> None:
    """A fault quotes no more than a hundred characters of a value."""
    (fault,) = found("adam", beta1="x" * 10_000)

    assert len(fault) < 200


def test_whole_numbers_are_floats() -> None:
    """An option of type float may be written as an integer, as JSON writers do."""
    assert found("adam", learning_rate=1, beta1=0) == []


def test_a_spec_without_a_readable_optimizer_has_no_faults_here() -> None:
    """The check keeps quiet about a field that is absent: the default is fine, or its faults are known."""
    assert faults({}) == []


def test_it_is_a_check_of_the_spec() -> None:
    """Parsing a spec with this check reports the options among the spec's other faults."""
    data = {"problem": {"kind": "maxcut", "edges": [[0, 1, 1.0]]}, "seed": -1}
    with pytest.raises(SpecError) as caught:
        parse({**data, "optimizer": {"name": "adam", "options": {"beta1": 1}}}, faults)

    assert len(caught.value.faults) == 2
    assert "optimizer.options.beta1: Expected `float` < 1.0, got 1" in caught.value.faults


@pytest.mark.parametrize("name", NAMES)
def test_an_optimizer_that_needs_a_gradient_must_get_one(name: str) -> None:
    """To measure no gradient is a fault exactly where one is needed, told beside the faults of the options."""
    spec = OptimizerSpec(name=name, options={"typo": 1})
    (option, *others) = faults({"optimizer": spec, "gradient": "none"})

    assert option.startswith("optimizer.options.typo: ")
    assert others == [f"gradient: none, but {name} needs one; expected auto"] * (name in GRADIENT)
    assert faults({"optimizer": spec, "gradient": "auto"}) == [option]


@pytest.mark.parametrize(
    ("name", "absent"),
    [("spsa", {"scipy", "qiskit"}), ("adam", {"scipy", "qiskit", "numpy"}), ("cobyla", {"scipy"})],
)
def test_creating_an_optimizer_imports_little(name: str, absent: set[str]) -> None:
    """In a fresh process neither SciPy nor Qiskit is imported until a replay runs, and Adam needs no NumPy."""
    code = (
        "import sys; from varloop.optimizers import create; from varloop.spec import OptimizerSpec\n"
        f"create(OptimizerSpec(name={name!r}), 0); print(*sorted({absent!r} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
