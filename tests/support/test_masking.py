from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varloop.errors import RunEnded, SpecError, TemporaryError
from varloop.support.masking import mask, printable


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
        "VARLOOP_S3_SECRET_KEY",
        "VARLOOP_KEY",
    ],
)
def test_values_of_secret_variables(name: str) -> None:
    """The value of an environment variable that is named like a secret is masked as a word, a long one anywhere."""
    assert mask("a s3cr3t, and s3cr3ts", {name: "s3cr3t"}) == "a ***, and s3cr3ts"
    assert mask("in words: xs3cr3t-s3cr3t-s3cr3ty", {name: "s3cr3t-s3cr3t-s3cr3t"}) == "in words: x***y"


def test_other_variables_are_shown() -> None:
    """Values of other variables, names of users and of files, and values too short to be secrets, stay."""
    assert mask("in /home/me, 1", {"HOME": "/home/me", "X_TOKEN": "1", "Y_TOKEN": ""}) == "in /home/me, 1"
    assert mask("cannot read /run/x", {"VARLOOP_TOKEN_FILE": "/run/x"}) == "cannot read /run/x"


def test_the_keys_of_the_compose_file_leave_varloop_its_name() -> None:
    """Its access key is ``varloop``; its secret key is masked."""
    environment = {"VARLOOP_S3_ACCESS_KEY": "varloop", "VARLOOP_S3_SECRET_KEY": "varloop-local"}

    assert (
        mask("varloop doctor, varloop-local, varloop.dead", environment)
        == "varloop doctor, ***, varloop.dead"
    )


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://me:pw@host/x", "http://***@host/x"),
        ("http://me:p/w@host/x", "http://***@host/x"),
        ("http://me:p@w/@host/x", "http://***@host/x"),
        ("'s3+https://key:sec:ret@host'", "'s3+https://***@host'"),
        ("redis://:pw@host", "redis://***@host"),
        ("https://ghp_token@host/x", "https://***@host/x"),
        ("http://host:8080/x@y", "http://host:8080/x@y"),
        ("http://host/x@y", "http://host/x@y"),
        ("two http://a:b@c and http://d:e@f", "two http://***@c and http://***@f"),
        ("s3://b?endpoint=http://me:pw@host", "s3://b?endpoint=http://***@host"),
        ("s3://b?secret_key=X/y+z&region=r", "s3://b?secret_key=***&region=r"),
        ("sasl.password=hush, sasl.username=me", "sasl.password=***, sasl.username=me"),
        ("Authorization: Bearer abcdefgh.ij", "Authorization: Bearer ***"),
    ],
)
def test_passwords_in_urls(text: str, masked: str) -> None:
    """A URL loses all before its host, and parameters that are named like a secret their values."""
    assert mask(text, {}) == masked


def test_a_secret_inside_another() -> None:
    """No part of a longer secret is left because a shorter one stands in it."""
    assert mask("abcdef-ghijkl", {"A_TOKEN": "abcdef", "B_TOKEN": "abcdef-ghijkl"}) == "***"


def test_the_environment_is_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that was set after the import is masked too."""
    monkeypatch.setenv("NEW_TOKEN", "just-set")

    assert mask("just-set") == "***"


@given(text=st.text(), secret=st.text(st.characters(exclude_characters="*"), min_size=16))
def test_nothing_is_left(text: str, secret: str) -> None:
    """Whatever surrounds it, a secret is not in the masked text."""
    assert secret not in mask(text + secret + text, {"X_SECRET": secret})


def test_errors_hold_no_secrets() -> None:
    """Whatever an error quotes: in its text, its parts and its representation."""
    url = "http://me:hush/hush@host"
    for error in (
        TemporaryError(f"{url} is away", hint=f"ask {url}"),
        SpecError([f"problem: {url}"]),
        RunEnded("x", faults=[url]),
    ):
        shown = f"{error} {error!r} {error.detail} {error.hint} {getattr(error, 'faults', '')}"
        assert "hush" not in shown
        assert "host" in shown


def test_control_characters_are_shown() -> None:
    """A terminal that shows them obeys nothing; words of all languages stay."""
    assert printable("ok\n\tπ \x1b[2J\x07\r\x9b\u202e\u2028") == "ok\n\tπ \\x1b[2J\\x07\\r\\x9b\\u202e\\u2028"
    assert str(RunEnded("cancelled: \x1b]0;mine\x07")) == "cancelled: \\x1b]0;mine\\x07"


@pytest.mark.parametrize(
    "text", ["token" * 400_000, "://a:b" * 300_000, "://" + "a" * 2_000_000, "a.-" * 700_000]
)
def test_masking_takes_no_longer_than_reading(text: str) -> None:
    """No text makes the search quadratic: of so long a text it would not end within the test's time."""
    assert mask(text, {})
