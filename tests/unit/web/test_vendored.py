"""Files of other projects that pages load, and how much a first visit loads."""

import gzip
import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.documentation import ROOT
from tutumd.web.pages.assets import read_asset

PAGES = ROOT / "src/tutumd/web/pages"
VENDOR = PAGES / "static/vendor"
PACKAGES: list[dict[str, Any]] = tomllib.loads((VENDOR / "vendor.toml").read_text(encoding="utf-8"))["package"]
FILES: list[dict[str, str]] = [
    file for package in PACKAGES for file in [*package.get("file", ()), *filter(None, [package.get("sprite")])]
]
FIRST_LOAD_BYTES = 60 * 1024


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file["path"]))
def test_a_vendored_file_is_the_one_of_its_package(file: dict[str, str]) -> None:
    assert hashlib.sha256((VENDOR / file["path"]).read_bytes()).hexdigest() == file["sha256"]


def test_every_vendored_file_has_a_package() -> None:
    assert {path.name for path in VENDOR.iterdir()} == {file["path"] for file in FILES} | {"vendor.toml"}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package["name"]))
def test_a_package_is_pinned_and_has_its_licence(package: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"])
    assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", package["integrity"])
    assert package["licence"] in ("0BSD", "ISC", "MIT")
    licences = [file["path"] for file in package["file"] if file["path"].endswith(".LICENSE")]
    assert [(VENDOR / path).stat().st_size > 500 for path in licences] == [True]
    decisions = (ROOT / "docs/adr/0004-dependencies.md").read_text(encoding="utf-8")
    assert f"| {package['name']} " in decisions


def test_the_sprite_has_every_icon_that_pages_name() -> None:
    symbols = set(re.findall(r'<symbol id="([\w-]+)"', (VENDOR / "icons.svg").read_text(encoding="utf-8")))
    naming = "|".join(
        (
            r'icon\("([\w-]+)"',
            r'\bicon(?:_name)?="([\w-]+)"',
            r'": \("\w+", "([\w-]+)"\)[,}\s]',
            r'\bplace\([^,]+, "([\w-]+)"',
        )
    )
    for source in sorted([*(PAGES / "templates").glob("*.html"), *PAGES.glob("*.py")]):
        found = re.findall(naming, source.read_text(encoding="utf-8"))
        assert {name for names in found for name in names if name} <= symbols, source.name


def test_a_first_visit_loads_little() -> None:
    base = (PAGES / "templates/base.html").read_text(encoding="utf-8")
    loaded = {*re.findall(r'asset\("([^"]+)"\)', base), "vendor/icons.svg"}
    assert loaded > {"app.css", "app.js", "vendor/htmx.min.js"}
    page = gzip.compress(base.encode(), 9)
    assert len(page) + sum(len(read_asset(path, is_compressed=True)) for path in loaded) < FIRST_LOAD_BYTES


def test_scripts_of_ours_are_small() -> None:
    ours = list((PAGES / "static").glob("*.js"))
    assert ours
    assert [path.name for path in ours if path.stat().st_size > 5 * 1024] == []


def test_no_registry_is_named() -> None:
    for path in [VENDOR / "vendor.toml", ROOT / "script/vendor", ROOT / "script/vendoring.py"]:
        addresses = re.findall(r"\w+://([\w.]+)", Path(path).read_text(encoding="utf-8"))
        assert set(addresses) <= {"www.w3.org"}, path.name  # the namespace of SVG
