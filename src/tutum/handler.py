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
    """A dict of all fields of a handler. Fields that cannot be set are attributes too.

    Read a field that can be set as a key, such as `handler["filter"]`; the reference lists them.
    `repr` shows only the start of the UUID, because anyone who knows the UUID can call the handler.
    """

    @property
    def uuid(self) -> str:
        """The UUID, which is a password."""
        return self._text("uuid") or self.resource_uri.strip("/").rpartition("/")[2]

    @property
    def name(self) -> str:
        """The name; empty if it has none."""
        return self._text("name")

    @property
    def operation(self) -> str:
        """REDEPLOY or SCALEUP."""
        return self._text("operation")

    @property
    def url(self) -> str:
        """Path to POST to, without the host."""
        return self._text("url")

    @property
    def call_url(self) -> str:
        """Complete URL to POST to: begins with the server's public URL, or else with the one that the client uses."""
        return self._text("call_url")

    @property
    def resource_uri(self) -> str:
        """Path of the handler."""
        return self._text("resource_uri")

    @property
    def created_datetime(self) -> str | None:
        """When it was created: an ISO 8601 date."""
        return self.get("created_datetime")

    @property
    def last_called_datetime(self) -> str | None:
        """When it was last called: an ISO 8601 date; None if never."""
        return self.get("last_called_datetime")

    @property
    def calls(self) -> int:
        """How many calls it received, including refused ones."""
        return int(self.get("calls") or 0)

    @property
    def rotation(self) -> dict[str, Any] | None:
        """`old_until`, `old_last_called_datetime` and `old_last_address` of the old URL; None if there is none."""
        return self.get("rotation")

    @property
    def service_uuid(self) -> str:
        """UUID of its service."""
        return (self._text("service") or self.resource_uri.partition("/webhook/")[0]).strip("/").rpartition("/")[2]

    def __repr__(self) -> str:
        return f"<Handler {self.name!r} {self.operation} {shorten(self.uuid)}>"

    def _text(self, field: str) -> str:
        return str(self.get(field) or "")
