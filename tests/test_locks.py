"""What is installed does not depend on what a registry offers today."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
LOCKS = {
    "requirements.lock": ("requirements.lock",),
    "functions/core.lock": ("functions/core.lock",),
    "functions/quantum.lock": ("functions/quantum.lock", "functions/core.lock"),
    "sdk/varloop/deploy/backend.lock": ("sdk/varloop/deploy/backend.lock",),
}
"""each lock, and what is installed with it; the peers of the benchmarks are in another environment"""
OWN = tomllib.loads((ROOT / "pyproject.toml").read_text())


def environment(python: str) -> dict[str, str]:
    """Marker variables of this machine with another Python."""
    return {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.0",
        "extra": "",
    }  # type: ignore[dict-item]


def pins(*locks: str) -> dict[str, list[Requirement]]:
    """Everything that lock files pin, by canonical name."""
    found: dict[str, list[Requirement]] = {}
    for lock in locks:
        for line in re.findall(r"^[A-Za-z0-9][^\\\n]*", (ROOT / lock).read_text(), re.MULTILINE):
            requirement = Requirement(line.strip())
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def applies(marker: Marker | None, python: str, extras: set[str]) -> bool:
    """Whether a requirement is one here, with this Python and these extras."""
    return marker is None or any(
        marker.evaluate({**environment(python), "extra": extra}) for extra in extras or {""}
    )


def pinned(name: str, pins: dict[str, list[Requirement]], python: str) -> str | None:
    """The version that is pinned for this Python, or None."""
    for requirement in pins.get(canonicalize_name(name), ()):
        if applies(requirement.marker, python, set()):
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            return specifier.version
    return None


def missing(pins: dict[str, list[Requirement]], roots: list[Requirement], python: str) -> Iterator[str]:
    """Requirements, extras included, that no pin meets: of the roots and of everything pinned."""
    todo, seen = list(roots), set[tuple[str, frozenset[str]]]()
    while todo:
        requirement = todo.pop()
        version = pinned(requirement.name, pins, python)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement} (pinned: {version})"
            continue
        key = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if key in seen:
            continue
        seen.add(key)
        todo += [
            needed
            for needed in map(Requirement, metadata.requires(requirement.name) or ())
            if applies(needed.marker, python, set(requirement.extras) | {""})
        ]


def roots(lock: str) -> list[Requirement]:
    """What a lock is made for."""
    if lock == "requirements.lock":
        extras = [
            line
            for name, lines in OWN["project"]["optional-dependencies"].items()
            if name != "all"
            for line in lines
        ]
        return [
            Requirement(line)
            for line in (*OWN["project"]["dependencies"], *extras, *OWN["dependency-groups"]["dev"])
        ]
    if lock == "sdk/varloop/deploy/backend.lock":
        return [Requirement("hatchling")]
    lines = re.findall(r"^[a-z][^#\n]*", (ROOT / lock).with_suffix(".in").read_text(), re.MULTILINE)
    return [Requirement(line.strip()) for line in lines]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_met_by_a_pin(lock: str, python: str) -> None:
    """Whatever a pinned package requires, extras included, is pinned in a version that it accepts."""
    known = pins(*LOCKS[lock])
    here = [need for need in roots(lock) if canonicalize_name(need.name) != "func-python"]

    assert list(missing(known, here, python)) == []


def test_a_missing_pin_is_seen() -> None:
    """The check finds what is not there, and what is there in a version that is not accepted."""
    known = pins("requirements.lock")
    of_flask = dict(known)
    del of_flask["werkzeug"]

    assert [
        each.partition(" ")[0].partition(">")[0] for each in missing(of_flask, [Requirement("flask")], "3.11")
    ] == ["werkzeug"]
    assert list(missing(known, [Requirement("numpy<1")], "3.11"))


@pytest.mark.parametrize("lock", [*LOCKS, "benchmarks/requirements.lock"])
def test_every_pin_has_its_hashes(lock: str) -> None:
    """One version of each package, and the digests of its files."""
    text = (ROOT / lock).read_text()

    for entry in re.split(r"\n(?=[A-Za-z0-9])", text[text.index("==") - 40 :]):
        if "==" in entry:
            assert "--hash=sha256:" in entry, entry.partition("\n")[0]


INSTALLERS = [
    "Makefile",
    "scripts/base-image",
    "scripts/test-services",
    "scripts/test-knative",
    "sdk/varloop/deploy/images.py",
]


@pytest.mark.parametrize("file", [*INSTALLERS, ".ci/run", "examples/knative/Dockerfile"])
def test_nothing_is_resolved_anew(file: str) -> None:
    """pip installs from locks or what lies here, npm what its lock says, Go a stated version."""
    text = (ROOT / file).read_text().replace("\\\n", " ")
    definitions = dict(re.findall(r"^(\w+) := (.*)$", text, re.MULTILINE))
    for name, value in definitions.items():
        text = text.replace(f"$({name})", value)
    for line in text.splitlines():
        if re.search(r"\bpip\b.*\b(install|wheel)\b.*(--quiet|-r|\")", line) and not re.match(
            r"\w+ :=", line
        ):
            assert "--no-deps" in line, line
            assert ("--require-hashes" in line) != ("--no-build-isolation" in line), line
        assert not re.search(r"npm (i|install)\b", line), line
        assert not re.search(r"go install .*@(latest|main)\b", line), line


def test_what_builds_varloop_is_pinned() -> None:
    """The build system is one version, that of the lock; what it needs besides is nothing."""
    (builder,) = map(Requirement, OWN["build-system"]["requires"])

    assert str(builder.specifier) == "==" + str(pinned(builder.name, pins("requirements.lock"), "3.11"))
    assert not [need for need in metadata.requires(builder.name) or () if "extra ==" not in need]


def test_the_javascript_example_is_locked() -> None:
    """Its lock has one version and a digest for each package, and is that of its package.json."""
    folder = ROOT / "examples/knative"
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]

    assert packages.pop("")["dependencies"] == wanted
    assert all(each["integrity"].startswith("sha512-") for each in packages.values())


def test_this_environment_is_that_of_the_lock() -> None:
    """What is installed here is what is pinned: the other tests look at the metadata of these versions."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    known = pins("requirements.lock")
    expected = {name: pinned(name, known, python) for name in known}

    assert {name: metadata.version(name) for name, version in expected.items() if version} == {
        name: version for name, version in expected.items() if version
    }
