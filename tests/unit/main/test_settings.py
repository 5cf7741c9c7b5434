"""Settings from options and variables, and the engines that they name."""

import pytest

from tutumd.errors import SettingsError
from tutumd.main.engines import Spec, parse_specs
from tutumd.settings import read_settings


def test_an_option_comes_before_a_variable_and_a_variable_before_the_default() -> None:
    settings, warnings = read_settings({"TUTUMD_PORT": "1", "TUTUMD_HOST": "::1"}, {"port": 2, "host": None})
    assert (settings.port, settings.host, settings.max_containers) == (2, "::1", 100)
    assert warnings == []


def test_what_a_cluster_injects_is_ignored_without_a_word() -> None:
    injected = {
        "TUTUMD_PORT": "tcp://10.0.0.1:8000",
        "TUTUMD_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "TUTUMD_PORT_8000_TCP_ADDR": "10.0.0.1",
        "TUTUMD_SERVICE_HOST": "10.0.0.1",
        "TUTUMD_SERVICE_PORT": "8000",
    }
    settings, warnings = read_settings(injected, {})
    assert settings.port == 8000
    assert warnings == []


def test_an_unknown_variable_is_warned_about_without_its_value() -> None:
    _, [warning] = read_settings({"TUTUMD_ADMIN_APIKEYS": "secret-value", "OTHER": "x"}, {})
    assert "TUTUMD_ADMIN_APIKEYS" in warning
    assert "secret-value" not in warning


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("TUTUMD_PORT", "eighty", "TUTUMD_PORT"),
        ("TUTUMD_PORT", "70000", "TUTUMD_PORT"),
        ("TUTUMD_MAX_CONTAINERS", "0", "TUTUMD_MAX_CONTAINERS"),
        ("TUTUMD_PUBLIC_URL", "hooks.example.com", "TUTUMD_PUBLIC_URL"),
    ],
)
def test_a_wrong_value_names_its_variable(variable: str, value: str, text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        read_settings({variable: value}, {})


def test_engines_are_separated_by_commas_in_a_variable() -> None:
    settings, _ = read_settings({"TUTUMD_ENGINE": "local, prod=docker:tcp://host:2375"}, {})
    assert parse_specs(settings.engine) == (
        Spec(name="local", kind="local"),
        Spec(name="prod", kind="docker", url="tcp://host:2375"),
    )


@pytest.mark.parametrize(
    "text", ["podmann", "a=b", "Prod=docker:unix:///x", "local:unix:///x", "docker:host", "=docker"]
)
def test_a_wrong_engine_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_specs([text])


def test_two_engines_of_one_name_are_refused() -> None:
    with pytest.raises(SettingsError, match="twice"):
        parse_specs(["docker", "docker:tcp://host:2375"])
