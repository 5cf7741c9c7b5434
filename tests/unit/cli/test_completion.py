"""Completion in the shell: what is offered."""

from collections.abc import Callable

import pytest

from tests.unit.sdk.fake_api import DB, OTHER_WEB, FakeApi, service
from tutum.cli.app import build

Complete = Callable[..., str]


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complete:
    """Returns what a shell is offered at the end of a line."""

    def offered(line: str, shell: str = "bash") -> str:
        monkeypatch.setenv("_TUTUM_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        with pytest.raises(SystemExit):
            build()(args=[], prog_name="tutum")
        return capsys.readouterr().out

    return offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tutum service re", ["redeploy", "resume"]),
        ("tutum service ps --status R", ["Running", "Redeploying"]),
        ("tutum action list -s In", ["In-progress"]),
        ("tutum webhook-handler create web --verify git", ["github", "gitlab", "gitea"]),
        ("tutum webhook-handler show web ci --for git", ["github", "gitlab"]),
        ("tutum webhook-handler set web ci --reset max_", ["max_uses", "max_containers"]),
    ],
)
def test_words_are_completed(complete: Complete, line: str, offered: list[str]) -> None:
    assert complete(line).split() == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_handlers_of_the_service_before_are_offered_in_each_shell(
    api: FakeApi, complete: Complete, shell: str
) -> None:
    api.handlers += [api.handler(OTHER_WEB, name, "REDEPLOY") for name in (None, "deploy;reboot", "deploy$(reboot)")]
    out = complete("tutum webhook-handler show web ", shell)
    assert "deploy" in out
    assert "grow" in out
    assert OTHER_WEB not in out
    assert "reboot" not in out


def test_services_are_named_with_their_stack_where_that_is_needed(api: FakeApi, complete: Complete) -> None:
    api.services = [service(OTHER_WEB, "web", stack="blog"), service(DB, "web", stack="shop")]
    api.services.append(service(DB, "db", stack="shop"))
    assert complete("tutum service logs ").split() == ["blog/web", "shop/web", "db"]


@pytest.mark.parametrize("name", ["--force", "-f", "we b", "web\n", "web;reboot", "wéb", ""])
def test_a_name_that_a_shell_or_the_command_would_obey_is_not_offered(
    api: FakeApi, complete: Complete, name: str
) -> None:
    api.services = [service(DB, name, stack="")]
    assert complete("tutum service logs ").strip() == ""
