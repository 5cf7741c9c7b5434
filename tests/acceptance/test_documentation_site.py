"""The documentation site builds without a warning and loads nothing from elsewhere."""

import subprocess
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
def test_every_link_of_the_site_leads_somewhere(built: Path) -> None:
    assert len(site.read(built)) > 50
    assert list(site.broken(built)) == []


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(built: Path) -> None:
    loaded = {source for page in site.read(built).values() for source in page.loaded}
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


def _site_with(folder: Path, *links: str) -> subprocess.CompletedProcess[str]:
    docs = folder / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(f"# Start\n\n[page](page.md#part) {' '.join(f'[link]({link})' for link in links)}\n")
    (docs / "page.md").write_text("# Page\n\n## Part\n")
    (docs / "site.css").write_text("")
    (folder / "built").mkdir()
    return site.build(folder / "built", docs)


@pytest.mark.parametrize("link", ["nothing.md", "page.md#nothing"])
def test_a_link_to_a_missing_page_or_anchor_ends_the_build(tmp_path: Path, link: str) -> None:
    assert "1 issue found" in (done := _site_with(tmp_path, link)).stdout
    assert done.returncode != 0


def test_a_link_to_another_file_that_the_site_does_not_have_is_found(tmp_path: Path) -> None:
    assert _site_with(tmp_path, "nothing.png", "../mkdocs.yml", "https://example.com").returncode == 0
    found = set(site.broken(tmp_path / "built/site"))  # among them, the pages of the navigation
    assert {"index.html: nothing.png", "index.html: ../mkdocs.yml"} <= found
    assert not any("part" in each or "example.com" in each for each in found)
