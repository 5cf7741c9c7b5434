"""The command as a whole: help, errors, exit codes, login."""

import json
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


def test_whoami_and_logout_say_where_the_credentials_are(
    api: FakeApi, home: Path, tutum_command: Tutum, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUTUM_REST_HOST", "http://tutum.test")
    saved = home / ".tutum"
    saved.write_text("[auth]\nuser = bob\napikey = s3cret-key\n[server]\nbase_url = http://x/api/v1/\n[other]\na = b\n")
    rows = [line.split(maxsplit=1) for line in tutum_command("whoami").out.splitlines()]
    assert rows[:3] == [["user", "bob"], ["role", "admin"], ["scope", "call"]]
    assert rows[3:] == [["server", "http://tutum.test"], ["credentials", "from  ~/.tutum (tutum login)"]]
    monkeypatch.setenv("TUTUM_APIKEY", "s3cret-key")
    assert json.loads(tutum_command("whoami", "--json").out)["credentials_from"] == "the environment"
    ran = tutum_command("logout")
    assert ran.out.splitlines()[0] == f"Removed from {saved}: user, apikey, base_url"
    assert "The environment still has credentials" in ran.out
    assert (saved.read_text().split(), saved.stat().st_mode & 0o777) == (
        ["[auth]", "[server]", "[other]", "a", "=", "b"],
        0o600,
    )
    assert tutum_command("logout").out.startswith(f"Nothing to remove: {saved} has no credentials")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("service stop wbe", "no service has the name or UUID 'wbe'; did you mean 'web'?"),
        ("webhook-handler show web depoly", "no webhook handler has the name or UUID 'depoly'; did you mean 'deploy'?"),
        ("service stop something-else", "no service has the name or UUID 'something-else'"),
    ],
)
def test_a_mistyped_name_gets_a_suggestion(api: FakeApi, tutum_command: Tutum, command: str, told: str) -> None:
    ran = tutum_command(*command.split())
    assert (ran.code, ran.err) == (3, f"tutum: {told}\n")


@pytest.mark.parametrize("group", ["service", "action", "webhook-handler", "notification"])
def test_lists_have_one_name_everywhere(api: FakeApi, tutum_command: Tutum, group: str) -> None:
    names = ("list", "ls", "ps") if group == "service" else ("list", "ls")
    assert len({tutum_command(group, name).out for name in names}) == 1
