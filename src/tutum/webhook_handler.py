"""The webhook handlers of a service: secret URLs, each of which performs one operation when it is called."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from typing import Any

from tutum.accepted import Accepted, accepted
from tutum.client import Client, FilterValue
from tutum.errors import TutumApiError
from tutum.redaction import shorten
from tutum.service import Service


class Handler(dict[str, Any]):
    """One handler, as the server describes it: a dict whose usual keys are attributes too.

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

    def __repr__(self) -> str:
        return f"<Handler {self.name!r} {self.operation} {shorten(self.uuid)}>"


class WebhookHandler:
    """The webhook handlers of one service."""

    def __init__(self, service: Service) -> None:
        """Take the handlers of `service`, which must have been saved.

        Raises:
            TutumApiError: It was not.
        """
        if not isinstance(service, Service):
            raise TutumApiError(f"webhook handlers belong to a service, not to a {type(service).__name__}")
        if not service.uuid:
            raise TutumApiError("save the service before its webhook handlers are used")
        self.service = service
        self._added: builtins.list[dict[str, str | None]] = []

    def __repr__(self) -> str:
        return f"<WebhookHandler of {self.service!r}>"

    @classmethod
    def fetch(cls, service: Service) -> WebhookHandler:
        """Return the webhook handlers of `service`. Nothing is sent before they are listed or changed."""
        return cls(service)

    def list(self, **filters: FilterValue) -> builtins.list[Handler]:
        """List the handlers that match `filters`, from all pages.

        Args:
            filters: `name`, or `uuid__startswith`.

        Raises:
            TutumApiError: The service is gone, or another failure.
        """
        return [Handler(fields) for fields in self._client.pages(*self._path(), params=filters)]

    def add(self, name: str | Sequence[str | None] | None = None, operation: str | None = None) -> None:
        """Note a handler to create; `save` creates it.

        Args:
            name: Any text of up to 255 characters, or a list of names for several handlers.
            operation: REDEPLOY (the default) or SCALEUP.
        """
        names = [name] if name is None or isinstance(name, str) else name
        for one in names:
            entry = {"name": one}
            self._added.append(entry if operation is None else {**entry, "operation": operation})

    def save(self) -> builtins.list[Handler]:
        """Create the handlers that were added, all or none.

        Returns:
            The new handlers with their URLs; empty if none was added.

        Raises:
            TutumApiError: The server refused; what was added stays, to be corrected or saved again.
        """
        if not self._added:
            return []
        body: object = self._added[0] if len(self._added) == 1 else self._added
        answer = self._client.send("POST", *self._path(), body=body).body
        self._added = []
        created = answer if isinstance(answer, builtins.list) else [answer]
        return [Handler(fields) for fields in created if isinstance(fields, dict)]

    def delete(self, uuid: str) -> bool:
        """Revoke a handler: its URL cannot be called any more.

        Returns:
            True; there is an exception when it fails.

        Raises:
            ObjectNotFound: The service has no handler with this UUID.
            TutumApiError: Any other failure.
        """
        self._client.send("DELETE", *self._path(str(uuid)))
        return True

    def call(self, uuid: str, amount: int | None = None) -> Accepted:
        """Call a handler, as whoever has its URL can; no credentials are sent.

        Args:
            amount: Containers to add, 1 to 100; default 1. REDEPLOY ignores it.

        Returns:
            A true value that carries the `action`.

        Raises:
            ObjectNotFound: The service has no handler with this UUID.
            TutumApiError: The amount is not possible, or another failure.
        """
        amounts = () if amount is None else (str(amount),)
        answer = self._client.send("POST", *self._path(str(uuid)), "call", *amounts, anonymous=True)
        return accepted(answer, self._client)

    def deliveries(self, uuid: str) -> Iterator[dict[str, Any]]:
        """Yield the calls that a handler received, newest first, asking for each page when it is needed.

        Raises:
            ObjectNotFound: The service has no handler with this UUID.
            TutumApiError: Any other failure.
        """
        yield from self._client.pages(*self._path(str(uuid), "delivery"), params={"limit": 100})

    @property
    def _client(self) -> Client:
        return self.service.client

    def _path(self, *below: str) -> tuple[str, ...]:
        return (Service.endpoint, self.service.uuid, "webhook", "handler", *below)
