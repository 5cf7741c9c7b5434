"""A webhook handler, as the server describes it, and the table of its fields."""

import json
from pathlib import Path
from typing import Any

from tutum.redaction import shorten

#: Fields of a handler that can be set, by name, from the server's table: their defaults and examples.
FIELDS: dict[str, dict[str, Any]] = {
    field["name"]: field
    for field in json.loads(Path(__file__).with_name("handler_fields.json").read_text(encoding="utf-8"))
}


class Handler(dict[str, Any]):
    """A dict of all fields of a handler. Each field is an attribute too.

    `uuid` is a password, and so are `url`, the path to POST to, and `call_url`, the complete URL: it begins with the
    server's public URL, or else with the URL that the client uses. `rotation` describes the old URL; None if there is
    none. The reference lists the fields that can be set. `repr` shows only the start of the UUID.
    """

    def __getattr__(self, field: str) -> Any:
        if field in self:
            return self[field]
        raise AttributeError(f"the server sent no field {field!r} of the handler")

    @property
    def name(self) -> str:
        """The name; empty if it has none."""
        return self["name"] or ""

    @property
    def service_uuid(self) -> str:
        """UUID of its service."""
        return str(self["resource_uri"]).partition("/webhook/")[0].rpartition("/")[2]

    def __repr__(self) -> str:
        return f"<Handler {self.name!r} {self.operation} {shorten(self.uuid)}>"
