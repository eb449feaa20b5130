from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
import yaml

from cli.program import Program
from varloop import optimizers
from varloop.cli import specs
from varloop.client import embedded
from varloop.errors import SpecError, UsageError
from varloop.quantum import check
from varloop.spec import RunSpec, parse


def test_the_examples_are_those_the_help_names(program: Program) -> None:
    """`varloop run --help` lists what there is."""
    (listed,) = re.findall(r"or an example:\s+([^.]*)\.", program("run", "--help").stdout)

    assert sorted(re.split(r",\s+", listed)) == specs.example_names()


@pytest.mark.parametrize("name", specs.example_names())
def test_an_example_is_printed_to_begin_from(name: str, program: Program) -> None:
    """What is printed is a spec with its comments; all examples are listed with their first line."""
    text = program("example", name).stdout
    (program.folder / "mine.yaml").write_text(text)

    assert specs.read("mine.yaml")[1] == specs.read(name)[1]
    assert re.search(rf"^{name} +\w", program("example").stdout, re.MULTILINE)
    assert "there is no example 'h3'" in program("example", "h3", code=2).stderr


@pytest.mark.parametrize("name", specs.example_names())
def test_every_example_is_sound(name: str) -> None:
    """No example has a fault that a check finds."""
    _, data = specs.read(name)

    assert isinstance(parse(data, optimizers.faults, check.faults), RunSpec)


def test_the_hydrogen_example_reaches_the_exact_energy() -> None:
    """h2 ends at the full configuration interaction energy, from the Hartree-Fock state."""
    _, data = specs.read("h2")
    run = embedded("memory:").submit(data)
    result = run.result()

    assert result.value == pytest.approx(-1.137306, abs=1e-6)
    assert run.history()[0].value == pytest.approx(-1.116999, abs=1e-6)
    assert result.reason == "converged"


def test_the_sampled_hydrogen_example_reaches_it_within_its_error() -> None:
    """h2-shots ends within 4 standard errors of the exact energy (its seed is fixed), and within 6 mHa of error."""
    _, data = specs.read("h2-shots")
    result = embedded("memory:").submit(data).result()

    assert abs(result.value + 1.137306) < 4 * result.error
    assert result.error < 6e-3


def test_the_maxcut_example_finds_a_best_cut() -> None:
    """maxcut finds one of the Petersen graph's cuts of 12 edges."""
    _, data = specs.read("maxcut")
    solution = embedded("memory:").submit(data).result().solution

    assert solution is not None
    cut = sum(solution.bits[int(a)] != solution.bits[int(b)] for a, b, _ in data["problem"]["edges"])
    assert (solution.cost, cut) == (-12.0, 12)


def test_yaml_and_json_give_the_same_spec(program: Program) -> None:
    """A spec may be written either way, and numbers such as 1e-6 are numbers in both."""
    data = specs.read("tfim")[1]
    (program.folder / "a.yaml").write_text(yaml.safe_dump(data).replace("1.0e-06", "1e-6"))
    (program.folder / "a.json").write_text(json.dumps(data))

    assert specs.read("a.yaml") == specs.read("a.json") == ("a", data)
    assert data["budget"]["tolerance"] == 1e-6


@pytest.mark.parametrize(
    ("text", "reason"),
    [("a: [1", "bad.yaml, line 1: "), ("\x00", "bad.yaml: "), ("[1, 2]", "got list"), ("", "got NoneType")],
)
def test_a_file_that_is_no_spec_is_refused_by_name(program: Program, text: str, reason: str) -> None:
    """The message has the file, and the line if one is to blame."""
    (program.folder / "bad.yaml").write_text(text)

    assert reason in program("check", "bad.yaml", code=2).stderr


def test_an_unknown_spec_lists_the_examples(program: Program) -> None:
    """Neither file nor example: the message lists what there is."""
    result = program("run", "h3", code=2)

    assert "there is no spec 'h3': neither a file nor an example" in result.stderr
    assert "h2, h2-shots, maxcut" in result.stderr


def test_settings_reach_inside_a_spec() -> None:
    """A setting may make a field, replace it, or reach into an object that was not there."""
    data = specs.with_settings(
        {"budget": {"iterations": 1}}, ("budget.shots=10", "shots=1e3", "circuit.library=x")
    )

    assert data == {"budget": {"iterations": 1, "shots": 10}, "shots": 1000.0, "circuit": {"library": "x"}}


@pytest.mark.parametrize(("setting", "reason"), [("shots", "FIELD=VALUE"), ("seed.x=1", "seed is no object")])
def test_a_setting_that_is_none_is_refused(setting: str, reason: str) -> None:
    """What is wrong with a setting is said with the setting."""
    with pytest.raises(UsageError, match=f"--set {setting}.*{reason}"):
        specs.with_settings({"seed": 1}, (setting,))


@pytest.mark.parametrize("circuit", ["ansatz.qasm", "{qasm: ansatz.qasm}"])
def test_a_circuit_in_a_file_beside_the_spec(circuit: str, tmp_path: Path) -> None:
    """The name of a file of OpenQASM is relative to the spec that has it; its source becomes part of the spec."""
    (tmp_path / "ansatz.qasm").write_text("OPENQASM 3.0;")
    (tmp_path / "spec.yaml").write_text(f"circuit: {circuit}")

    assert specs.read(str(tmp_path / "spec.yaml"))[1] == {"circuit": {"qasm": "OPENQASM 3.0;"}}
    (tmp_path / "ansatz.qasm").unlink()
    with pytest.raises(UsageError, match=r"circuit: ansatz.qasm cannot be read: No such file or directory"):
        specs.read(str(tmp_path / "spec.yaml"))


def test_only_the_default_pipeline_has_known_optimizers() -> None:
    """A pipeline of one's own may know other optimizers, so its specs are checked by type alone."""
    data = msgspec.to_builtins(parse(specs.read("h2")[1]))
    data["optimizer"] = {"name": "mine"}

    assert specs.checked(data, "mine").optimizer.name == "mine"
    with pytest.raises(SpecError, match="mine"):
        specs.checked(data, "default")
