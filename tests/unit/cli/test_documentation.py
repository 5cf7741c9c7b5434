"""docs/reference/cli.md names every command, and every option of the handlers' commands."""

import re
from pathlib import Path

import pytest
import typer.main

from tutum.cli.app import build
from tutum.cli.overview import COMMANDS
from tutum.snippets import TARGETS

TEXT = Path(__file__).parents[3].joinpath("docs/reference/cli.md").read_text(encoding="utf-8")
ROOT = typer.main.get_command(build())
GROUPS = [name for name in COMMANDS if name != "login"]


@pytest.mark.parametrize("group", GROUPS)
def test_every_command_is_in_the_reference(group: str) -> None:
    section = TEXT if group == "webhook-handler" else "\n".join(re.findall(rf"^\| `{group} .*$", TEXT, re.MULTILINE))
    missing = [name for name in _commands(group) if not re.search(rf"`(?:{group} )?{name}\b", section)]
    assert missing == []


def test_every_option_of_handlers_is_in_the_reference() -> None:
    options = {
        option
        for command in _commands("webhook-handler").values()
        for parameter in command.params
        for option in [*parameter.opts, *parameter.secondary_opts]
        if option.startswith("--")
    }
    assert len(options) > 30
    missing = sorted(option for option in options if not re.search(rf"`[^`]*{option}\b", TEXT))
    assert missing == ["--header", "--operation"]  # named by their short forms


def test_every_sender_is_in_the_reference() -> None:
    assert all(target in TEXT for target in TARGETS)


def _commands(group: str) -> dict[str, typer.core.TyperCommand]:
    return dict(ROOT.commands[group].commands)  # type: ignore[attr-defined]  # typed as a command, but it is a group
