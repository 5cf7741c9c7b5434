"""The navigation of the documentation site."""

from collections.abc import Iterator

import yaml

from tests.support.documentation import ROOT

DOCS = ROOT / "docs"


def test_the_navigation_holds_every_page_once() -> None:
    def pages(nav: object) -> Iterator[str]:
        if isinstance(nav, str):
            yield nav
        elif isinstance(nav, dict | list):
            for each in nav.values() if isinstance(nav, dict) else nav:
                yield from pages(each)

    listed = list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    files = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
    assert sorted(page for page in listed if not page.startswith("https://")) == files, "add the page to mkdocs.yml"
