"""Routes of notification targets, and of notifications: list, get, create, change, plan, test, retry, delete."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from tutumd.application.notification_targets import TargetPlan, TargetTest
from tutumd.application.queries import NOTIFICATION_FILTERS, TARGET_FILTERS, parse_query
from tutumd.errors import NOT_FOUND, NotFoundError
from tutumd.model import Notification, Query, Target
from tutumd.web.api.notification_objects import (
    NEW_TARGET,
    NOTIFICATION,
    RETRIED,
    TARGET,
    TARGET_PLAN,
    TEST_RESULT,
)
from tutumd.web.api.schemas import TargetIn, list_of, show, write_page
from tutumd.web.auth import Administrator, Reader
from tutumd.web.body import Body, documented, documented_list, parse
from tutumd.web.context import context, parse_uuid
from tutumd.web.uris import PREFIX

router = APIRouter(prefix=f"{PREFIX}/notification", tags=["notifications"])

TargetUuid = Annotated[str, Path(description="UUID of the notification target")]


@router.get("/target/", response_model=list_of(TARGET), openapi_extra=documented_list(TARGET_FILTERS))
def list_targets(request: Request, viewer: Reader) -> dict[str, Any]:
    """List your notification targets, oldest first. Filters: uuid, uuid__startswith, name, service; limit, offset.

    `service` is the UUID of a service: the targets that are told of it. Nobody sees the targets of another user.
    """
    query = parse_query(request.query_params.multi_items(), TARGET_FILTERS)
    return write_page(f"{PREFIX}/notification/target/", query, context(request).store.targets(viewer, query))


@router.post("/target/", status_code=201, response_model=NEW_TARGET, openapi_extra=documented(TargetIn))
def create_target(request: Request, viewer: Administrator, body: Body) -> dict[str, Any]:
    """Create a notification target. `secret` is shown only now, if the server generated it."""
    target, secret = context(request).target_rules(viewer).create(_read(body))
    return show(NEW_TARGET, target, secret=secret)


@router.post("/target/plan/", response_model=TARGET_PLAN, openapi_extra=documented(TargetIn))
def plan_target(request: Request, viewer: Administrator, body: Body) -> TargetPlan:
    """Check a request to create a notification target, and show what it would set. Nothing is done."""
    return context(request).target_rules(viewer).plan(None, _read(body))


@router.get("/target/{target_uuid}/", response_model=TARGET)
def get_target(request: Request, viewer: Reader, target_uuid: TargetUuid) -> Target:
    """Get a notification target, without its secrets."""
    return context(request).store.target(viewer, parse_uuid(target_uuid))


@router.patch("/target/{target_uuid}/", response_model=NEW_TARGET, openapi_extra=documented(TargetIn))
def change_target(request: Request, viewer: Administrator, target_uuid: TargetUuid, body: Body) -> dict[str, Any]:
    """Change fields of a notification target; those that are absent stay, null resets. So do single `settings`."""
    target, secret = context(request).target_rules(viewer).change(parse_uuid(target_uuid), _read(body))
    return show(NEW_TARGET, target, secret=secret)


@router.post("/target/{target_uuid}/plan/", response_model=TARGET_PLAN, openapi_extra=documented(TargetIn))
def plan_change(request: Request, viewer: Administrator, target_uuid: TargetUuid, body: Body) -> TargetPlan:
    """Check a request to change a notification target, and show which fields would change. Nothing is done."""
    return context(request).target_rules(viewer).plan(parse_uuid(target_uuid), _read(body))


@router.delete("/target/{target_uuid}/", status_code=204)
def delete_target(request: Request, viewer: Administrator, target_uuid: TargetUuid) -> Response:
    """Delete a notification target, with its notifications that wait to be sent."""
    context(request).target_rules(viewer).delete(parse_uuid(target_uuid))
    return Response(status_code=204)


@router.post("/target/{target_uuid}/test/", response_model=TEST_RESULT)
def try_target(request: Request, viewer: Administrator, target_uuid: TargetUuid) -> TargetTest:
    """Send a test to a notification target, also to a disabled one, and show the result. 504 after 20 s."""
    return context(request).test_target(viewer, parse_uuid(target_uuid))


@router.post("/target/{target_uuid}/retry/", status_code=202, response_model=RETRIED)
def retry_dead(request: Request, viewer: Administrator, target_uuid: TargetUuid) -> dict[str, int]:
    """Queue all notifications of a target that could not be sent again, with the same IDs."""
    return {"retried": context(request).target_rules(viewer).retry_dead(parse_uuid(target_uuid))}


@router.get("/", response_model=list_of(NOTIFICATION), openapi_extra=documented_list(NOTIFICATION_FILTERS))
def list_notifications(request: Request, viewer: Reader) -> dict[str, Any]:
    """List the notifications of your targets, newest first. Filters: uuid, state, target, action; limit, offset."""
    query = parse_query(request.query_params.multi_items(), NOTIFICATION_FILTERS)
    return write_page(f"{PREFIX}/notification/", query, context(request).store.notifications(viewer, query))


@router.get("/{uuid}/", response_model=NOTIFICATION)
def get_notification(
    request: Request, viewer: Reader, uuid: Annotated[str, Path(description="UUID of the notification")]
) -> Notification:
    """Get a notification."""
    found = context(request).store.notifications(viewer, Query.newest(1, uuid=parse_uuid(uuid))).objects
    if not found:
        raise NotFoundError(NOT_FOUND)
    return found[0]


@router.post("/{uuid}/retry/", status_code=202, response_model=NOTIFICATION)
def retry_notification(
    request: Request, viewer: Administrator, uuid: Annotated[str, Path(description="UUID of the notification")]
) -> Notification:
    """Queue a notification that could not be sent again, with the same ID. 409 for any other."""
    return context(request).target_rules(viewer).retry(parse_uuid(uuid))


def _read(body: bytes) -> Mapping[str, Any]:
    return parse(body, TargetIn).model_dump(exclude_unset=True)
