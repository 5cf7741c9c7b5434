"""Notification targets, and notifications: fields, and routes: list, get, create, change, plan, test, retry, delete."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from tutumd.application.handlers import ChangePlan
from tutumd.application.notification_targets import TargetTest, shown_settings
from tutumd.application.queries import NOTIFICATION_FILTERS, TARGET_FILTERS
from tutumd.model import Notification, Query, Target
from tutumd.web.api.schemas import Moment, Shown, TargetIn, describe, list_of, show, write_page
from tutumd.web.auth import Administrator, Reader
from tutumd.web.body import Body, documented, documented_list, listed, parse
from tutumd.web.context import IS_UUID, Web
from tutumd.web.uris import PREFIX, uri

router = APIRouter(prefix=f"{PREFIX}/notification", tags=["notifications"])

TargetUuid = Annotated[str, Path(description="UUID of the notification target"), IS_UUID]

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
        "service_name": Shown(
            str | None, "Name of `service`, with the stack; null if its owner does not see it any more."
        ),
        "stack": Shown(str | None, "The only stack that it is told of; null: all."),
        "include_log": Shown(bool, "Whether the last output of a failed container is sent."),
        "repeat": Shown(int, "An equal failure is sent at most once in this time, in seconds; 0: each.", of="repeat_s"),
        "per_group_call": Shown(
            bool, "Whether one message tells of all actions of a group's call; otherwise each action has its own."
        ),
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
        "service_name": Shown(str, "Name of the service, with the stack; empty if it is about none, or it is gone."),
        "action": Shown(
            str | None,
            "URI of the action, which may be deleted.",
            of=lambda each: each.action_uuid and uri("action", each.action_uuid),
        ),
        "group_call": Shown(
            str | None,
            "URI of the group call whose end it tells.",
            of=lambda each: each.group_call and uri("webhook/groupcall", str(each.group_call)),
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


@router.get("/target/", response_model=list_of(TARGET), openapi_extra=documented_list(TARGET_FILTERS))
def list_targets(web: Web, viewer: Reader, query: Annotated[Query, listed(TARGET_FILTERS)]) -> dict[str, Any]:
    """List your notification targets, oldest first. Filters: uuid, uuid__startswith, name, service; limit, offset.

    `service` is the UUID of a service: the targets that are told of it. Nobody sees the targets of another user.
    """
    return write_page(f"{PREFIX}/notification/target/", query, web.store.targets(viewer, query))


@router.post("/target/", status_code=201, response_model=NEW_TARGET, openapi_extra=documented(TargetIn))
def create_target(web: Web, viewer: Administrator, body: Body) -> dict[str, Any]:
    """Create a notification target. `secret` is shown only now, if the server generated it."""
    target, secret = web.target_rules(viewer).create(_read(body))
    return show(NEW_TARGET, target, secret=secret)


@router.post("/target/plan/", response_model=TARGET_PLAN, openapi_extra=documented(TargetIn))
def plan_target(web: Web, viewer: Administrator, body: Body) -> ChangePlan:
    """Check a request to create a notification target, and show what it would set. Nothing is done."""
    return web.target_rules(viewer).plan(None, _read(body))


@router.get("/target/{target_uuid}/", response_model=TARGET)
def get_target(web: Web, viewer: Reader, target_uuid: TargetUuid) -> Target:
    """Get a notification target, without its secrets."""
    return web.store.target(viewer, target_uuid)


@router.patch("/target/{target_uuid}/", response_model=NEW_TARGET, openapi_extra=documented(TargetIn))
def change_target(web: Web, viewer: Administrator, target_uuid: TargetUuid, body: Body) -> dict[str, Any]:
    """Change fields of a notification target; those that are absent stay, null resets. So do single `settings`."""
    target, secret = web.target_rules(viewer).change(target_uuid, _read(body))
    return show(NEW_TARGET, target, secret=secret)


@router.post("/target/{target_uuid}/plan/", response_model=TARGET_PLAN, openapi_extra=documented(TargetIn))
def plan_change(web: Web, viewer: Administrator, target_uuid: TargetUuid, body: Body) -> ChangePlan:
    """Check a request to change a notification target, and show which fields would change. Nothing is done."""
    return web.target_rules(viewer).plan(target_uuid, _read(body))


@router.delete("/target/{target_uuid}/", status_code=204)
def delete_target(web: Web, viewer: Administrator, target_uuid: TargetUuid) -> Response:
    """Delete a notification target, with its notifications that wait to be sent."""
    web.target_rules(viewer).delete(target_uuid)
    return Response(status_code=204)


@router.post("/target/{target_uuid}/test/", response_model=TEST_RESULT)
def try_target(web: Web, viewer: Administrator, target_uuid: TargetUuid) -> TargetTest:
    """Send a test to a notification target, also to a disabled one, and show the result. 504 after 20 s."""
    return web.test_target(viewer, target_uuid)


@router.post("/target/{target_uuid}/retry/", status_code=202, response_model=RETRIED)
def retry_dead(web: Web, viewer: Administrator, target_uuid: TargetUuid) -> dict[str, int]:
    """Queue all notifications of a target that could not be sent again, with the same IDs."""
    return {"retried": web.target_rules(viewer).retry_dead(target_uuid)}


@router.get("/", response_model=list_of(NOTIFICATION), openapi_extra=documented_list(NOTIFICATION_FILTERS))
def list_notifications(
    web: Web, viewer: Reader, query: Annotated[Query, listed(NOTIFICATION_FILTERS)]
) -> dict[str, Any]:
    """List the notifications of your targets, newest first. Filters: uuid, state, target, action; limit, offset."""
    return write_page(f"{PREFIX}/notification/", query, web.store.notifications(viewer, query))


@router.get("/{uuid}/", response_model=NOTIFICATION)
def get_notification(
    web: Web, viewer: Reader, uuid: Annotated[str, Path(description="UUID of the notification"), IS_UUID]
) -> Notification:
    """Get a notification."""
    return web.store.notifications(viewer, Query.newest(1, uuid=uuid)).first


@router.post("/{uuid}/retry/", status_code=202, response_model=NOTIFICATION)
def retry_notification(
    web: Web, viewer: Administrator, uuid: Annotated[str, Path(description="UUID of the notification"), IS_UUID]
) -> Notification:
    """Queue a notification that could not be sent again, with the same ID. 409 for any other."""
    return web.target_rules(viewer).retry(uuid)


def _read(body: bytes) -> Mapping[str, Any]:
    return parse(body, TargetIn).model_dump(exclude_unset=True)
