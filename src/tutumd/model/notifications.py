"""Notifications: who is told about the end of which actions, and the messages that wait to be sent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class TargetKind(StrEnum):
    """How a target is told.

    WEBHOOK: A signed POST of JSON, as Standard Webhooks describes it.
    APPRISE: A short text to a chat, a phone or a mailbox.
    FORGE: A commit status on GitHub, GitLab, Gitea or Forgejo.
    """

    WEBHOOK = "webhook"
    APPRISE = "apprise"
    FORGE = "forge"


class Event(StrEnum):
    """What a target can be told.

    ACTION_FAILED: An action failed, or an admin abandoned it.
    ACTION_RECOVERED: The first success of a verb on a service after a failure.
    ACTION_STARTED: A worker claimed an action. Only for commit statuses; targets cannot choose it.
    ENGINE_DOWN, ENGINE_UP: Workers lost or regained an engine. Only for admins.
    TARGET_DISABLED: Another target of the owner was disabled because nothing reached it.
    TEST: Somebody requested a test of the target. Targets cannot choose it.
    """

    ACTION_FAILED = "action.failed"
    ACTION_CANCELED = "action.canceled"
    ACTION_RECOVERED = "action.recovered"
    ACTION_SUCCEEDED = "action.succeeded"
    ACTION_STARTED = "action.started"
    ENGINE_DOWN = "engine.down"
    ENGINE_UP = "engine.up"
    TARGET_DISABLED = "target.disabled"
    TEST = "test"


CHOSEN_EVENTS = tuple(event for event in Event if event not in (Event.ACTION_STARTED, Event.TEST))
DEFAULT_EVENTS = (Event.ACTION_FAILED, Event.ACTION_RECOVERED, Event.ENGINE_DOWN, Event.ENGINE_UP)
DEFAULT_REPEAT_S = 3600
MAX_REPEAT_S = 30 * 24 * 3600
MAX_TARGETS = 50
MAX_PENDING = 10_000
MAX_PAYLOAD_BYTES = 20_000
MAX_ERROR_CHARS = 500


def encode(payload: Mapping[str, Any]) -> bytes:
    """Return the JSON of a payload, as it is sent."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


class NotificationState(StrEnum):
    """State of a notification.

    DEAD: It is not sent any more; `error` says why. It can be retried.
    """

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTarget:
    """What a user sets on a target.

    Attributes:
        name: Unique among the targets of the owner.
        settings: JSON values by name, as the kind requires them, in plain text (application) or with the secret values
            encrypted (store); see `application.notification_targets`.
        events: Without effect on forge targets.
        service_uuid, stack: Only actions of this service or stack; both None: of all services that the owner sees.
        include_log: Send the last lines of a failed container.
        repeat_s: An equal failure of a service is sent at most once in this time, in seconds, at most `MAX_REPEAT_S`;
            0: each one.
        per_group_call: One notification for all actions of a group's call, after the last of them has ended; otherwise
            one for each action. Without effect on forge targets.
    """

    name: str
    kind: TargetKind
    settings: Mapping[str, Any] = field(repr=False)
    events: tuple[Event, ...] = DEFAULT_EVENTS
    service_uuid: str | None = None
    stack: str | None = None
    include_log: bool = False
    repeat_s: int = DEFAULT_REPEAT_S
    per_group_call: bool = True
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(NewTarget):
    """A notification target of a user.

    Attributes:
        number: Increases with each target.
        owner: Name of the user.
        owner_is_admin: Whether the owner is an admin now.
        service_name: Name of its service, with the stack; None if it has none, or its owner does not see it any more.
        disabled_reason: Why the server disabled it; empty if it is enabled, or if its owner disabled it.
        pending, dead: Numbers of notifications in these states.
    """

    uuid: str
    number: int
    owner: str
    owner_is_admin: bool
    created: datetime
    service_name: str | None = None
    disabled_reason: str = ""
    pending: int = 0
    dead: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A message to one target.

    Attributes:
        uuid: Its ID, and the receiver's `webhook-id`; the same for each attempt.
        number: Increases with each notification.
        payload: The JSON object to send, without links: `type`, `timestamp` and `data`; at most 20 kB when encoded.
            Empty before the first attempt.
        service_name: Name with the stack; empty if it is not about a service, or the service was deleted.
        attempts: Number of attempts that have ended.
        due: Time of the next attempt.
        last_status: HTTP status of the last attempt; None if there was no response.
        error: Reason of the last failed attempt, without secrets, at most 500 characters.
    """

    uuid: str
    number: int
    target_uuid: str
    target_name: str
    event: Event
    state: NotificationState
    payload: Mapping[str, Any] = field(repr=False)
    created: datetime
    due: datetime
    action_uuid: str | None = None
    service_uuid: str | None = None
    service_name: str = ""
    attempts: int = 0
    ended: datetime | None = None
    last_status: int | None = None
    error: str = ""

    @property
    def group_call(self) -> int | None:
        """Number of the group call that it is about."""
        number: int | None = self.payload.get("data", {}).get("group_call", {}).get("number")
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedNotification:
    """A notification that a notifier holds until its lease ends, with its target; secrets are still encrypted."""

    notification: Notification
    target: Target
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """The result of one attempt.

    Attributes:
        sent: The receiver has accepted the message.
        status: HTTP status; None if there was no response, or the kind has none.
        error: Reason of a failure, without secrets; empty if `sent`.
        is_final: Another attempt would fail in the same way: the notification becomes dead immediately.
        is_gone: The receiver wants no more messages: the target is disabled.
        retry_after_s: The receiver requests that the next attempt is not earlier than this, in seconds.
    """

    sent: bool
    status: int | None = None
    error: str = ""
    is_final: bool = False
    is_gone: bool = False
    retry_after_s: float | None = None
