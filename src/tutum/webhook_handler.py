"""The webhook handlers of a service: secret URLs that perform one operation each when they are called; and what they
share with groups.
"""

import builtins
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tutum.client import Client, FilterValue, current_client, path_of
from tutum.errors import TutumApiError
from tutum.redaction import shorten
from tutum.responses import ApiResponse
from tutum.results import Accepted, Check, Outcome, Trial
from tutum.service import Service

#: Fields of a handler that can be set, by name, from the server's table: their defaults and examples.
FIELDS: dict[str, dict[str, Any]] = {
    field["name"]: field
    for field in json.loads(Path(__file__).with_name("handler_fields.json").read_text(encoding="utf-8"))
}


class Handler(dict[str, Any]):
    """A dict of all fields of a handler or group. Each field is an attribute too.

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
        """UUID of its service; empty for a group."""
        return str(self["resource_uri"]).partition("/service/")[2].partition("/")[0]

    def __repr__(self) -> str:
        return f"<Handler {self.name!r} {self.get('operation', 'group')} {shorten(self.uuid)}>"


class Webhooks:
    """Secret URLs that can be created and changed: the handlers of a service, or the groups."""

    def __init__(self, client: Client, *path: str) -> None:
        self._client = client
        self._segments = path
        self._added: builtins.list[dict[str, Any]] = []

    def list(self, **filters: FilterValue) -> builtins.list[Handler]:
        """Return the handlers or groups that match `filters`.

        Args:
            filters: `name`, or `uuid__startswith`.

        Raises:
            TutumApiError: The service is gone, or another failure.
        """
        return [_handler(fields, self._client) for fields in self._client.pages(*self._path(), params=filters)]

    def add(self, name: str | Sequence[str | None] | None = None, operation: str | None = None, **fields: Any) -> None:
        """Add a handler, which `save` creates.

        Args:
            name: Any text of up to 255 characters, or a list of names for several handlers.
            operation: REDEPLOY (the default), SCALEUP or ROLLBACK.
            fields: Any fields of the reference of handler fields, such as max_uses=10. The server checks them.
        """
        values = ({} if operation is None else {"operation": operation}) | fields
        names = [name] if name is None or isinstance(name, str) else name
        self._added += [{"name": each_name, **values} for each_name in names]

    def save(self) -> builtins.list[Handler]:
        """Create the added handlers, all or none, and return them with their URLs.

        Raises:
            TutumApiError: The server refused. The added handlers are kept, so that they can be corrected or saved
                again.
        """
        if not self._added:
            return []
        body: object = self._added[0] if len(self._added) == 1 else self._added
        created = self._client.send("POST", *self._path(), body=body).body
        self._added = []
        listed = created if isinstance(created, builtins.list) else [created]
        return [_handler(fields, self._client) for fields in listed if isinstance(fields, dict)]

    def update(self, uuid: str, **fields: Any) -> Handler:
        """Change a handler, and return its new state.

        Args:
            fields: As for `add`, and `name`. None resets a field; fields that are not given are kept.

        Raises:
            ObjectNotFound: The service has no handler with this UUID.
            TutumApiError: The server refused, and nothing was changed; or another failure.
        """
        return _handler(self._client.send("PATCH", *self._path(str(uuid)), body=fields).body, self._client)

    def plan_save(self) -> builtins.list[dict[str, Any]]:
        """Return for each added handler the fields that `save` would set, as the API shows them. Nothing is done.

        Raises:
            TutumApiError: The server would refuse, or another failure.
        """
        path = self._path("plan")
        return [self._client.send("POST", *path, body=entry).body["changes"] for entry in self._added]

    def plan_update(self, uuid: str, **fields: Any) -> dict[str, Any]:
        """Return the fields that `update` would change, with their new values as the API shows them. Nothing is done.

        They include `verify` if only its secrets would change.

        Raises:
            TutumApiError: As `update`.
        """
        return dict(self._client.send("POST", *self._path(str(uuid), "plan"), body=fields).body["changes"])

    def rotate(self, uuid: str, grace: int | None = None) -> Handler:
        """Give a handler a new UUID, and so a new URL, and return it.

        Args:
            grace: Seconds for which calls of the old URL are accepted, up to 30 days; default: a day.

        Raises:
            ObjectNotFound: The service has no handler with this UUID.
            TutumApiError: Any other failure.
        """
        body = None if grace is None else {"grace": grace}
        return _handler(self._client.send("POST", *self._path(str(uuid), "rotate"), body=body).body, self._client)

    def delete(self, uuid: str) -> bool:
        """Revoke a handler: its URL can no longer be called.

        Returns:
            True. A failure raises.

        Raises:
            ObjectNotFound: The service has no handler with this UUID.
            TutumApiError: Any other failure.
        """
        self._client.send("DELETE", *self._path(str(uuid)))
        return True

    def _send_call(
        self,
        uuid: str,
        *amounts: str,
        wait: int | None,
        tag: str | None,
        body: Any,
        headers: Mapping[str, str] | None,
    ) -> ApiResponse:
        is_raw = body is None or isinstance(body, bytes)
        return self._client.request(
            "POST",
            path_of(self._path(str(uuid), "call", *amounts)),
            params={"wait": wait, "tag": tag},
            content=body if is_raw else (body if isinstance(body, str) else json.dumps(body)).encode(),
            headers=headers,
            wait_s=wait or 0,
        )

    def _path(self, *segments: str) -> tuple[str, ...]:
        return (*self._segments, *segments)


class WebhookHandler(Webhooks):
    """The webhook handlers of one service."""

    def __init__(self, service: Service) -> None:
        """Use the handlers of `service`.

        Raises:
            TutumApiError: The service was not saved.
        """
        if not service.uuid:
            raise TutumApiError("save the service before its webhook handlers are used")
        super().__init__(service.client, Service.endpoint, service.uuid, "webhook", "handler")
        self.service = service

    @classmethod
    def fetch(cls, service: Service) -> Self:
        """Return the webhook handlers of `service`. Nothing is sent before they are listed or changed."""
        return cls(service)

    @classmethod
    def unused(cls, days: int, *, client: Client | None = None) -> builtins.list[Handler]:
        """Return the handlers of all services that were neither called nor created within a number of days.

        Args:
            days: 0 or more; 0 returns all.

        Raises:
            TutumApiError: A failure.
        """
        client = client or current_client()
        pages = client.pages("webhook", "handler", params={"unused_days": days})
        return [_handler(fields, client) for fields in pages]

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
        """Call a handler. Sends no credentials: the URL is sufficient.

        Args:
            amount: Containers to add, 1 to 100; default 1. REDEPLOY and ROLLBACK ignore it.
            wait: Seconds to wait for the end, 0 to 600; 0 and None do not wait. The result's `outcome` then describes
                how the call ended.
            tag: Image tag to deploy, which the handler must allow.
            body: Bytes or text to send unchanged, or a value to send as JSON.
            headers: Such as {"Idempotency-Key": "…"}.

        Returns:
            A true value with the `action`. Its `outcome` is set if the handler's filter skipped the call.

        Raises:
            TutumAuthError: The handler requires a signature or a token that this call does not have.
            ObjectNotFound: The service has no handler with this UUID, or it cannot be called now or from here.
            TutumApiError: The amount or tag is wrong, the handler was called too often, or another failure.
        """
        amounts = () if amount is None else (str(amount),)
        return self._result_of(self._send_call(uuid, *amounts, wait=wait, tag=tag, body=body, headers=headers))

    def test(
        self,
        uuid: str,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        address: str | None = None,
    ) -> Trial:
        """Return the predicted effect of a call, check by check. Nothing is done.

        Args:
            body: UTF-8 bytes or text, or a value to treat as JSON.
            address: IP address of the caller, for `allow_from`.

        Raises:
            ObjectNotFound: The service has no handler with this UUID.
            TutumApiError: The body is not UTF-8, or another failure.
        """
        try:
            text = body.decode() if isinstance(body, bytes) else body
        except UnicodeDecodeError as error:
            raise TutumApiError("only a body that is UTF-8 text can be tested") from error
        call = {"headers": headers, "query": query, "body": text, "address": address}
        given = {name: value for name, value in call.items() if value is not None}
        answer = self._client.send("POST", *self._path(str(uuid), "test"), body=given).body
        return Trial.of(answer | {"steps": [Check.of(step) for step in answer["steps"]]})

    def deliveries(self, uuid: str) -> Iterator[dict[str, Any]]:
        """Yield the calls that a handler received, newest first. Each page is fetched when it is needed.

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
        """Repeat the request of a received call. Its signature is not checked again.

        Raises:
            ObjectNotFound: The handler received no such call.
            TutumApiError: The call's body was not kept completely, or another failure.
        """
        return self._result_of(self._client.send("POST", *self._path(str(uuid), "delivery", str(id), "redeliver")))

    def _result_of(self, response: ApiResponse) -> Accepted:
        has_outcome = isinstance(response.body, dict) and "state" in response.body
        outcome = Outcome.of(response.body) if has_outcome else None
        return Accepted(action_uri=response.action_uri, body=response.body, outcome=outcome, client=self._client)


def _handler(fields: dict[str, Any], client: Client) -> Handler:
    return Handler({**fields, "call_url": fields.get("call_url") or client.absolute_url(str(fields.get("url") or ""))})
