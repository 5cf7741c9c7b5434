"""The documentation site as a folder of HTML pages, read for what its links need."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.support.documentation import ROOT

_LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}


@dataclass
class Page(HTMLParser):
    """What one HTML page links to, loads and can be linked to by an anchor."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.anchors |= {attributes[name] for name in ("id", "name") if name in attributes}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        elif (
            tag in _LOADED and _LOADED[tag] in attributes and attributes.get("rel") not in ("canonical", "prev", "next")
        ):
            self.loaded.append(attributes[_LOADED[tag]])


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
    """Build the site of these pages strictly in `folder/site`: a link to a missing page or anchor is an error.

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


@cache
def read(site: Path) -> dict[Path, Page]:
    """Return every HTML page of a built site by its path."""
    pages = {}
    for path in site.rglob("*.html"):
        pages[path] = Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    return pages


def broken(site: Path) -> Iterator[str]:
    """Return what the pages of a built site link to or load and the site does not have, each with its page."""
    pages = read(site)
    for path, page in pages.items():
        for link in sorted({*page.links, *page.loaded}):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (site if parts.path.startswith("/") else path.parent) / unquote(parts.path).lstrip("/")
            target = Path(os.path.normpath(target)) if parts.path else path
            target = target if target in pages else target / "index.html" if target.is_dir() else target
            known = target in pages or (target.is_relative_to(site) and target.is_file())
            if not known or (parts.fragment and parts.fragment not in pages[target].anchors):
                yield f"{path.relative_to(site)}: {link}"
