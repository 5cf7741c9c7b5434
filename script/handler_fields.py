"""The files that `script/generate` writes from the tables of handler fields and of settings, and from the SDK."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from script.sdk_reference import sdk_tables  # noqa: E402 (needs the path above)

from tutumd.application.admission.fields import FIELDS, HandlerField  # noqa: E402 (needs the path above)
from tutumd.main.options import default_of, settings_of  # noqa: E402
from tutumd.settings import FILE_SUFFIX, PREFIX, SECRETS, Settings  # noqa: E402

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
    wanted = {ROOT / "src/tutum/handler_fields.json": json_list()}
    for name, table in (("handler-fields", markdown_table), ("settings", settings_table), ("sdk", sdk_tables)):
        page = ROOT / f"docs/reference/{name}.md"
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        wanted[page] = before + BEGIN + table(rest) + END + rest.partition(END)[2]
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
            "operation": field.operation,
        }
        for field in FIELDS.values()
    ]
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def markdown_table(page: str) -> str:
    """Return the table for people; a field that has a section of its own on the page is a link to it."""
    rows = ["| Field | Default | Example | |", "| --- | --- | --- | --- |"]
    rows += [_row(field, has_section=f"\n## {field.name}\n" in page) for field in FIELDS.values()]
    return "".join(f"{row}\n" for row in rows)


def settings_table(_page: str) -> str:
    """Return the table of settings, and the list of variables that name files."""
    rows = ["| Option | Variable | Default | Meaning |", "| --- | --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        option = f"`--{name.replace('_', '-')}`" if name in settings_of("serve") else ""
        variable = field.validation_alias or f"{PREFIX}{name.upper()}"
        default = default_of(name) or ("no" if field.default is False else "none")
        rows.append(f"| {option} | `{variable}` | {default} | {field.description} |")
    files = ", ".join(f"`{PREFIX}{name.upper()}{FILE_SUFFIX}`" for name in SECRETS)
    return "\n".join([*rows, "", f"Variables that name a file: {files}.", ""])


def _row(field: HandlerField, *, has_section: bool) -> str:
    default = "none" if field.json_default is None else f"`{json.dumps(field.json_default)}`"
    example = json.dumps(field.example, ensure_ascii=False)
    only = f"{field.operation} only. " if field.operation else ""
    name = f"[`{field.name}`](#{field.name})" if has_section else f"`{field.name}`"
    return f"| {name} | {default} | `{example}` | {only}{field.help} |"


if __name__ == "__main__":
    sys.exit(main())
