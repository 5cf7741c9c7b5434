"""The documentation site as a folder of HTML pages: what they load, and the structure of their lists."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.documentation import ROOT
from tests.support.html_tree import Element, parse

_LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
_REFERENCES = ("canonical", "prev", "next")
"""Relations of links that load nothing."""


def structure(html: str, within: str | None = None) -> list[tuple[int, str]]:
    """Return the lists, items, tables and code blocks of a page, or of one element of it, with their depth in lists."""
    page = parse(html)
    return list(_blocks(page.find(within)[0] if within else page, 0))


def _blocks(within: Element, depth: int) -> Iterator[tuple[int, str]]:
    for each in within.children:
        if isinstance(each, Element):
            if each.tag in ("ol", "ul", "li", "table", "pre"):
                yield depth, each.tag
            yield from _blocks(each, depth + (each.tag in ("ol", "ul")))


def build(folder: Path, docs: Path = ROOT / "docs") -> subprocess.CompletedProcess[str]:
    """Build the site of these pages strictly in `folder/site`.

    The output, without colours, is in `stdout`.
    """
    shutil.copytree(docs, folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    done = subprocess.run(
        [Path(sys.executable).parent / "zensical", "build", "--strict", "--clean"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout))


def loaded(site: Path) -> set[str]:
    """Return what the HTML pages of a built site load."""
    elements = (each for path in site.rglob("*.html") for each in parse(path.read_text(encoding="utf-8")).walk())
    return {
        each.attributes[_LOADED[each.tag]]
        for each in elements
        if _LOADED.get(each.tag) in each.attributes and each.attributes.get("rel") not in _REFERENCES
    }
