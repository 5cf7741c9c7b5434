"""The webhook handlers of a service: secret URLs, each of which performs one operation when it is called."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tutum.call_result import Accepted, accepted
from tutum.client import Client, FilterValue, current_client
from tutum.errors import TutumApiError
from tutum.handler import Handler
from tutum.outcome import Outcome
from tutum.paths import path_of
from tutum.responses import Answer
from tutum.service import Service
from tutum.trial import Trial


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
        self._added: builtins.list[dict[str, Any]] = []

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

    @classmethod
    def unused(cls, days: int, *, client: Client | None = None) -> builtins.list[Handler]:
        """List the handlers of all services that were not called for a number of days, nor created within them.

        Args:
            days: 0 or more; 0 lists all.

        Raises:
            TutumApiError: The server is too old to know this, or another failure.
        """
        pages = (client or current_client()).pages("webhook", "handler", params={"unused_days": days})
        return [Handler(fields) for fields in pages]

    def add(self, name: str | Sequence[str | None] | None = None, operation: str | None = None, **fields: Any) -> None:
        """Note a handler to create; `save` creates it.

        Args:
            name: Any text of up to 255 characters, or a list of names for several handlers.
            operation: REDEPLOY (the default) or SCALEUP.
            fields: Any that the reference of a handler's fields names, such as max_uses=10. The server checks them.
        """
        names = [name] if name is None or isinstance(name, str) else name
        for one in names:
            entry: dict[str, Any] = {"name": one}
            self._added.append(entry | ({} if operation is None else {"operation": operation}) | _sendable(fields))

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

    def update(self, uuid: str, **fields: Any) -> Handler:
        """Change a handler, and return it as it is now.

        Args:
            fields: As `add` takes them, and `name`; None resets a field, what is not named stays as it is.

        Raises:
            ObjectNotFound: The service has no handler with this UUID.
            TutumApiError: The server refused, and nothing was changed; or another failure.
        """
        return Handler(self._client.send("PATCH", *self._path(str(uuid)), body=_sendable(fields)).body)

    def rotate(self, uuid: str, grace: int | None = None) -> Handler:
        """Give a handler a new UUID, and so a new URL, and return it.

        Args:
            grace: Seconds for which calls of the old URL are still taken, up to 30 days; default: a day.

        Raises:
            ObjectNotFound: The service has no handler with this UUID.
            TutumApiError: Any other failure.
        """
        body = None if grace is None else {"grace": grace}
        return Handler(self._client.send("POST", *self._path(str(uuid), "rotate"), body=body).body)

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

    def call(
        self,
        uuid: str,
        amount: int | None = None,
        *,
        wait: int | None = None,
        tag: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Accepted:
        """Call a handler, as whoever has its URL can; no credentials are sent.

        Args:
            amount: Containers to add, 1 to 100; default 1. REDEPLOY ignores it.
            wait: Seconds to wait for the end, 1 to 600; the answer's `outcome` then tells how it ended, well or not.
            tag: Image tag to deploy, which the handler must allow.
            body: Bytes or a text that are sent as they are, or a value that is sent as JSON.
            headers: Such as {"Idempotency-Key": "…"}.

        Returns:
            A true value that carries the `action`; its `outcome` tells if the handler's filter skipped the call.

        Raises:
            TutumAuthError: The handler wants a signature or a token that this call does not have.
            ObjectNotFound: The service has no handler with this UUID, or none that can be called now and from here.
            TutumApiError: The amount or the tag is not possible, the handler was called too often, or another failure.
        """
        amounts = () if amount is None else (str(amount),)
        answer = self._client.send_anonymously(
            "POST",
            path_of(self._path(str(uuid), "call", *amounts)),
            params={"wait": wait, "tag": tag},
            content=_content(body),
            headers=headers,
            wait_s=wait or 0,
        )
        return self._called(answer)

    def test(
        self,
        uuid: str,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        address: str | None = None,
    ) -> Trial:
        """Ask what a call would do, step by step. Nothing is done.

        Args:
            body: UTF-8 bytes or a text, taken as they are, or a value that is taken as JSON.
            address: IP address of the caller, for `allow_from`.

        Raises:
            ObjectNotFound: The service has no handler with this UUID.
            TutumApiError: The body is not UTF-8, or another failure.
        """
        call = {"headers": headers, "query": query, "body": _text(body), "address": address}
        sent = {name: value for name, value in call.items() if value is not None}
        return Trial.of(self._client.send("POST", *self._path(str(uuid), "test"), body=sent).body)

    def deliveries(self, uuid: str) -> Iterator[dict[str, Any]]:
        """Yield the calls that a handler received, newest first, asking for each page when it is needed.

        Raises:
            ObjectNotFound: The service has no handler with this UUID.
            TutumApiError: Any other failure.
        """
        yield from self._client.pages(*self._path(str(uuid), "delivery"), params={"limit": 100})

    def delivery(self, uuid: str, id: int) -> dict[str, Any]:
        """Return one call that a handler received, with its `headers`, `query` and `body`.

        Raises:
            ObjectNotFound: The handler received no such call.
            TutumApiError: Any other failure.
        """
        return dict(self._client.send("GET", *self._path(str(uuid), "delivery", str(id))).body)

    def redeliver(self, uuid: str, id: int) -> Accepted:
        """Do what a call that was received asks for once more; its signature is not looked at again.

        Raises:
            ObjectNotFound: The handler received no such call.
            TutumApiError: Not all of the call's body was kept, or another failure.
        """
        return self._called(self._client.send("POST", *self._path(str(uuid), "delivery", str(id), "redeliver")))

    def _called(self, answer: Answer) -> Accepted:
        told = isinstance(answer.body, dict) and "state" in answer.body
        return replace(accepted(answer, self._client), outcome=Outcome.of(answer.body) if told else None)

    @property
    def _client(self) -> Client:
        return self.service.client

    def _path(self, *below: str) -> tuple[str, ...]:
        return (Service.endpoint, self.service.uuid, "webhook", "handler", *below)


def _sendable(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with dates as the API reads them; a date without a zone is local time."""
    return {
        name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
        for name, value in fields.items()
    }


def _content(body: Any) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()


def _text(body: Any) -> Any:
    if not isinstance(body, bytes):
        return body
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise TutumApiError("only a body that is UTF-8 text can be tested") from error
