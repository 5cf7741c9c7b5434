"""Routes of webhook handlers and groups: list, create, get, change, plan, rotate, try, delete; and of their calls:
list, get, redeliver, and the status for the caller.
"""

import json
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from tutumd.application import handlers as rules
from tutumd.application.admission.evaluate import CallInput, Trial, explain, read_stored
from tutumd.application.calls import parse_wait
from tutumd.application.queries import HANDLER_FILTERS, parse_position, parse_unused
from tutumd.application.redelivery import redeliver
from tutumd.model import Query
from tutumd.model.groups import GroupCall
from tutumd.web.api.handler_objects import (
    CALL,
    DELIVERY,
    GROUP,
    GROUP_CALL,
    GROUP_PLAN,
    GROUP_PROGRESS,
    HANDLER,
    HANDLER_PLAN,
    PROGRESS,
    TRIAL,
    UNUSED_HANDLER,
    WHOLE_DELIVERY,
    GroupIn,
    show_delivery,
    show_handler,
    show_progress,
)
from tutumd.web.api.schemas import HandlerIn, RotateIn, TestIn, list_of, plain_list, write_page
from tutumd.web.api.services import find_service
from tutumd.web.auth import Caller, Operator, Reader
from tutumd.web.body import Body, documented, documented_list, documented_query, listed, parse
from tutumd.web.call.endpoint import render_result
from tutumd.web.context import IS_UUID, Web
from tutumd.web.uris import PREFIX, handler_uri, handlers_uri, uri

ServiceUuid = Annotated[str, Path(description="UUID of the service, or its name, as in the routes of services")]
HandlerUuid = Annotated[str, Path(description="UUID of the webhook handler or group"), IS_UUID]
Number = Annotated[int, Path(description="ID of the delivery", ge=1, le=2**62)]


async def _document_service(service_uuid: ServiceUuid) -> None:
    """Describe the path of the routes below a service, which `_find_owner` reads."""


def _find_owner(request: Request, web: Web, viewer: Caller) -> str:
    """Return the UUID of the service that the path names; empty for a group."""
    reference = request.path_params.get("service_uuid")
    return find_service(web, viewer, reference) if reference else ""


Owner = Annotated[str, Depends(_find_owner)]
of_services = APIRouter(
    prefix=f"{PREFIX}/service/{{service_uuid}}/webhook/handler",
    tags=["webhook handlers"],
    dependencies=[Depends(_document_service)],
)
of_groups = APIRouter(prefix=f"{PREFIX}/webhook/group", tags=["groups"])
of_calls = APIRouter(prefix=f"{PREFIX}/webhook/groupcall", tags=["groups"])
router = APIRouter(prefix=PREFIX, tags=["webhook handlers"])

_NEW = HandlerIn | list[HandlerIn]
_LIST = documented_list(HANDLER_FILTERS)
_ROTATION: Any = {"status_code": 201, "openapi_extra": documented(RotateIn, required=False)}


@of_services.get("/", response_model=list_of(HANDLER), openapi_extra=_LIST)
@of_groups.get("/", name="list_groups", response_model=list_of(GROUP), openapi_extra=_LIST)
def list_handlers(
    web: Web, viewer: Caller, query: Annotated[Query, listed(HANDLER_FILTERS)], owner: Owner
) -> dict[str, Any]:
    """List the handlers of a service, or the groups. Filters: uuid, uuid__startswith, name; pages: limit, offset."""
    page = web.store.handlers(viewer, owner, query)
    return write_page(handlers_uri(owner), query, page, [show_handler(each, web.public_url) for each in page.objects])


@of_services.post("/", status_code=201, response_model=HANDLER | plain_list(HANDLER), openapi_extra=documented(_NEW))
@of_groups.post("/", name="create_group", status_code=201, response_model=GROUP, openapi_extra=documented(GroupIn))
def create_handlers(web: Web, viewer: Operator, owner: Owner, body: Body) -> Any:
    """Create one webhook handler or group from an object, or several handlers from a list: all of them or none."""
    is_list, documents = _parse_new(owner, body)
    created = rules.create(web.store, viewer, owner, documents, web.handler_fields)
    rendered = [show_handler(handler, web.public_url) for handler in created]
    return rendered if is_list else rendered[0]


@of_services.post("/plan/", response_model=HANDLER_PLAN | plain_list(HANDLER_PLAN), openapi_extra=documented(_NEW))
@of_groups.post("/plan/", name="plan_group", response_model=GROUP_PLAN, openapi_extra=documented(GroupIn))
def plan_handlers(web: Web, viewer: Caller, owner: Owner, body: Body) -> Any:
    """Check a request to create webhook handlers or a group, and show what it would set. Nothing is done."""
    is_list, documents = _parse_new(owner, body)
    plans = rules.plan_creation(web.store, viewer, owner, documents, web.handler_fields)
    return plans if is_list else plans[0]


@of_services.get("/{handler_uuid}/", response_model=HANDLER)
@of_groups.get("/{handler_uuid}/", name="get_group", response_model=GROUP)
def get_handler(web: Web, viewer: Caller, owner: Owner, handler_uuid: HandlerUuid) -> dict[str, Any]:
    """Get a webhook handler or a group."""
    return show_handler(web.store.handler(viewer, owner, handler_uuid), web.public_url)


@of_services.patch("/{handler_uuid}/", response_model=HANDLER, openapi_extra=documented(HandlerIn))
@of_groups.patch("/{handler_uuid}/", name="change_group", response_model=GROUP, openapi_extra=documented(GroupIn))
def change_handler(web: Web, viewer: Operator, owner: Owner, handler_uuid: HandlerUuid, body: Body) -> dict[str, Any]:
    """Change fields of a webhook handler or a group; those that are absent stay, null resets."""
    document = _parse_fields(owner, body)
    changed = rules.change(web.store, viewer, owner, handler_uuid, document, web.handler_fields)
    return show_handler(changed, web.public_url)


@of_services.post("/{handler_uuid}/plan/", response_model=HANDLER_PLAN, openapi_extra=documented(HandlerIn))
@of_groups.post(
    "/{handler_uuid}/plan/", name="plan_group_change", response_model=GROUP_PLAN, openapi_extra=documented(GroupIn)
)
def plan_change(web: Web, viewer: Caller, owner: Owner, handler_uuid: HandlerUuid, body: Body) -> rules.ChangePlan:
    """Check a request to change a webhook handler or a group, and show which fields would change. Nothing is done."""
    document = _parse_fields(owner, body)
    return rules.plan_change(web.store, viewer, owner, handler_uuid, document, web.handler_fields)


@of_services.post("/{handler_uuid}/rotate/", response_model=HANDLER, **_ROTATION)
@of_groups.post("/{handler_uuid}/rotate/", name="rotate_group", response_model=GROUP, **_ROTATION)
def rotate_handler(web: Web, viewer: Operator, owner: Owner, handler_uuid: HandlerUuid, body: Body) -> dict[str, Any]:
    """Give a webhook handler or a group a new URL. Calls of the old one are still accepted for `grace` seconds."""
    grace = parse(body or b"{}", RotateIn).model_dump()["grace"]
    rotated = rules.rotate(web.store, viewer, owner, handler_uuid, grace, now=web.clock())
    return show_handler(rotated, web.public_url)


@of_services.post("/{handler_uuid}/test/", response_model=TRIAL, openapi_extra=documented(TestIn, required=False))
def try_handler(web: Web, viewer: Caller, owner: Owner, handler_uuid: HandlerUuid, body: Body) -> Trial:
    """Show what a call would do, and why. Nothing is done."""
    sent = parse(body or b"{}", TestIn).model_dump()
    handler = web.store.handler(viewer, owner, handler_uuid)
    text = sent["body"] if isinstance(sent["body"], str) else json.dumps(sent["body"])
    return explain(
        read_stored(handler.options, web.cipher),
        CallInput(
            headers=[(name.lower(), value) for name, value in sent["headers"].items()],
            query=list(sent["query"].items()),
            body=text.encode(),
            address=sent["address"],
            now=web.clock(),
            find_key=web.issuer_keys.loaded(),
            audience=web.public_origin,
        ),
    )


@of_services.delete("/{handler_uuid}/", status_code=204)
@of_groups.delete("/{handler_uuid}/", name="delete_group", status_code=204)
def delete_handler(web: Web, viewer: Operator, owner: Owner, handler_uuid: HandlerUuid) -> Response:
    """Revoke a webhook handler or a group: after the response no call to it is accepted. Its actions go on."""
    web.store.delete_handler(viewer, owner, handler_uuid)
    return Response(status_code=204)


@router.get(
    "/webhook/handler/",
    response_model=list_of(UNUSED_HANDLER),
    openapi_extra=documented_list(frozenset({"unused_days"})),
)
def list_unused_handlers(web: Web, request: Request, viewer: Caller) -> dict[str, Any]:
    """List the handlers of all services that were not called for `unused_days`; 0: all. Pages: limit, offset."""
    before, query = parse_unused(request.query_params.multi_items(), web.clock())
    page = web.store.unused_handlers(viewer, before, query)
    shown = [show_handler(handler, web.public_url, UNUSED_HANDLER) for handler in page.objects]
    return write_page(f"{PREFIX}/webhook/handler/", query, page, shown)


def _parse_new(owner: str, body: bytes) -> tuple[bool, list[dict[str, Any]]]:
    """Return whether a body is a list, which only handlers of a service may be, and its objects."""
    if not owner or body.lstrip()[:1] != b"[":
        return False, [_parse_fields(owner, body)]
    return True, [entry.model_dump(exclude_unset=True) for entry in parse(body, list[HandlerIn])]


def _parse_fields(owner: str, body: bytes) -> dict[str, Any]:
    return parse(body, HandlerIn if owner else GroupIn).model_dump(exclude_unset=True)


@of_services.get("/{handler_uuid}/delivery/", response_model=list_of(DELIVERY), openapi_extra=documented_list())
def list_deliveries(
    web: Web,
    viewer: Caller,
    query: Annotated[Query, listed()],
    owner: Owner,
    handler_uuid: HandlerUuid,
) -> dict[str, Any]:
    """List the calls that a handler received, newest first. Pages: limit, offset."""
    number = web.store.handler(viewer, owner, handler_uuid).number
    page = web.store.deliveries(viewer, replace(query, filters={"service": owner, "handler": str(number)}))
    path = f"{handler_uri(owner, handler_uuid)}delivery/"
    return write_page(path, query, page, [show_delivery(each, path) for each in page.objects])


@of_services.get("/{handler_uuid}/delivery/{number}/", response_model=WHOLE_DELIVERY)
def get_delivery(web: Web, viewer: Caller, owner: Owner, handler_uuid: HandlerUuid, number: Number) -> dict[str, Any]:
    """Get a call with its stored content: headers without secrets, and at most 16 KiB of the body."""
    delivery = web.store.delivery(viewer, owner, handler_uuid, number)
    return show_delivery(delivery, f"{handler_uri(owner, handler_uuid)}delivery/")


@of_services.post(
    "/{handler_uuid}/delivery/{number}/redeliver/",
    status_code=202,
    response_model=CALL,
)
async def redeliver_delivery(
    web: Web, request: Request, viewer: Caller, owner: Owner, handler_uuid: HandlerUuid, number: Number
) -> Response:
    """Call the handler with the stored content of a call, without checking its signature or its delivery key."""
    call, result = await redeliver(
        web.store,
        web.batches.store,
        web.admission_cache,
        viewer,
        service_uuid=owner,
        handler_uuid=handler_uuid,
        number=number,
        origin=web.read_origin(request.scope),
        now=web.clock(),
    )
    return render_result(web, call, result)


@router.get(
    "/status/{token}/",
    response_model=PROGRESS | GROUP_PROGRESS,
    openapi_extra={"security": [], **documented_query(["wait"])},
)
async def get_status(web: Web, request: Request, token: str) -> dict[str, Any]:
    """Get the progress of a call, with `?wait=S` once it has ended. The call's response has the path."""
    reference = web.status_tokens.read(token)
    wait_s = parse_wait(request.query_params.get("wait"), request.headers.get("prefer", ""))
    progress = await web.long_poll.wait_until_ended(reference, wait_s or 0)
    return show_progress(progress, uri("status", token))


_CALLS = f"{PREFIX}/webhook/groupcall/"
_CALL_FILTERS = frozenset({"group"})
GroupCallNumber = Annotated[int, Path(description="ID of the call", ge=1, le=2**62)]


@of_calls.get("/", response_model=list_of(GROUP_CALL), openapi_extra=documented_list(_CALL_FILTERS))
def list_group_calls(web: Web, viewer: Reader, query: Annotated[Query, listed(_CALL_FILTERS)]) -> dict[str, Any]:
    """List the calls of groups, newest first. Filter: group, the number of a group; pages: limit, offset."""
    number = parse_position(query.filters, "group")
    by_number = {} if number is None else {"handler": str(number)}
    return write_page(_CALLS, query, web.store.group_calls(viewer, replace(query, filters=by_number)))


@of_calls.get("/{group_call}/", response_model=GROUP_CALL)
def get_group_call(web: Web, viewer: Reader, group_call: GroupCallNumber) -> GroupCall:
    """Get a call of a group, with what it caused for each service."""
    return web.store.group_call(viewer, group_call)
