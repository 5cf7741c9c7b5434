"""Every code block of the documentation has a language, and a check that it is right.

Data is parsed here. What a shell, nginx or Caddy reads is run by the test that `blocks.toml` names, or `blocks.toml`
says why no test can run it.
"""

import ast
import configparser
import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.documentation import ROOT, Block, blocks

TABLE: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_name("blocks.toml").read_text(encoding="utf-8"))
SPECIFICATION = "docs/reference/webhook-handlers.md"  # tests/spec runs its blocks, from its text
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    if path.name != "CHANGELOG.md" and str(path.relative_to(ROOT)) != SPECIFICATION
)
PARSED: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "toml": tomllib.loads,
    "python": ast.parse,
    "ini": lambda text: configparser.RawConfigParser(strict=False, allow_no_value=True).read_string(text),
}
RUN = {"sh", "console", "nginx", "caddy", "js"}
UNCHECKED = {"text", "diff"}


def test_every_block_is_parsed_or_run() -> None:
    faults = [fault for page in PAGES for fault in faults_of(page)]
    assert faults == []


def faults_of(page: str) -> Iterator[str]:
    """Return what is wrong with the blocks of a page, each with its line."""
    listed = TABLE.get(page, {})
    used = set()
    for block in blocks(page):
        where = f"{page}:{block.line}"
        if block.language in PARSED:
            try:
                PARSED[block.language](block.text)
            except (ValueError, SyntaxError, yaml.YAMLError, configparser.Error) as error:
                yield f"{where}: {error}"
        elif block.language in RUN:
            key = entry(listed, block)
            used.add(key)
            if key is None:
                yield f"{where}: list this block in blocks.toml: {first_line(block)}"
        elif block.language not in UNCHECKED:
            yield f"{where}: unknown language {block.language!r}"
    yield from (f"{page} has no block {key!r} any more" for key in listed.keys() - used)


@pytest.mark.parametrize(
    "text", ["```json\n{\n```", "```yaml\na: [\n```", "```sh\nx\n```", "```\nx\n```", "```toml\n=\n```"]
)
def test_a_wrong_block_is_found(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    assert [fault.partition(": ")[0] for fault in faults_of(str(page))] == [f"{page}:2"]


def test_every_test_of_the_table_reads_its_page() -> None:
    assert TABLE.keys() <= set(PAGES)
    for page, listed in TABLE.items():
        for begins, how in listed.items():
            if how.startswith("not run: "):
                assert len(how) > len("not run: ") + 20, f"{page}, {begins}: say why"
            else:
                assert Path(page).name in ROOT.joinpath(how).read_text(encoding="utf-8"), f"{how} does not read {page}"


def entry(listed: dict[str, str], block: Block) -> str | None:
    """Return the key of a page's table for a block: the longest that its first line begins with, or `*`."""
    matching = [key for key in listed if first_line(block).startswith(key)]
    return max(matching, key=len) if matching else ("*" if "*" in listed else None)


def first_line(block: Block) -> str:
    """Return the first line of a block's text, without a prompt."""
    return block.text.lstrip().splitlines()[0].removeprefix("$ ")
