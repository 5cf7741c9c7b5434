"""What no template may contain, whatever a page is about."""

import re
from pathlib import Path

import pytest

from tests.support.documentation import ROOT
from tests.unit.web.test_vendored import PACKAGES

FOLDER = ROOT / "src/tutumd/web"
TEMPLATES = sorted((FOLDER / "pages/templates").rglob("*.html"))
SCRIPTS = sorted((FOLDER / "pages/static").glob("*.js"))
CODE = sorted(FOLDER.rglob("*.py"))
ATTRIBUTES: list[str] = next(package["attributes"] for package in PACKAGES if package["name"] == "htmx.org")

FORBIDDEN = {
    "a script inline": r"<script(?![^>]*\ssrc=)",
    "a style inline": r"<style|\sstyle=",
    "an event handler inline": r"<[^>]*\son\w+=",
    "a script in an attribute": r"hx-on|\bjs:|javascript:|hx-vals|hx-headers|hx-trigger=\"[^\"]*\[",
    "an address outside": r"(?:src|href|action|hx-get|hx-post)=\"(?:https?:)?//",
    "unescaped text": r"\|\s*safe\b|autoescape\s+false|Markup\(",
    "an attribute without quotes": r"[\s}\"'][\w-]+=[^\s\"'>{]*\{\{",
    "text of others in an address to ask": r"hx-(?:get|post)=\"[^\"]*\{\{(?!\s*(?:root|at|url|live_at)\b)",
    "text of others in a script attribute": r"hx-(?!get|post)[\w-]+=\"[^\"]*\{\{(?!\s*id\s*\}\})",
}
COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
WRITING = r"\beval\(|new Function|innerHTML\s*=|insertAdjacentHTML|document\.write"
MARKING = r"Markup\b|markupsafe|__html__|autoescape=(?!True)"


def found(pattern: str, paths: list[Path]) -> list[str]:
    """Return where a pattern is found outside of a template's comments: file, line and text."""
    lines = []
    for path in paths:
        text = re.sub(
            r"\{#.*?#\}", lambda it: "\n" * it[0].count("\n"), path.read_text(encoding="utf-8"), flags=re.DOTALL
        )
        for match in re.finditer(pattern, text):
            lines.append(f"{path.relative_to(FOLDER)}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}")
    return lines


def test_templates_are_found() -> None:
    assert {"base.html", "macros.html", "sign_in.html"} <= {path.name for path in TEMPLATES}


EXAMPLES = {
    "a script inline": ["<script>x()</script>"],
    "a style inline": ['<p style="color: red">'],
    "an event handler inline": ['<p onclick="x()">'],
    "a script in an attribute": ['<p hx-on:click="x()">'],
    "an address outside": ['<img src="https://example.com/x.png">'],
    "unescaped text": ["{{ name | safe }}"],
    "an attribute without quotes": [
        "<p title={{ name }}>",
        "<p{% if name %} title={{ name }}{% endif %}>",
        '<p id="x" {% if name %}title=a{{ name }}{% endif %}>',
    ],
    "text of others in an address to ask": ['<p hx-get="{{ service.name }}">', '<p hx-get="{{ root }}/{{ name }}">'],
    "text of others in a script attribute": ['<p hx-target="{{ name }}">'],
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_template_contains(what: str) -> None:
    assert found(FORBIDDEN[what], TEMPLATES) == []
    assert all(re.search(FORBIDDEN[what], text) for text in EXAMPLES[what]), "it would be found"


def test_pages_use_at_most_ten_attributes_of_htmx() -> None:
    used = {name for path in TEMPLATES for name in re.findall(r"\shx-[\w-]+(?==)", path.read_text(encoding="utf-8"))}
    assert {name.strip() for name in used} <= set(ATTRIBUTES)
    assert len(ATTRIBUTES) <= 10


def test_no_source_evaluates_or_writes_html_or_marks_text_as_html() -> None:
    assert found(WRITING, [*TEMPLATES, *SCRIPTS]) == []
    assert found(MARKING, CODE) == []
