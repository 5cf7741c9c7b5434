"""Completion in the shell: what is offered, and silence when the server cannot be asked."""

from pathlib import Path

import pytest

from tests.unit.cli.test_command_line import run_process
from tests.unit.sdk.fake_api import DB, OTHER_WEB, FakeApi, service
from tutum.cli.app import build
from tutum.cli.completion import complete_service


def complete(line: str, home: Path, **environment: str) -> list[str]:
    """Return what bash is offered at the end of a line."""
    words = line.split(" ")
    variables = {
        "_TUTUM_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        **environment,
    }
    done = run_process(home=home, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tutum service re", ["redeploy"]),
        ("tutum service ps --status R", ["Running", "Redeploying"]),
        ("tutum action list -s In", ["In-progress"]),
        ("tutum webhook-handler create web --verify git", ["github", "gitlab", "gitea"]),
        ("tutum webhook-handler show web ci --for git", ["github", "gitlab"]),
        ("tutum webhook-handler set web ci --reset max_", ["max_uses", "max_containers"]),
    ],
)
def test_words_are_completed(home: Path, line: str, offered: list[str]) -> None:
    assert complete(line, home) == offered


@pytest.mark.parametrize("line", ["tutum service redeploy w", "tutum webhook-handler show web d"])
@pytest.mark.parametrize("host", ["http://127.0.0.1:1", "no URL"])
def test_without_a_server_nothing_is_offered_or_said(home: Path, line: str, host: str) -> None:
    assert complete(line, home, TUTUM_REST_HOST=host) == []


def test_services_are_named_with_their_stack_where_that_is_needed(api: FakeApi) -> None:
    api.services = [service(OTHER_WEB, "web", stack="blog"), service(DB, "web", stack="shop")]
    api.services.append(service(DB, "db", stack="shop"))
    assert complete_service() == ["blog/web", "shop/web", "db"]


@pytest.mark.parametrize("name", ["--force", "-f", "we b", "web\n", "web;reboot", "wéb", ""])
def test_a_name_that_a_shell_or_the_command_would_obey_is_not_offered(api: FakeApi, name: str) -> None:
    api.services = [service(DB, name, stack="")]
    assert complete_service() == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_handlers_of_the_service_before_are_offered_in_each_shell(
    api: FakeApi, shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "tutum webhook-handler show web "
    monkeypatch.setenv("_TUTUM_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", "4")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    api.handlers += [api.handler(OTHER_WEB, name, "REDEPLOY") for name in (None, "deploy;reboot", "deploy$(reboot)")]
    with pytest.raises(SystemExit):
        build()(args=[], prog_name="tutum")
    out = capsys.readouterr().out
    assert "deploy" in out
    assert "grow" in out
    assert OTHER_WEB not in out
    assert "reboot" not in out
