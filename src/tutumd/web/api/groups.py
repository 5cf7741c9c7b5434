"""Routes of groups: list, create, get, change, plan, rotate, delete; and of their calls: list, get."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import Response

from tutumd.application import groups as rules
from tutumd.application.handlers import ChangePlan
from tutumd.application.queries import HANDLER_FILTERS, parse_position
from tutumd.model import Query
from tutumd.model.groups import GroupCall
from tutumd.web.api.group_objects import GROUP, GROUP_CALL, GROUP_PLAN, GroupIn, show_group
from tutumd.web.api.schemas import RotateIn, list_of, write_page
from tutumd.web.auth import Caller, Operator, Reader
from tutumd.web.body import Body, documented, documented_list, listed, parse
from tutumd.web.context import IS_UUID, Web
from tutumd.web.uris import PREFIX

_CALLS = f"{PREFIX}/webhook/groupcall/"
_CALL_FILTERS = frozenset({"group"})
router = APIRouter(prefix=f"{PREFIX}/webhook", tags=["groups"])

GroupUuid = Annotated[str, Path(description="UUID of the group"), IS_UUID]
GroupCallNumber = Annotated[int, Path(description="ID of the call", ge=1, le=2**62)]


@router.get("/group/", response_model=list_of(GROUP), openapi_extra=documented_list(HANDLER_FILTERS))
def list_groups(web: Web, viewer: Caller, query: Annotated[Query, listed(HANDLER_FILTERS)]) -> dict[str, Any]:
    """List groups, oldest first. Filters: uuid, uuid__startswith, name; pages: limit, offset."""
    page = web.store.groups(viewer, query)
    return write_page(
        f"{PREFIX}/webhook/group/", query, page, [show_group(each, web.public_url) for each in page.objects]
    )


@router.post("/group/", status_code=201, response_model=GROUP, openapi_extra=documented(GroupIn))
def create_group(web: Web, viewer: Operator, body: Body) -> dict[str, Any]:
    """Create a group: one URL that redeploys several services."""
    created = rules.create(
        web.store, viewer, _parse(body), cipher=web.cipher, now=web.clock(), issuers=web.allowed_issuers
    )
    return show_group(created, web.public_url)


@router.post("/group/plan/", response_model=GROUP_PLAN, openapi_extra=documented(GroupIn))
def plan_group(web: Web, viewer: Caller, body: Body) -> ChangePlan:
    """Check a request to create a group, and show what it would set. Nothing is done."""
    return rules.plan_creation(
        web.store, viewer, _parse(body), cipher=web.cipher, now=web.clock(), issuers=web.allowed_issuers
    )


@router.get("/group/{group_uuid}/", response_model=GROUP)
def get_group(web: Web, viewer: Caller, group_uuid: GroupUuid) -> dict[str, Any]:
    """Get a group."""
    return show_group(web.store.group(viewer, group_uuid), web.public_url)


@router.patch("/group/{group_uuid}/", response_model=GROUP, openapi_extra=documented(GroupIn))
def change_group(web: Web, viewer: Operator, group_uuid: GroupUuid, body: Body) -> dict[str, Any]:
    """Change fields of a group; those that are absent stay, null resets."""
    changed = rules.change(
        web.store,
        viewer,
        group_uuid,
        _parse(body),
        cipher=web.cipher,
        now=web.clock(),
        issuers=web.allowed_issuers,
    )
    return show_group(changed, web.public_url)


@router.post("/group/{group_uuid}/plan/", response_model=GROUP_PLAN, openapi_extra=documented(GroupIn))
def plan_group_change(web: Web, viewer: Caller, group_uuid: GroupUuid, body: Body) -> ChangePlan:
    """Check a request to change a group, and show which fields would change. Nothing is done."""
    return rules.plan_change(
        web.store,
        viewer,
        group_uuid,
        _parse(body),
        cipher=web.cipher,
        now=web.clock(),
        issuers=web.allowed_issuers,
    )


@router.post(
    "/group/{group_uuid}/rotate/",
    status_code=201,
    response_model=GROUP,
    openapi_extra=documented(RotateIn, required=False),
)
def rotate_group(web: Web, viewer: Operator, group_uuid: GroupUuid, body: Body) -> dict[str, Any]:
    """Give a group a new URL. Calls of the old one are still accepted for `grace` seconds."""
    grace = parse(body or b"{}", RotateIn).model_dump()["grace"]
    rotated = rules.rotate(web.store, viewer, group_uuid, grace, now=web.clock())
    return show_group(rotated, web.public_url)


@router.delete("/group/{group_uuid}/", status_code=204)
def delete_group(web: Web, viewer: Operator, group_uuid: GroupUuid) -> Response:
    """Revoke a group: after the response no call to it is accepted. Its actions go on."""
    web.store.delete_group(viewer, group_uuid)
    return Response(status_code=204)


@router.get("/groupcall/", response_model=list_of(GROUP_CALL), openapi_extra=documented_list(_CALL_FILTERS))
def list_group_calls(web: Web, viewer: Reader, query: Annotated[Query, listed(_CALL_FILTERS)]) -> dict[str, Any]:
    """List the calls of groups, newest first. Filter: group, the number of a group; pages: limit, offset."""
    number = parse_position(query.filters, "group")
    by_number = {} if number is None else {"handler": str(number)}
    return write_page(_CALLS, query, web.store.group_calls(viewer, replace(query, filters=by_number)))


@router.get("/groupcall/{group_call}/", response_model=GROUP_CALL)
def get_group_call(web: Web, viewer: Reader, group_call: GroupCallNumber) -> GroupCall:
    """Get a call of a group, with what it caused for each service."""
    return web.store.group_call(viewer, group_call)


def _parse(body: bytes) -> dict[str, Any]:
    return parse(body, GroupIn).model_dump(exclude_unset=True)
