"""The fields of a webhook handler that can be set, from the server's table in handler_fields.json."""

import difflib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

_TABLE: list[dict[str, Any]] = json.loads(Path(__file__).with_name("handler_fields.json").read_text(encoding="utf-8"))

#: Field by name, with its default, schema, example, group and help.
FIELDS = {field["name"]: field for field in _TABLE}


def unknown_field(name: str, known: Collection[str] = FIELDS) -> str:
    """Return the error text for a name that is no field, with the nearest known one."""
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"the fields are {', '.join(known)}"
    return f"unknown field {name!r}: {hint}"
