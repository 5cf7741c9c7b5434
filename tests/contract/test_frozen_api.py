"""`/api/v1` keeps what the last release has, which git knows by its tag."""

import json
import subprocess
from pathlib import Path

from tests.support.api_document import breaks, current, released

ROOT = Path(__file__).parents[2]


def test_api_v1_keeps_what_the_last_release_has() -> None:
    frozen = released(ROOT)
    broken = breaks(frozen, current()) if frozen else []
    assert broken == [], "/api/v1 is frozen: keep what was there, and add the new beside it; see DEPRECATIONS.md"


def test_only_a_release_freezes_the_document(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        names = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(["git", "-C", str(tmp_path), *names, *arguments], check=True, capture_output=True)

    path = tmp_path / "docs/reference/openapi.json"
    path.parent.mkdir(parents=True)
    git("init")
    for number, tag in enumerate(("", "v0.1.0", "not-a-release", "v0.2.0", "")):
        path.write_text(json.dumps({"number": number}))
        git("add", ".")
        git("commit", "--message", "document")
        if tag:
            git("tag", tag)
        frozen = released(tmp_path)
        assert frozen == [None, {"number": 1}, {"number": 1}, {"number": 3}, {"number": 3}][number]
