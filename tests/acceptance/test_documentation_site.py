"""The documentation site builds without a warning and loads nothing from elsewhere."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from markdown_it import MarkdownIt

from tests.support import site
from tests.support.documentation import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site").resolve()
    done = site.build(folder)
    assert done.returncode == 0, done.stdout
    return folder / "site"


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(built: Path) -> None:
    loaded = site.loaded(built)
    assert any(source.endswith(".css") for source in loaded)
    assert [source for source in loaded if urlsplit(source).netloc] == []
    styles = "".join(path.read_text() for path in built.rglob("*.css"))
    assert "url(http" not in styles.replace('"', "").replace("'", "")


def test_the_site_has_the_structure_that_github_shows(built: Path) -> None:
    """What is in a list item must be indented by four spaces: with less, the site ends the list there."""
    different = []
    for page in sorted(DOCS.rglob("*.md")):
        name = page.relative_to(DOCS).with_suffix("")
        html = built / (name.parent if name.name == "index" else name) / "index.html"
        github = MarkdownIt("commonmark").enable("table").render(page.read_text(encoding="utf-8"))
        if site.structure(html.read_text(encoding="utf-8"), within="article") != site.structure(github):
            different.append(name)
    assert different == []
