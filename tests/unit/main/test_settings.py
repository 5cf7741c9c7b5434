"""Settings from options and variables, and the engines that they name."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tutumd.errors import SettingsError
from tutumd.main.engines import Spec, parse_specs
from tutumd.settings import SECRETS, environment_warnings, read_settings

ONE_LINE = "must contain only the value, on one line of UTF-8"


def test_an_option_comes_before_a_variable_and_a_variable_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTUMD_PORT", "1")
    monkeypatch.setenv("TUTUMD_HOST", "::1")
    settings = read_settings({"port": 2, "host": None, "engine": []})
    assert (settings.port, settings.host, settings.max_containers) == (2, "::1", 100)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTUMD_PORT", "")
    monkeypatch.setenv("DOCKER_HOST", "")
    settings = read_settings({})
    assert (settings.port, settings.docker_host) == (8000, "")


def test_the_variables_of_docker_and_kubernetes_have_no_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONFIG", "KUBECONFIG"):
        monkeypatch.setenv(name, name.lower())
    settings = read_settings({})
    values = (settings.docker_host, settings.docker_config, settings.kubeconfig)
    assert values == ("docker_host", "docker_config", "kubeconfig")


def test_the_variables_of_docker_and_kubernetes_are_ignored_with_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("DOCKER_HOST", "DOCKER_CONFIG", "KUBECONFIG")
    for name in names:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(f"TUTUMD_{name}", "tcp://elsewhere:2375")
    settings = read_settings({})
    assert (settings.docker_host, settings.docker_config, settings.kubeconfig) == ("", "", "")
    assert len(environment_warnings([f"TUTUMD_{name}" for name in names])) == 3


@pytest.mark.parametrize(
    ("variable", "remedy"),
    [
        ("TUTUMD_ADMIN_APIKEYS", "is not a setting and is ignored: did you mean TUTUMD_ADMIN_APIKEY?"),
        ("TUTUMD_COLOUR", "is not a setting and is ignored: see docs/reference/settings.md"),
    ],
)
def test_a_variable_that_is_no_setting_is_warned_about(variable: str, remedy: str) -> None:
    assert environment_warnings([variable, "TUTUMD_PORT", "OTHER"]) == [f"{variable} {remedy}"]


@pytest.mark.parametrize(
    ("variable", "value", "wanted"),
    [
        ("TUTUMD_PORT", "eighty", "a valid integer"),
        ("TUTUMD_PORT", "70000", "less than or equal to 65535"),
        ("TUTUMD_MAX_CONTAINERS", "0", "greater than or equal to 1"),
        ("TUTUMD_PUBLIC_URL", "hooks.example.com", "like https://hooks.example.com"),
        ("TUTUMD_PUBLIC_URL", "https://example.com/api/v1/", "like https://hooks.example.com or .*, without /api/v1"),
        ("TUTUMD_TRUSTED_PROXIES", "10.0.0.1/8", "a valid IPv4 or IPv6 network"),
        ("TUTUMD_DASHBOARD", "perhaps", "on or off"),
    ],
)
def test_a_wrong_value_names_its_variable_and_what_was_wanted(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, wanted: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"^{variable}: must be {wanted}.*, got '{value}'$"):
        read_settings({})


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://host", "https://", "https:///x", "https://host:", "https://host:99999", "https://host:x"),
        *("https://user:key@host", "https://host?a=b", "https://host/#x", "https://host/a//b", "https://host/../x"),
        *("https://host/%2e%2e", "https://h o", "https://host/a b", "https://host,https://other", "https://-."),
    ],
)
def test_a_public_url_that_no_client_could_use_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^--public-url: "):
        read_settings({"public_url": url})


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://hooks.example.com/", "https://hooks.example.com"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("https://example.com/a/hooks-1/", "https://example.com/a/hooks-1"),
        ("https://bücher.example", "https://bücher.example"),
    ],
)
def test_a_public_url_may_have_a_port_and_a_path(url: str, kept: str) -> None:
    assert read_settings({"public_url": url}).public_url == kept


@pytest.mark.parametrize("value", ["mysql://tutumd:hidden@db/tutumd", "hidden", "postgresql://"])
def test_a_wrong_url_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TUTUMD_LISTEN_URL", value)
    with pytest.raises(SettingsError, match=r"^TUTUMD_LISTEN_URL: must be postgresql://.*, got something else$"):
        read_settings({})


def test_a_url_to_listen_on_is_shown_nowhere() -> None:
    settings = read_settings({"listen_url": "postgresql://tutumd:hidden@db/tutumd"})
    assert settings.listen_url.endswith("db/tutumd")
    assert "hidden" not in repr(settings)


def test_every_setting_that_is_shown_nowhere_may_be_in_a_file() -> None:
    assert {"database", "listen_url", "admin_apikey", "secret_key"} <= set(SECRETS)
    assert not environment_warnings([f"TUTUMD_{name.upper()}_FILE" for name in SECRETS])
    assert environment_warnings(["TUTUMD_PORT_FILE"])


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_a_secret_is_read_from_its_file_without_the_end_of_the_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, end: str
) -> None:
    value = "postgresql://user:p@db/x" if name in ("database", "listen_url") else "0123456789abcdef"
    (tmp_path / "mounted").write_text(f"{value}{end}", newline="")
    (tmp_path / "secret").symlink_to("mounted")  # as in a volume of Kubernetes
    monkeypatch.setenv(f"TUTUMD_{name.upper()}", "")
    monkeypatch.setenv(f"TUTUMD_{name.upper()}_FILE", str(tmp_path / "secret"))
    assert getattr(read_settings({}), name) == value


def test_an_option_comes_before_the_file_which_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUTUMD_DATABASE_FILE", str(tmp_path / "missing"))
    assert read_settings({"database": "sqlite:///x.db"}).database == "sqlite:///x.db"


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_in_a_variable_and_in_a_file_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    variable = f"TUTUMD_{name.upper()}"
    monkeypatch.setenv(variable, "hidden")
    monkeypatch.setenv(f"{variable}_FILE", "/run/secrets/x")
    with pytest.raises(SettingsError, match=f"^{variable} and {variable}_FILE are both set: unset one of them$"):
        read_settings({})


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda path: None, "cannot be read: No such file or directory; name a file that this user can read"),
        (Path.mkdir, "must be a regular file"),
        (os.mkfifo, "must be a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "must be a regular file"),
        (lambda path: path.write_text(""), ONE_LINE),
        (lambda path: path.write_text(" \n\n"), ONE_LINE),
        (lambda path: path.write_text("hidden\nhidden\n"), ONE_LINE),
        (lambda path: path.write_bytes(b"hidden\xff"), ONE_LINE),
    ],
)
def test_a_file_that_holds_no_secret_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make: Callable[[Path], object], fault: str
) -> None:
    path = tmp_path / "secret"
    make(path)
    monkeypatch.setenv("TUTUMD_SECRET_KEY_FILE", str(path))
    with pytest.raises(SettingsError, match=f"^TUTUMD_SECRET_KEY_FILE: {path} {fault}$"):
        read_settings({})


def test_a_wrong_value_in_a_file_names_the_variable_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("mysql://u:hidden@db/x")
    monkeypatch.setenv("TUTUMD_LISTEN_URL_FILE", str(tmp_path / "url"))
    with pytest.raises(SettingsError, match=r"^TUTUMD_LISTEN_URL_FILE: must be postgresql://.*, got something else$"):
        read_settings({})


def test_a_wrong_option_is_named_as_an_option() -> None:
    with pytest.raises(SettingsError, match=r"^--keep-days: must be greater than or equal to 1, got 0$"):
        read_settings({"keep_days": 0})


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTUMD_PORT", "eighty")
    monkeypatch.setenv("TUTUMD_TRUSTED_PROXIES", "10.0.0.1/8,proxy")
    with pytest.raises(SettingsError) as refused:
        read_settings({"keep_days": 0})
    assert str(refused.value).splitlines() == [
        "TUTUMD_PORT: must be a valid integer, got 'eighty'",
        "--keep-days: must be greater than or equal to 1, got 0",
        "TUTUMD_TRUSTED_PROXIES: must be a valid IPv4 or IPv6 network, got '10.0.0.1/8'",
        "TUTUMD_TRUSTED_PROXIES: must be a valid IPv4 or IPv6 network, got 'proxy'",
    ]


def test_a_secret_may_begin_as_windows_begins_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden\r\n", encoding="utf-8-sig", newline="")
    monkeypatch.setenv("TUTUMD_SECRET_KEY_FILE", str(tmp_path / "secret"))
    assert read_settings({}).secret_key == "hidden"


def test_lists_are_separated_by_commas_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTUMD_ENGINE", "local, prod=docker:tcp://host:2375,")
    monkeypatch.setenv("TUTUMD_TRUSTED_PROXIES", "10.0.0.0/8, ::1")
    settings = read_settings({})
    assert parse_specs(settings.engine) == (
        Spec(name="local", kind="local"),
        Spec(name="prod", kind="docker", url="tcp://host:2375"),
    )
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "::1/128"]


@pytest.mark.parametrize(
    "text", ["podmann", "a=b", "Prod=docker:unix:///x", "local:unix:///x", "docker:host", "=docker"]
)
def test_a_wrong_engine_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=f"--engine must be auto, local, .*; got '{text}'"):
        parse_specs([text])


def test_two_engines_of_one_name_are_refused() -> None:
    with pytest.raises(SettingsError, match="twice"):
        parse_specs(["docker", "docker:tcp://host:2375"])
