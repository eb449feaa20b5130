from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varloop.support.masking import mask


@pytest.mark.parametrize(
    "name",
    [
        "QISKIT_IBM_TOKEN",
        "S3_SECRET",
        "db_password",
        "PASSWD",
        "AWS_CREDENTIALS",
        "API_KEY",
        "apikey",
        "ACCESS_KEY",
    ],
)
def test_values_of_secret_variables(name: str) -> None:
    """The value of an environment variable that is named like a secret is masked wherever it stands."""
    assert mask("a s3cr3t, and s3cr3ts", {name: "s3cr3t"}) == "a ***, and ***s"


def test_other_variables_are_shown() -> None:
    """Values of other variables, and values too short to be secrets, stay."""
    assert mask("in /home/me, 1", {"HOME": "/home/me", "X_TOKEN": "1", "Y_TOKEN": ""}) == "in /home/me, 1"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://me:pw@host/x", "http://me:***@host/x"),
        ("s3+https://key:sec:ret@host", "s3+https://key:***@host"),
        ("redis://:pw@host", "redis://:***@host"),
        ("http://host:8080/x@y", "http://host:8080/x@y"),
        ("two http://a:b@c and http://d:e@f", "two http://a:***@c and http://d:***@f"),
        ("no://one@host", "no://one@host"),
    ],
)
def test_passwords_in_urls(text: str, masked: str) -> None:
    """A URL keeps its user and loses its password."""
    assert mask(text, {}) == masked


def test_a_secret_inside_another() -> None:
    """No part of a longer secret is left because a shorter one stands in it."""
    assert mask("abcdef-ghijkl", {"A_TOKEN": "abcdef", "B_TOKEN": "abcdef-ghijkl"}) == "***"


def test_the_environment_is_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that was set after the import is masked too."""
    monkeypatch.setenv("NEW_TOKEN", "just-set")

    assert mask("just-set") == "***"


@given(text=st.text(), secret=st.text(st.characters(exclude_characters="*"), min_size=6))
def test_nothing_is_left(text: str, secret: str) -> None:
    """Whatever surrounds it, a secret is not in the masked text."""
    assert secret not in mask(text + secret + text, {"X_SECRET": secret})
