"""The files that `script/generate` writes from the table of handler fields."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from tutumd.application.admission.fields import FIELDS, HandlerField  # noqa: E402 (needs the path above)

BEGIN, END = "<!-- begin: script/generate -->\n", "<!-- end: script/generate -->"


def main() -> int:
    """Write the files that are out of date, or with `--check` return 1 if there are any."""
    stale = stale_files()
    for path, text in stale.items():
        print(path.relative_to(ROOT))
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
    return 1 if stale and "--check" in sys.argv else 0


def stale_files() -> dict[Path, str]:
    """Return the files that are out of date, each with the text that it should have."""
    reference = ROOT / "docs/reference/handler-fields.md"
    before, _, rest = reference.read_text(encoding="utf-8").partition(BEGIN)
    wanted = {
        ROOT / "src/tutum/handler_fields.json": json_list(),
        reference: before + BEGIN + markdown_table(rest) + END + rest.partition(END)[2],
    }
    return {
        path: text for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    }


def json_list() -> str:
    """Return what the SDK and the CLI need of the table."""
    entries = [
        {
            "name": field.name,
            "default": field.json_default,
            "example": field.example,
        }
        for field in FIELDS.values()
    ]
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def markdown_table(page: str) -> str:
    """Return the table for people; a field that has a section of its own on the page is a link to it."""
    rows = ["| Field | Default | Example | |", "| --- | --- | --- | --- |"]
    rows += [_row(field, has_section=f"\n## {field.name}\n" in page) for field in FIELDS.values()]
    return "".join(f"{row}\n" for row in rows)


def _row(field: HandlerField, *, has_section: bool) -> str:
    default = "none" if field.json_default is None else f"`{json.dumps(field.json_default)}`"
    example = json.dumps(field.example, ensure_ascii=False)
    only = f"{field.operation} only. " if field.operation else ""
    name = f"[`{field.name}`](#{field.name})" if has_section else f"`{field.name}`"
    return f"| {name} | {default} | `{example}` | {only}{field.help} |"


if __name__ == "__main__":
    sys.exit(main())
