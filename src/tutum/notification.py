"""Notification targets, which are told how actions ended, and the messages to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tutum.resource import EditableResource, Resource
from tutum.results import Result

#: Names of the secret settings of each kind. The server shows `…` for their values.
SECRET_SETTINGS = {"webhook": ("secret",), "apprise": ("url",), "forge": ("token",)}
#: Fields that can be set, besides the kind and its settings, with their defaults. The server knows other defaults.
TARGET_FIELDS: dict[str, Any] = {
    "events": None,
    "service": None,
    "stack": None,
    "include_log": False,
    "repeat": 3600,
    "per_group_call": True,
    "enabled": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTest(Result):
    """The result of a test message to a target.

    Attributes:
        sent: Whether the receiver accepted the message.
        status: HTTP status of the receiver; None if there was no response.
        error: Why it was not accepted; empty if it was.
        seconds: Time from the request to the result.
    """

    sent: bool
    status: int | None = None
    error: str = ""
    seconds: float = 0


class NotificationTarget(EditableResource):
    """A person, program or forge that is notified of actions. Set attributes and `save`.

    Attributes:
        name: Unique among the targets of a user.
        kind: `webhook`, `apprise` or `forge`.
        settings: Settings of the kind; `…` stands for a secret. To change settings, assign a dict with these settings
            only; None resets a setting.
        events: Such as `action.failed`.
        service: The only service that it is told of: set its UUID or name; the server shows its path. None: all.
        service_name: Name of that service, with the stack; None if you do not see it any more.
        stack: The only stack that it is told of; None: all.
        include_log: Whether the last output of a failed container is sent.
        repeat: An equal failure is sent at most once in this time, in seconds; 0: each.
        per_group_call: Whether one message tells of all actions of a group's call; otherwise each action has its own.
        disabled_reason: Why the server disabled it; empty if its owner did.
        pending, dead: How many notifications wait to be sent, and how many could not be sent.
        secret: Signing secret of a webhook, if the server generated it with the last `save`.
    """

    endpoint = "notification/target"

    name: str = ""
    settings: Mapping[str, Any] = {}
    service: str | None = None
    stack: str | None = None
    enabled: bool = True
    secret: str | None = None

    def plan(self) -> dict[str, Any]:
        """Return the fields that `save` would change, with their new values as the API shows them. Nothing is done.

        They include `settings` if only secrets would change.

        Raises:
            TutumApiError: The server would refuse, or another failure.
        """
        segments = (self.uuid, "plan") if self.uuid else ("plan",)
        return dict(self.client.send("POST", *self._path(*segments), body=self._changes()).body["changes"])

    def test(self) -> TargetTest:
        """Send a test message, also to a disabled target, and return its result.

        Raises:
            TutumApiError: It was not sent within 20 s, or another failure.
        """
        return TargetTest.of(self.client.send("POST", *self._path(self.uuid, "test")).body)

    def retry(self) -> int:
        """Queue all notifications that could not be sent again, with the same IDs, and return how many.

        Raises:
            TutumApiError: A failure.
        """
        return int(self.client.send("POST", *self._path(self.uuid, "retry")).body["retried"])

    def delete(self) -> bool:
        """Delete the target, with its notifications that wait to be sent.

        Returns:
            True. A failure raises.

        Raises:
            TutumApiError: A failure.
        """
        self.client.send("DELETE", *self._path(self.uuid))
        return True


class Notification(Resource):
    """A message to a notification target. Read-only.

    Attributes:
        target: Path of the target.
        event: Such as `action.failed`.
        state: `pending`, `sent` or `dead`.
        service, action: Paths; None if it is about none.
        group_call: Path of the group call whose end it tells; None if it is about none.
        service_name: Name of the service, with the stack; empty if it is about none.
        due_datetime: When the next attempt is due; None if there is none.
        attempts: How many attempts were made.
        status: HTTP status of the last attempt; None if there was none.
        error: Why the last attempt failed.
    """

    endpoint = "notification"

    state: str = ""

    def retry(self) -> bool:
        """Queue a notification that could not be sent again, with the same ID.

        Returns:
            True. A failure raises.

        Raises:
            TutumApiError: It is not dead, or another failure.
        """
        self._load(self.client.send("POST", *self._path(self.uuid, "retry")).body)
        return True
