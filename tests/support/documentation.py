"""The code blocks of a documentation page, and the commands in them."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
_HEREDOC = re.compile(r"<<-?\s*['\"]?(\w+)")


@dataclass(frozen=True, slots=True)
class Block:
    """One code block: its text, its language and the line of the page where its text begins.

    An indented block has no place for a language. On our pages it holds commands: its language is `sh`.
    """

    text: str
    language: str
    line: int


@dataclass(frozen=True, slots=True)
class Command:
    """One shell command, which may be several lines long, and the line of the page where it begins."""

    text: str
    line: int


def blocks(page: str | Path) -> list[Block]:
    """Return every code block of a page (its path, relative to the root of the repository), in order."""
    text = ROOT.joinpath(page).read_text(encoding="utf-8")
    found = []
    for token in MarkdownIt("commonmark").parse(text):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            fenced = token.type == "fence"
            language = token.info.split(" ")[0] if fenced else "sh"
            found.append(Block(token.content if fenced else dedent(token.content), language, token.map[0] + 1 + fenced))
    return found


def commands(page: str | Path) -> list[Command]:
    """Return the shell commands of a page, in order: of `sh` and indented blocks all, of `console` those after `$ `.

    Comments and empty lines are left out. A command ends where the shell would run it: a quotation, a loop or a here
    document is one command with all its lines.
    """
    return [command for block in blocks(page) if block.language in ("sh", "console") for command in commands_of(block)]


def commands_of(block: Block) -> list[Command]:
    """Return the commands of one `sh` or `console` block."""
    lines = enumerate(block.text.splitlines(), block.line)
    prompt = "$ " if block.language == "console" else ""
    found = []
    for number, line in lines:
        if line.startswith(prompt) and (first := line.removeprefix(prompt)).strip() and not first.startswith("#"):
            found.append(Command(_whole(first, lines), number))
    return found


def _whole(text: str, rest: Iterator[tuple[int, str]]) -> str:
    while not _is_complete(text):
        _, line = next(rest, (0, None))
        if line is None:
            raise ValueError(f"this command does not end: {text}")
        text += "\n" + line.removeprefix("> ")
    return text


def _is_complete(text: str) -> bool:
    heredoc = _HEREDOC.search(text)
    if text.endswith("\\") or (heredoc and heredoc[1] not in text.splitlines()[1:]):
        return False
    return subprocess.run(["sh", "-nc", text], capture_output=True, check=False).returncode == 0
