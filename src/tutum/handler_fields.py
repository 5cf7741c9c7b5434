"""The fields of a webhook handler that can be set, from the server's table in handler_fields.json."""

import json
from pathlib import Path
from typing import Any

#: Field by name, with its default and an example.
FIELDS: dict[str, dict[str, Any]] = {
    field["name"]: field
    for field in json.loads(Path(__file__).with_name("handler_fields.json").read_text(encoding="utf-8"))
}
