"""`tutumd healthcheck` finds its server by the settings."""

import os

import pytest

from tutumd.main.healthcheck import server_address
from tutumd.settings import read_settings


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"TUTUMD_HOST": "", "TUTUMD_PORT": ""},
        {"TUTUMD_HOST": "10.0.0.7", "TUTUMD_PORT": "9000"},
        {"TUTUMD_PORT": "tcp://10.96.0.7:8000"},  # as Kubernetes injects it beside a service named tutumd
    ],
)
def test_the_address_is_that_of_the_settings(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in ("TUTUMD_HOST", "TUTUMD_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = read_settings({})
    assert server_address(os.environ) == (settings.host, settings.port)


@pytest.mark.parametrize(("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("::", "::1")])
def test_a_server_on_all_addresses_is_asked_on_loopback(host: str, reached: str) -> None:
    assert server_address({"TUTUMD_HOST": host}) == (reached, 8000)
