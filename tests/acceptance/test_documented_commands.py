"""Options of `tutum` and `tutumd` that the documentation names exist, whether a test runs the command or not."""

import re
import shlex
from collections.abc import Iterator
from pathlib import PurePath

import typer.main
from typer.core import TyperCommand, TyperGroup

from tests.support.documentation import blocks, commands_of
from tests.unit.docs.test_blocks import PAGES
from tutum.cli.app import build
from tutumd.main.commands import app


def test_options_of_our_commands_exist() -> None:
    roots = {"tutum": command_of(build()), "tutumd": command_of(app)}
    checked = 0
    for page in PAGES:
        for block in blocks(page):
            for command in commands_of(block) if block.language in ("sh", "console") else ():
                for words in ours(command.text):
                    checked += 1
                    assert unknown(roots[words[0]], words[1:]) == [], f"{page}:{command.line}: {command.text}"
    assert checked > 40


def test_an_option_that_does_not_exist_is_found() -> None:
    [words] = ours("printenv X | FOO=1 .venv/bin/tutum webhook-handler create web --nam ci --branch 'a b' > file")
    assert unknown(command_of(build()), words[1:]) == ["--nam"]
    assert [words[:2] for words in ours("cd x && script/server --demo; tutumd web")] == [
        ["tutumd", "serve"],
        ["tutumd", "web"],
    ]


def ours(command: str) -> Iterator[list[str]]:
    """Return the words of each `tutum` and `tutumd` in a shell command; `script/server` is `tutumd serve`."""
    lexer = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not re.fullmatch(r"[();<>|&]+", word):
            words.append(word)
            continue
        names = [PurePath(each).name for each in words]
        for name in ("tutum", "tutumd", "server"):
            at = len(names) - 1 - names[::-1].index(name) if name in names else 0
            if name in names and ("exec" in names[:at] or all("=" in each for each in names[:at])):
                yield [*(["tutumd", "serve"] if name == "server" else [name]), *words[at + 1 :]]
        words = []


def command_of(application: typer.Typer) -> TyperGroup:
    """Return the command line of an application with several commands."""
    command = typer.main.get_command(application)
    assert isinstance(command, TyperGroup)
    return command


def unknown(command: TyperCommand | TyperGroup, words: list[str]) -> list[str]:
    """Return the options among these words that the command, or its command that they name, does not have."""
    options = {name for each in command.params for name in [*each.opts, *each.secondary_opts]} | {"--help"}
    if isinstance(command, TyperGroup):
        for index, word in enumerate(words):
            if word in command.commands:
                return unknown(command.commands[word], words[index + 1 :])  # type: ignore[arg-type]  # typed as click's
            if not word.startswith("-"):
                return [word]
    return [word for word in words if word.startswith("-") and word.partition("=")[0] not in options and len(word) > 1]
