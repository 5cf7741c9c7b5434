"""Fixtures of the SDK's and the CLI's tests: an API in memory, and no settings from outside."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import tutum
from tests.unit.sdk.fake_api import FakeApi

VARIABLES = ("TUTUM_USER", "TUTUM_APIKEY", "TUTUM_AUTH", "TUTUM_BASE_URL", "TUTUM_REST_HOST")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and an environment that says nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("user", "apikey", "tutum_auth", "base_url", "default_client"):
        monkeypatch.setattr(tutum, name, None)
    return tmp_path


@pytest.fixture
def api(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    """An API in memory that `tutum` talks to."""
    fake = FakeApi()
    client = fake.client()
    monkeypatch.setattr(tutum, "default_client", client)
    yield fake
    client.close()
