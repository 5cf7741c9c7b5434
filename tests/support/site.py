"""The documentation site as a folder of HTML pages: what they load, and the structure of their lists."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from tests.support.documentation import ROOT

_LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}


@dataclass
class _Loads(HTMLParser):
    """The files that a page loads."""

    loaded: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        is_reference = attributes.get("rel") in ("canonical", "prev", "next")
        if tag in _LOADED and _LOADED[tag] in attributes and not is_reference:
            self.loaded.add(attributes[_LOADED[tag]])


@dataclass
class _Structure(HTMLParser):
    """Lists, their items, tables and code blocks in the order in which they begin, each with its depth in lists."""

    within: str | None
    blocks: list[tuple[int, str]] = field(default_factory=list)
    _depth: int = 0
    _inside: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self._inside = self.within is None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = self._inside or tag == self.within
        if self._inside and tag in ("ol", "ul", "li", "table", "pre"):
            self.blocks.append((self._depth, tag))
            self._depth += tag in ("ol", "ul")

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag in ("ol", "ul"):
            self._depth -= 1
        self._inside = self._inside and (self.within is None or tag != self.within)


def structure(html: str, within: str | None = None) -> list[tuple[int, str]]:
    """Return the lists, items, tables and code blocks of a page, or of one element of it, with their depth in lists."""
    parser = _Structure(within)
    parser.feed(html)
    return parser.blocks


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
    parser = _Loads()
    for path in site.rglob("*.html"):
        parser.feed(path.read_text(encoding="utf-8"))
    return parser.loaded
