"""Groups: secret URLs that redeploy several services each when they are called."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tutum.client import Client, path_of
from tutum.errors import TutumApiError
from tutum.resource import EditableResource
from tutum.results import Result
from tutum.webhook_handler import FIELDS as HANDLER_FIELDS
from tutum.webhook_handler import encode_dates

#: Fields that can be set, besides the name, with their defaults: those of groups, then those of handlers.
FIELDS: dict[str, Any] = {
    "services": None,
    "stack": None,
    "engine": None,
    "match": None,
    "sequence": "none",
    "on_failure": "cancel",
    **{name: entry["default"] for name, entry in HANDLER_FIELDS.items() if entry["operation"] in (None, "REDEPLOY")},
}


@dataclass(frozen=True, kw_only=True)
class GroupProgress(Result):
    """What a call of a group has caused so far.

    Attributes:
        state: `Success` (all), `Failed` (any), `Canceled` (any, and none failed), `In progress`, `Pending`, `Skipped`.
        reason: Why the call was skipped.
        actions: A dict for each service, with its `service` (path), `service_name`, `action` (path), `state`, `joined`,
            `reason` and `note`.
        group_call: Path of the group call.
        status_url: Path that returns the progress without credentials, and so is a secret.
    """

    state: str = "Pending"
    reason: str = ""
    actions: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    group_call: str | None = None
    status_url: str = field(default="", repr=False)
    client: Client = field(repr=False, compare=False)

    @property
    def finished(self) -> bool:
        """Whether all actions have ended."""
        return self.state not in ("Pending", "In progress")

    @property
    def succeeded(self) -> bool:
        """Whether all actions have succeeded."""
        return self.state == "Success"

    def poll(self, wait: int | None = None) -> "GroupProgress":
        """Return the progress now. Sends no credentials: the status URL is sufficient.

        Args:
            wait: Seconds to wait for the end, 0 to 600; 0 and None do not wait.

        Raises:
            TutumApiError: The server named no status URL, or another failure.
        """
        if not self.status_url.startswith("/"):
            raise TutumApiError("the server named no status URL for this")
        # Only the path is used, as for pages: a response cannot direct the client to another host.
        path = urlsplit(self.status_url).path
        body = self.client.request("GET", path, params={"wait": wait}, wait_s=wait or 0).body
        return GroupProgress.of(
            {"status_url": self.status_url, "group_call": self.group_call, **body, "client": self.client}
        )


class WebhookGroup(EditableResource):
    """A URL that redeploys several services. Set attributes and `save`.

    `uuid` is a password, and so are `url`, the path to POST to, and `call_url`, the complete URL. `repr` shows only the
    start of the UUID.

    Attributes:
        services: UUIDs; set 1 to 50 UUIDs or names. To select other services, set one of `services`, `stack`, `match`.
        stack, engine: The services of a stack of one engine.
        match: A dict such as {"image": "ghcr.io/me/*"}: the services whose image the call names.
        sequence: `none`, `listed` or `depends_on`.
        on_failure: `cancel` or `continue`: what happens to the services that come after a failed one.
        number: Its number in pages, in group calls and in the audit log.
        rotation: Describes the old URL; None if there is none.
    """

    endpoint = "webhook/group"

    name: str | None = None
    stack: str | None = None
    url: str = ""
    call_url: str | None = None

    def plan(self) -> dict[str, Any]:
        """Return the fields that `save` would change, with their new values as the API shows them. Nothing is done.

        They include `verify` if only its secrets would change.

        Raises:
            TutumApiError: The server would refuse, or another failure.
        """
        segments = (self.uuid, "plan") if self.uuid else ("plan",)
        return dict(self.client.send("POST", *self._path(*segments), body=self._changes()).body["changes"])

    def rotate(self, grace: int | None = None) -> bool:
        """Give the group a new UUID, and so a new URL.

        Args:
            grace: Seconds for which calls of the old URL are accepted, up to 30 days; default: a day.

        Returns:
            True. A failure raises.

        Raises:
            TutumApiError: A failure.
        """
        body = None if grace is None else {"grace": grace}
        self._load(self.client.send("POST", *self._path(self.uuid, "rotate"), body=body).body)
        return True

    def delete(self) -> bool:
        """Revoke the group: its URL can no longer be called. Its actions go on.

        Returns:
            True. A failure raises.

        Raises:
            TutumApiError: A failure.
        """
        self.client.send("DELETE", *self._path(self.uuid))
        return True

    def call(
        self,
        *,
        wait: int | None = None,
        tag: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> GroupProgress:
        """Call the group. Sends no credentials: the URL is sufficient.

        Args:
            wait, tag, body, headers: As for `WebhookHandler.call`.

        Raises:
            TutumAuthError: The group requires a signature or a token that this call does not have.
            ObjectNotFound: The group cannot be called now or from here.
            TutumApiError: More than 50 services are selected, the group was called too often, or another failure.
        """
        is_raw = body is None or isinstance(body, bytes)
        response = self.client.request(
            "POST",
            path_of(self._path(self.uuid, "call")),
            params={"wait": wait, "tag": tag},
            content=body if is_raw else (body if isinstance(body, str) else json.dumps(body)).encode(),
            headers=headers,
            wait_s=wait or 0,
        )
        return GroupProgress.of({**response.body, "client": self.client})

    def group_calls(self) -> Iterator[dict[str, Any]]:
        """Yield the calls of the group, newest first, each with its `actions`. Each page is fetched when it is needed.

        Raises:
            TutumApiError: A failure.
        """
        yield from self.client.pages("webhook", "groupcall", params={"group": self.number})

    def _load(self, fields: object) -> None:
        super()._load(fields)
        self.call_url = self.call_url or self.client.absolute_url(self.url)
        self._changed.clear()

    def _changes(self) -> dict[str, Any]:
        changes = super()._changes()
        # The server takes a selector as a whole.
        return encode_dates(changes | ({"stack": self.stack} if "engine" in changes else {}))
