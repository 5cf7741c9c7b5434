"""The objects of the API about notifications: their fields, and how the fields are read from a value of the model."""

from typing import Any

from tutumd.application.notifications import shown_settings
from tutumd.web.api.schemas import Moment, Shown, describe
from tutumd.web.uris import action_uri, uri

TARGET = describe(
    "NotificationTargetOut",
    "A person, program or forge that is notified of actions.",
    {
        "uuid": Shown(str),
        "resource_uri": Shown(str, of=lambda target: uri("notification/target", target.uuid)),
        "name": Shown(str, "Unique among the targets of a user."),
        "kind": Shown(str, "`webhook`, `apprise` or `forge`."),
        "settings": Shown(dict[str, Any], "Settings of the kind. `…` stands for a secret.", of=shown_settings),
        "events": Shown(list[str], "What it is told, such as `action.failed`. Without effect on the kind `forge`."),
        "service": Shown(
            str | None,
            "URI of the only service that it is told of; null: all that its owner sees.",
            of=lambda target: target.service_uuid and uri("service", target.service_uuid),
        ),
        "stack": Shown(str | None, "The only stack that it is told of; null: all."),
        "include_log": Shown(bool, "Whether the last output of a failed container is sent."),
        "repeat": Shown(int, "An equal failure is sent at most once in this time, in seconds; 0: each.", of="repeat_s"),
        "enabled": Shown(bool),
        "disabled_reason": Shown(str, "Why the server disabled it; empty if its owner did, or if it is enabled."),
        "created_datetime": Shown(Moment, of="created"),
        "pending": Shown(int, "How many notifications wait to be sent."),
        "dead": Shown(int, "How many notifications could not be sent; `retry/` queues them again."),
    },
)
NEW_TARGET = describe(
    "NewNotificationTargetOut",
    "A notification target that was created.",
    {
        "secret": Shown(
            str | None, "The secret that the server generated to sign messages. It is shown only now.", default=None
        ),
    },
    TARGET,
)
TARGET_PLAN = describe(
    "NotificationTargetPlanOut",
    "What a request would create or change.",
    {
        "name": Shown(str, of="after.name"),
        "kind": Shown(str, of="after.kind"),
        "changes": Shown(
            dict[str, Any],
            "Fields that would differ from before (of a new target: from the defaults), with their new values as the "
            "API shows them. `settings` is there too if only secrets would change.",
        ),
    },
)
TEST_RESULT = describe(
    "NotificationTestOut",
    "The result of a test message.",
    {
        "sent": Shown(bool, "Whether the receiver accepted the message."),
        "status": Shown(int | None, "HTTP status of the receiver; null if there was no response.", of="last_status"),
        "error": Shown(str, "Why it was not accepted; empty if it was."),
        "seconds": Shown(float, "Time from the request to the result."),
    },
)
NOTIFICATION = describe(
    "NotificationOut",
    "A message to a notification target.",
    {
        "uuid": Shown(str, "The receiver's `webhook-id`."),
        "resource_uri": Shown(str, of=lambda each: uri("notification", each.uuid)),
        "target": Shown(str, of=lambda each: uri("notification/target", each.target_uuid)),
        "target_name": Shown(str),
        "event": Shown(str),
        "state": Shown(str, "`pending`, `sent` or `dead`."),
        "service": Shown(
            str | None,
            "URI of the service, which may be gone.",
            of=lambda each: each.service_uuid and uri("service", each.service_uuid),
        ),
        "action": Shown(
            str | None,
            "URI of the action, which may be deleted.",
            of=lambda each: each.action_uuid and action_uri(each.action_uuid),
        ),
        "created_datetime": Shown(Moment, of="created"),
        "due_datetime": Shown(
            Moment | None,
            "When the next attempt is due; null if there is none.",
            of=lambda each: each.due if each.ended is None else None,
        ),
        "ended_datetime": Shown(Moment | None, of="ended"),
        "attempts": Shown(int, "How many attempts were made."),
        "status": Shown(int | None, "HTTP status of the last attempt; null if there was none.", of="last_status"),
        "error": Shown(str, "Why the last attempt failed; empty if none did."),
    },
)
RETRIED = describe("RetriedOut", "How many notifications were queued again.", {"retried": Shown(int)})
