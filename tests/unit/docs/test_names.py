"""Labels and settings that the documentation names exist."""

import re

from tests.support.documentation import ROOT
from tutumd.settings import environment_warnings

TEXTS = [*ROOT.glob("*.md"), *(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "adr")]
SOURCE = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
NO_SETTINGS = {"CHANGELOG.md", "CONTRIBUTING.md", "DEPRECATIONS.md", "UPGRADING.md"}
"""Pages that also name variables of the past, or of the tests."""


def labels(text: str) -> set[str]:
    return set(re.findall(r"`(tutum\.[a-z][a-z-]*(?:\.[a-z-]+)*)[=`:]", text))


def variables(text: str) -> set[str]:
    return {name for name in re.findall(r"\bTUTUMD_[A-Z_]*[A-Z]\b", text) if not name.startswith("TUTUMD_TEST_")}


def test_names_are_found() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in TEXTS)
    assert len(labels(text)) > 10
    assert len(variables(text)) > 30


def test_labels_and_settings_exist() -> None:
    wrong = []
    for path in TEXTS:
        text = path.read_text(encoding="utf-8")
        unknown = [label for label in labels(text) if f'"{label}' not in SOURCE]
        if path.name not in NO_SETTINGS:
            unknown += environment_warnings(variables(text))
        wrong += [f"{path.relative_to(ROOT)}: {name}" for name in unknown]
    assert wrong == []
