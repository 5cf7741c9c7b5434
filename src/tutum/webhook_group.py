"""Groups: secret URLs that redeploy several services each when they are called."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tutum.client import Client, current_client
from tutum.results import Outcome, read_status
from tutum.webhook_handler import FIELDS, Webhooks

#: Fields that only groups have, with their defaults.
OWN_FIELDS: dict[str, Any] = {
    "services": None,
    "stack": None,
    "engine": None,
    "match": None,
    "sequence": "none",
    "on_failure": "cancel",
}
#: Fields of a group that can be set, besides the name.
GROUP_FIELDS = (*OWN_FIELDS, *(name for name, entry in FIELDS.items() if entry["operation"] in (None, "REDEPLOY")))


@dataclass(frozen=True, kw_only=True)
class GroupProgress(Outcome):
    """The progress of a group call.

    Attributes:
        state: `Success` (all), `Failed` (any), `Canceled` (any, and none failed), `In progress`, `Pending`, `Skipped`.
        reason: Why the call was skipped.
        actions: A dict for each service, with its `service` (path), `service_name`, `action` (path), `state`, `joined`,
            `reason` and `note`.
        group_call: Path of the group call.
    """

    state: str = "Pending"
    actions: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    group_call: str | None = None
    client: Client = field(repr=False, compare=False)

    def poll(self, wait: int | None = None) -> "GroupProgress":
        """Return the progress now. Sends no credentials: the status URL is sufficient.

        Args:
            wait: Seconds to wait for the end, 0 to 600; 0 and None do not wait.

        Raises:
            TutumApiError: The server named no status URL, or another failure.
        """
        body = read_status(self.client, self.status_url, wait)
        return GroupProgress.of(
            {"status_url": self.status_url, "group_call": self.group_call, **body, "client": self.client}
        )


class WebhookGroup(Webhooks):
    """The groups: URLs that redeploy several services each.

    A group is a `Handler` without an operation and with the fields `services`, `stack`, `engine`, `match`, `sequence`,
    `on_failure`, and `number`. To select other services, set one of `services`, `stack`, `match`. `save` creates one
    group at a time.
    """

    def __init__(self, client: Client | None = None) -> None:
        """Use the groups of a client's user; default: `tutum.default_client`, or a client with the settings."""
        super().__init__(client or current_client(), "webhook", "group")

    def call(
        self,
        uuid: str,
        *,
        wait: int | None = None,
        tag: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> GroupProgress:
        """Call a group. Sends no credentials: the URL is sufficient.

        Args:
            wait, tag, body, headers: As for `WebhookHandler.call`.

        Raises:
            TutumAuthError: The group requires a signature or a token that this call does not have.
            ObjectNotFound: The group cannot be called now or from here.
            TutumApiError: More than 50 services are selected, the group was called too often, or another failure.
        """
        response = self._send_call(uuid, wait=wait, tag=tag, body=body, headers=headers)
        return GroupProgress.of({**response.body, "client": self._client})

    def group_calls(self, number: int) -> Iterator[dict[str, Any]]:
        """Yield the calls of a group, newest first, each with its `actions`. Each page is fetched when it is needed.

        Args:
            number: Number of the group.

        Raises:
            TutumApiError: A failure.
        """
        yield from self._client.pages("webhook", "groupcall", params={"group": number})
