"""The file that `script/generate` writes from the routes: docs/reference/openapi.json, which a release freezes."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from tests.support.api_document import as_text, breaks, current, released  # noqa: E402 (needs the path above)

FILE = ROOT / "docs/reference/openapi.json"
FROZEN = "/api/v1 is frozen (DEPRECATIONS.md): keep what the last release has, and add the new beside it."


def main() -> int:
    """Write the file if it is out of date, or with `--check` return 1. What breaks clients is never written."""
    document, frozen = current(), released(ROOT)
    if frozen and (broken := breaks(frozen, document)):
        print(*broken, "", FROZEN, sep="\n", file=sys.stderr)
        return 1
    if FILE.exists() and FILE.read_text(encoding="utf-8") == as_text(document):
        return 0
    print(FILE.relative_to(ROOT))
    if "--check" in sys.argv:
        return 1
    FILE.write_text(as_text(document), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
