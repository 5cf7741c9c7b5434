"""Fixtures of the SDK's and the CLI's tests: an API in memory, and no settings from outside."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import tutum
from tests.unit.sdk.fake_api import FakeApi

GLOBALS = ("user", "apikey", "tutum_auth", "base_url", "default_client")
VARIABLES = ("TUTUM_USER", "TUTUM_APIKEY", "TUTUM_AUTH", "TUTUM_BASE_URL", "TUTUM_REST_HOST")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home folder, and an environment and a module that say nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    before = {name: getattr(tutum, name) for name in GLOBALS}
    for name in GLOBALS:
        setattr(tutum, name, None)
    yield tmp_path
    for name, value in before.items():
        setattr(tutum, name, value)


@pytest.fixture
def api(home: Path) -> Iterator[FakeApi]:
    """An API in memory that `tutum` talks to."""
    fake = FakeApi()
    client = fake.client()
    tutum.default_client = client
    yield fake
    client.close()
