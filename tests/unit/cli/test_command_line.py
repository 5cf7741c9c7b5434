"""The command as a whole: help, errors, exit codes, login."""

from pathlib import Path

import httpx2
import pytest

import tutum
from tests.unit.cli.conftest import Tutum, piped
from tests.unit.sdk.fake_api import FakeApi
from tutum.cli.app import COMMANDS


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_each_command_has_help(tutum_command: Tutum, name: str) -> None:
    ran = tutum_command(*filter(None, [name]), "--help")
    assert ran.code == 0
    assert f"Usage: tutum {name}" in ran.out


def test_without_a_command_it_prints_the_commands_and_what_the_environment_sets(tutum_command: Tutum) -> None:
    ran = tutum_command()
    assert (ran.code, ran) == (0, tutum_command("-h"))
    assert all(f"\n  {name} " in ran.out for name in COMMANDS)
    assert all(text in ran.out for text in ("\n    TUTUM_REST_HOST  Server", "Exit codes: 0 done, 1 the operation"))
    assert tutum_command("-v").out == tutum_command("--version").out == f"tutum {tutum.__version__}\n"


def test_a_bad_url_is_one_line(api: FakeApi, tutum_command: Tutum, monkeypatch: pytest.MonkeyPatch) -> None:
    tutum.default_client = None
    monkeypatch.setenv("TUTUM_REST_HOST", "localhost:8000")
    ran = tutum_command("service", "ps")
    assert ran.code == 3
    assert ran.err.count("\n") == 1
    assert "http://HOST:PORT/api/v1/" in ran.err
    assert "http://HOST:PORT (TUTUM_REST_HOST)" in ran.err


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            httpx2.Response(401, json={"error": "credentials are needed"}),
            'not authorized at http://tutum.test: run "tutum login", or set TUTUM_USER and TUTUM_APIKEY',
        ),
        (httpx2.Response(400, json={"error": "unknown\n filter\x1b[1m"}), "unknown filter?[1m (HTTP 400)"),
    ],
)
def test_a_refusal_is_one_line(api: FakeApi, tutum_command: Tutum, answer: httpx2.Response, told: str) -> None:
    api.script([answer])
    ran = tutum_command("service", "ps")
    assert (ran.code, ran.err) == (3, f"tutum: {told}\n")


def test_login_checks_and_saves(
    api: FakeApi, home: Path, tutum_command: Tutum, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUTUM_REST_HOST", "http://tutum.test")
    ran = tutum_command("login", stdin=piped("bob\ns3cret-key\n"))
    assert (ran.code, ran.out) == (0, f"Logged in to http://tutum.test as bob; saved in {home / '.tutum'}\n")
    assert (home / ".tutum").read_text() == "[auth]\nuser = bob\napikey = s3cret-key\n\n"
    assert (home / ".tutum").stat().st_mode & 0o777 == 0o600


def test_login_with_a_wrong_key_saves_nothing(
    api: FakeApi, home: Path, tutum_command: Tutum, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUTUM_REST_HOST", "http://tutum.test")
    api.script([httpx2.Response(401)])
    ran = tutum_command("login", "--user", "bob", stdin=piped("wrong-key\n"))
    assert ran.code == 3
    assert "does not accept this user and API key; nothing was saved" in ran.err
    assert "wrong-key" not in ran.err
    assert not (home / ".tutum").exists()
