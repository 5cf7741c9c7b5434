"""Every code block of the documentation has a language, and a check that it is right.

Data is parsed here. What a shell, nginx or Caddy reads is run by the test that `blocks.toml` names, or `blocks.toml`
says why no test can run it. Options of `tutum` and `tutumd` exist, whether a test runs the command or not.
"""

import ast
import configparser
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath

import pytest
import typer.main
import yaml
from typer.core import TyperCommand, TyperGroup

from tests.support.documentation import ROOT, Block, blocks, commands_of
from tutum.cli.app import build
from tutumd.main.commands import app

TABLE: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_name("blocks.toml").read_text(encoding="utf-8"))
SPECIFICATION = "docs/reference/webhook-handlers.md"  # tests/spec runs its blocks, from its text
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    if path.name != "CHANGELOG.md"
)
PARSED: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "toml": tomllib.loads,
    "python": ast.parse,
    "ini": lambda text: configparser.RawConfigParser(strict=False, allow_no_value=True).read_string(text),
}
RUN = {"sh", "console", "nginx", "caddy"}
UNCHECKED = {"text", "diff"}


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_parsed_or_run(page: str) -> None:
    if page == SPECIFICATION:
        return
    listed = TABLE.get(page, {})
    used = set()
    for block in blocks(page):
        where = f"{page}:{block.line}"
        assert block.language in PARSED.keys() | RUN | UNCHECKED, f"{where}: unknown language {block.language!r}"
        if block.language in PARSED:
            PARSED[block.language](block.text)
        elif block.language in RUN:
            key = entry(listed, block)
            assert key is not None, f"{where}: list this block in blocks.toml: {first_line(block)}"
            used.add(key)
    assert listed.keys() - used == set(), f"{page} has no such blocks any more"


def test_every_test_of_the_table_reads_its_page() -> None:
    assert TABLE.keys() <= set(PAGES)
    for page, listed in TABLE.items():
        for begins, how in listed.items():
            if how.startswith("not run: "):
                assert len(how) > len("not run: ") + 20, f"{page}, {begins}: say why"
            else:
                assert Path(page).name in ROOT.joinpath(how).read_text(encoding="utf-8"), f"{how} does not read {page}"


def test_options_of_our_commands_exist() -> None:
    roots = {"tutum": command_of(build()), "tutumd": command_of(app)}
    checked = 0
    for page in PAGES:
        for block in blocks(page) if page != SPECIFICATION else ():
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


def entry(listed: dict[str, str], block: Block) -> str | None:
    """Return the key of a page's table for a block: the longest that its first line begins with, or `*`."""
    matching = [key for key in listed if first_line(block).startswith(key)]
    return max(matching, key=len) if matching else ("*" if "*" in listed else None)


def first_line(block: Block) -> str:
    """Return the first line of a block's text, without a prompt."""
    return block.text.lstrip().splitlines()[0].removeprefix("$ ")


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
