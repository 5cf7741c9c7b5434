"""One webhook handler, as the server describes it."""

from __future__ import annotations

from typing import Any

from tutum.redaction import shorten


class Handler(dict[str, Any]):
    """One handler: a dict of all its fields, of which those that cannot be set are attributes too.

    What can be set is read as a key, such as `handler["filter"]`; the reference names the fields.
    Its `repr` shows only the start of the UUID: whoever knows it all can call the handler.
    """

    @property
    def uuid(self) -> str:
        """The UUID, which is a password."""
        return str(self.get("uuid") or str(self.get("resource_uri") or "").strip("/").rpartition("/")[2])

    @property
    def name(self) -> str:
        """The name; empty if it has none."""
        return str(self.get("name") or "")

    @property
    def operation(self) -> str:
        """REDEPLOY or SCALEUP."""
        return str(self.get("operation") or "")

    @property
    def url(self) -> str:
        """Path to POST to, without the host."""
        return str(self.get("url") or "")

    @property
    def resource_uri(self) -> str:
        """Path of the handler itself."""
        return str(self.get("resource_uri") or "")

    @property
    def created_datetime(self) -> str | None:
        """When it was created: an RFC 2822 date."""
        return self.get("created_datetime")

    @property
    def last_called_datetime(self) -> str | None:
        """When it was called last: an RFC 2822 date; None if never."""
        return self.get("last_called_datetime")

    @property
    def calls(self) -> int:
        """How many calls it received, whatever became of them."""
        return int(self.get("calls") or 0)

    @property
    def rotation(self) -> dict[str, Any] | None:
        """`old_until`, `old_last_called_datetime` and `old_last_address` of the old URL; None if there is none."""
        return self.get("rotation")

    @property
    def service_uuid(self) -> str:
        """UUID of its service."""
        return str(self.get("service") or self.resource_uri.partition("/webhook/")[0]).strip("/").rpartition("/")[2]

    def __repr__(self) -> str:
        return f"<Handler {self.name!r} {self.operation} {shorten(self.uuid)}>"
