"""Links between the texts of the repository, as a reader of the repository follows them, and names of pages in code."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt

from tests.support.documentation import ROOT

REPOSITORY = re.compile(r"https://github\.com/tutumd/tutumd/(?:blob|tree)/main/")
TEXTS = sorted(
    path.relative_to(ROOT)
    for place in (".", ".github", "action", "deploy", "docs")
    for path in (ROOT.glob("*.md") if place == "." else (ROOT / place).rglob("*.md"))
)
CODE = sorted(
    path.relative_to(ROOT)
    for place in ("action", "deploy", "script", "src")
    for path in (ROOT / place).rglob("*")
    if path.is_file() and path.suffix not in (".pyc", ".json")
)


def test_texts_and_code_are_found() -> None:
    assert {Path("README.md"), Path("docs/index.md"), Path("docs/how-to/senders.md")} <= set(TEXTS)
    assert {Path("src/tutumd/settings.py"), Path("script/bench"), Path("deploy/proxies/nginx.conf")} <= set(CODE)


def test_links_lead_to_files_and_headings_that_exist() -> None:
    wrong = [
        f"{path}:{line}: {link}" for path in TEXTS for line, link in links(path) if not leads_somewhere(path, link)
    ]
    assert wrong == []


def test_links_that_lead_nowhere_are_found() -> None:
    at = Path("docs/index.md")
    good = ["how-to/ci.md#repeat-a-call-safely", "../README.md#try-it", "https://a.example/x", "#tutumd", "how-to/"]
    good += ["https://github.com/tutumd/tutumd/blob/main/SECURITY.md#report-a-problem"]
    bad = ["how-to/ci.md#nothing", "nothing.md", "#nothing", "http://a.example/x", "https://a/x", "../../outside.md"]
    bad += ["https://github.com/tutumd/tutumd/blob/main/NOTHING.md", "https://a.example/a b"]
    assert [link for link in good + bad if not leads_somewhere(at, link)] == bad


def test_pages_that_code_names_exist() -> None:
    named = {
        (str(path), name)
        for path in CODE
        for name in re.findall(r"(?<![\w./])docs/[\w/-]+(?:\.md)?", (ROOT / path).read_text(encoding="utf-8"))
    }
    assert len(named) > 5
    assert {(path, name) for path, name in named if not any(ROOT.glob(f"{name}*"))} == set()


def links(path: Path) -> Iterator[tuple[int, str]]:
    """Return the targets of all links and pictures of a text, each with the line where its paragraph begins."""
    for token in MarkdownIt("commonmark").parse((ROOT / path).read_text(encoding="utf-8")):
        for child in token.children or ():
            for name in ("href", "src"):
                if name in child.attrs:
                    yield (token.map or [0])[0] + 1, str(child.attrs[name])


def leads_somewhere(path: Path, link: str) -> bool:
    """Return whether a link of a text leads to a file and a heading that exist; outside, whether it is an HTTPS URL."""
    parts = urlsplit(link)
    if parts.scheme == "mailto":
        return True
    if inside := REPOSITORY.match(link):
        parts = urlsplit(link[inside.end() :])
        target = ROOT / unquote(parts.path)
    elif parts.scheme or parts.netloc:
        return bool(re.fullmatch(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/\S*)?", link, re.IGNORECASE))
    else:
        target = (ROOT / path).parent / unquote(parts.path) if parts.path else ROOT / path
    if not target.resolve().is_relative_to(ROOT) or not target.exists():
        return False
    return not parts.fragment or parts.fragment in headings(target)


@cache
def headings(path: Path) -> set[str]:
    """Return the anchors of a text's headings as GitHub names them."""
    found: dict[str, int] = {}
    tokens = MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8"))
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(child.content for child in inline.children or ())
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
    return {slug if number == 0 else f"{slug}-{number}" for slug, last in found.items() for number in range(last + 1)}
