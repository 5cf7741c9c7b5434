"""docs/reference/cli.md names every command and option; the commands of the pages on senders do what they say.

Pages: docs/how-to/senders.md, docs/how-to/senders-git.md, docs/how-to/senders-registries.md,
docs/how-to/senders-pollers.md, docs/how-to/senders-alertmanager.md.
"""

import json
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from tests.unit.application.admission.calls import NOW
from tests.unit.cli.conftest import Tutum
from tests.unit.sdk.fake_api import FakeApi
from tutum.cli.app import build
from tutum.snippets import TARGETS
from tutumd.application.admission.evaluate import parse_options, write_public

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "reference/cli.md").read_text(encoding="utf-8")
SENDERS = "".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("how-to/senders*.md")))
COMMANDS_AND_FIELDS = re.findall(
    r"```sh\n(tutum [^`]*)```\n\n<!-- goes: [^\n]* -->\n```json\n(.+?)```", SENDERS, re.DOTALL
)
ROOT = typer.main.get_group(build()).commands
GROUPS = [name for name, command in ROOT.items() if isinstance(command, typer.core.TyperGroup)]


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


@pytest.mark.parametrize("command", sorted({*ROOT} - {*GROUPS}))
def test_every_option_of_a_single_command_is_in_the_reference(command: str) -> None:
    [row] = re.findall(rf"^\| `{command}[ `].*$", TEXT, re.MULTILINE)
    options = [option for parameter in ROOT[command].params for option in parameter.opts]
    assert [option for option in options if option.startswith("--") and option not in row] == []


def test_every_sender_is_in_the_reference() -> None:
    assert all(target in TEXT for target in TARGETS)


def _commands(group: str) -> dict[str, typer.core.TyperCommand]:
    return dict(ROOT[group].commands)  # type: ignore[attr-defined]  # typed as a command, but it is a group


def test_every_example_of_fields_for_a_sender_has_its_command() -> None:
    assert len(COMMANDS_AND_FIELDS) == SENDERS.count("```json")


@pytest.mark.parametrize(("command", "text"), COMMANDS_AND_FIELDS)
def test_the_command_for_a_sender_sets_the_fields_below_it(
    api: FakeApi, tutum_command: Tutum, tmp_path: Path, command: str, text: str
) -> None:
    fields = json.loads(text)
    arguments = shlex.split(command.replace("\\\n", " "))[1:]
    if "verify" in fields:  # on a terminal, the command asks for them
        (tmp_path / "secrets").write_text("\n".join(fields["verify"]["secrets"]))
        arguments += ["--secret-file", str(tmp_path / "secrets")]
    assert tutum_command(*arguments).code == 0
    sent = api.body()
    assert sent.pop("name")
    assert sent.pop("operation") == ("SCALEUP" if "max_containers" in fields else "REDEPLOY")
    assert write_public(parse_options(sent, NOW)) == write_public(parse_options(fields, NOW))
