"""Where the real services are: in the environment. Without them these tests are skipped, in CI they fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One suite per S3 server: ``S3_ENDPOINT`` may name several, separated by commas."""
    if "s3_endpoint" in metafunc.fixturenames:
        metafunc.parametrize("s3_endpoint", os.environ.get("S3_ENDPOINT", "").split(","), indirect=True)


@pytest.fixture
def s3_endpoint(request: pytest.FixtureRequest) -> str:
    """URL of a real S3 server."""
    return _demand("S3_ENDPOINT", request.param)


@pytest.fixture(scope="session")
def scripts() -> Path:
    """The folder of scripts that start real servers."""
    return Path(_demand("SERVICES", os.environ.get("SERVICES", "")))


@pytest.fixture
def kafka_bootstrap() -> str:
    """host:port of a real Kafka."""
    return _demand("KAFKA_BOOTSTRAP", os.environ.get("KAFKA_BOOTSTRAP", ""))


def _demand(name: str, value: str) -> str:
    if not value:
        message = f"{name} is not set"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return value
