"""Routes of webhook handlers: list, create, get, change, plan, rotate, try, delete; and of their calls: list, get,
redeliver, and the status for the caller.
"""

import json
from dataclasses import replace
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from tutumd.application import handlers as rules
from tutumd.application.admission.evaluate import CallInput
from tutumd.application.calls import parse_wait
from tutumd.application.queries import HANDLER_FILTERS, parse_unused
from tutumd.application.redelivery import Trial, redeliver, try_call
from tutumd.errors import InvalidInputError
from tutumd.model import Query
from tutumd.web.api.group_objects import GROUP_PROGRESS
from tutumd.web.api.handler_objects import (
    CALL,
    DELIVERY,
    HANDLER,
    HANDLER_PLAN,
    PROGRESS,
    TRIAL,
    UNUSED_HANDLER,
    WHOLE_DELIVERY,
    show_delivery,
    show_handler,
)
from tutumd.web.api.schemas import HandlerIn, RotateIn, TestIn, list_of, plain_list, write_page
from tutumd.web.api.services import find_service
from tutumd.web.auth import Caller, Operator
from tutumd.web.body import Body, documented, documented_list, documented_query, listed, parse
from tutumd.web.call.endpoint import render_result, show_any_progress
from tutumd.web.context import IS_UUID, Web
from tutumd.web.uris import PREFIX, handler_uri, status_uri, uri

router = APIRouter(prefix=PREFIX, tags=["webhook handlers"])

ServiceUuid = Annotated[str, Path(description="UUID of the service, or its name, as in the routes of services")]
HandlerUuid = Annotated[str, Path(description="UUID of the webhook handler"), IS_UUID]
BASE = "/service/{service_uuid}/webhook/handler"

Number = Annotated[int, Path(description="ID of the delivery", ge=1, le=2**62)]
_DELIVERY = f"{BASE}/{{handler_uuid}}/delivery"
_NEW = HandlerIn | list[HandlerIn]


@router.get(f"{BASE}/", response_model=list_of(HANDLER), openapi_extra=documented_list(HANDLER_FILTERS))
def list_handlers(
    web: Web, viewer: Caller, query: Annotated[Query, listed(HANDLER_FILTERS)], service_uuid: ServiceUuid
) -> dict[str, Any]:
    """List the webhook handlers of a service. Filters: uuid, uuid__startswith, name; pages: limit, offset."""
    uuid = find_service(web, viewer, service_uuid)
    page = web.store.handlers(viewer, uuid, query)
    path = uri("service", uuid) + "webhook/handler/"
    return write_page(path, query, page, [show_handler(each, web.public_url) for each in page.objects])


@router.post(f"{BASE}/", status_code=201, response_model=HANDLER | plain_list(HANDLER), openapi_extra=documented(_NEW))
def create_handlers(web: Web, viewer: Operator, service_uuid: ServiceUuid, body: Body) -> Any:
    """Create one webhook handler from an object, or several from a list: all of them or none."""
    is_list, documents = _parse_new(body)
    created = rules.create(
        web.store,
        viewer,
        find_service(web, viewer, service_uuid),
        documents,
        cipher=web.cipher,
        now=web.clock(),
        issuers=web.allowed_issuers,
    )
    rendered = [show_handler(handler, web.public_url) for handler in created]
    return rendered if is_list else rendered[0]


@router.post(f"{BASE}/plan/", response_model=HANDLER_PLAN | plain_list(HANDLER_PLAN), openapi_extra=documented(_NEW))
def plan_handlers(web: Web, viewer: Caller, service_uuid: ServiceUuid, body: Body) -> Any:
    """Check a request to create webhook handlers, and show what it would set. Nothing is done."""
    is_list, documents = _parse_new(body)
    plans = rules.plan_creation(
        web.store,
        viewer,
        find_service(web, viewer, service_uuid),
        documents,
        cipher=web.cipher,
        now=web.clock(),
        issuers=web.allowed_issuers,
    )
    return plans if is_list else plans[0]


@router.get(f"{BASE}/{{handler_uuid}}/", response_model=HANDLER)
def get_handler(web: Web, viewer: Caller, service_uuid: ServiceUuid, handler_uuid: HandlerUuid) -> dict[str, Any]:
    """Get a webhook handler."""
    return show_handler(
        web.store.handler(viewer, find_service(web, viewer, service_uuid), handler_uuid),
        web.public_url,
    )


@router.patch(f"{BASE}/{{handler_uuid}}/", response_model=HANDLER, openapi_extra=documented(HandlerIn))
def change_handler(
    web: Web, viewer: Operator, service_uuid: ServiceUuid, handler_uuid: HandlerUuid, body: Body
) -> dict[str, Any]:
    """Change fields of a webhook handler; those that are absent stay, null resets."""
    return show_handler(
        rules.change(
            web.store,
            viewer,
            find_service(web, viewer, service_uuid),
            handler_uuid,
            parse(body, HandlerIn).model_dump(exclude_unset=True),
            cipher=web.cipher,
            now=web.clock(),
            issuers=web.allowed_issuers,
        ),
        web.public_url,
    )


@router.post(f"{BASE}/{{handler_uuid}}/plan/", response_model=HANDLER_PLAN, openapi_extra=documented(HandlerIn))
def plan_change(
    web: Web, viewer: Caller, service_uuid: ServiceUuid, handler_uuid: HandlerUuid, body: Body
) -> rules.ChangePlan:
    """Check a request to change a webhook handler, and show which fields would change. Nothing is done."""
    return rules.plan_change(
        web.store,
        viewer,
        find_service(web, viewer, service_uuid),
        handler_uuid,
        parse(body, HandlerIn).model_dump(exclude_unset=True),
        cipher=web.cipher,
        now=web.clock(),
        issuers=web.allowed_issuers,
    )


@router.post(
    f"{BASE}/{{handler_uuid}}/rotate/",
    status_code=201,
    response_model=HANDLER,
    openapi_extra=documented(RotateIn, required=False),
)
def rotate_handler(
    web: Web, viewer: Operator, service_uuid: ServiceUuid, handler_uuid: HandlerUuid, body: Body
) -> dict[str, Any]:
    """Give a webhook handler a new URL. Calls of the old one are still accepted for `grace` seconds."""
    return show_handler(
        rules.rotate(
            web.store,
            viewer,
            find_service(web, viewer, service_uuid),
            handler_uuid,
            parse(body or b"{}", RotateIn).model_dump()["grace"],
            now=web.clock(),
        ),
        web.public_url,
    )


@router.post(f"{BASE}/{{handler_uuid}}/test/", response_model=TRIAL, openapi_extra=documented(TestIn, required=False))
def try_handler(web: Web, viewer: Caller, service_uuid: ServiceUuid, handler_uuid: HandlerUuid, body: Body) -> Trial:
    """Show what a call would do, and why. Nothing is done."""
    sent = parse(body or b"{}", TestIn).model_dump()
    handler = web.store.handler(viewer, find_service(web, viewer, service_uuid), handler_uuid)
    text = sent["body"] if isinstance(sent["body"], str) else json.dumps(sent["body"])
    for part in (text, sent["address"], *chain(*sent["headers"].items(), *sent["query"].items())):
        if any("\ud800" <= char <= "\udfff" for char in part):
            raise InvalidInputError("a test must not contain unpaired surrogates: no call can carry them")
    return try_call(
        handler,
        CallInput(
            headers=list(sent["headers"].items()),
            query=list(sent["query"].items()),
            body=text.encode(),
            address=sent["address"],
            now=web.clock(),
            issuer_keys=web.issuer_keys.loaded(),
            audience=web.public_origin,
        ),
        cipher=web.cipher,
    )


@router.delete(f"{BASE}/{{handler_uuid}}/", status_code=204)
def delete_handler(web: Web, viewer: Operator, service_uuid: ServiceUuid, handler_uuid: HandlerUuid) -> Response:
    """Revoke a webhook handler: after the response no call to it is accepted."""
    web.store.delete_handler(viewer, find_service(web, viewer, service_uuid), handler_uuid)
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


def _parse_new(body: bytes) -> tuple[bool, list[dict[str, Any]]]:
    """Return whether a body is a list, and its objects; a single object counts as one."""
    is_list = body.lstrip()[:1] == b"["
    entries = parse(body, list[HandlerIn]) if is_list else [parse(body, HandlerIn)]
    return is_list, [entry.model_dump(exclude_unset=True) for entry in entries]


@router.get(f"{_DELIVERY}/", response_model=list_of(DELIVERY), openapi_extra=documented_list())
def list_deliveries(
    web: Web,
    viewer: Caller,
    query: Annotated[Query, listed()],
    service_uuid: ServiceUuid,
    handler_uuid: HandlerUuid,
) -> dict[str, Any]:
    """List the calls that a handler received, newest first. Pages: limit, offset."""
    service = find_service(web, viewer, service_uuid)
    number = web.store.handler(viewer, service, handler_uuid).number
    page = web.store.deliveries(viewer, replace(query, filters={"service": service, "handler": str(number)}))
    path = f"{handler_uri(service, handler_uuid)}delivery/"
    return write_page(path, query, page, [show_delivery(each, path) for each in page.objects])


@router.get(f"{_DELIVERY}/{{number}}/", response_model=WHOLE_DELIVERY)
def get_delivery(
    web: Web, viewer: Caller, service_uuid: ServiceUuid, handler_uuid: HandlerUuid, number: Number
) -> dict[str, Any]:
    """Get a call with its stored content: headers without secrets, and at most 16 KiB of the body."""
    service = find_service(web, viewer, service_uuid)
    delivery = web.store.delivery(viewer, service, handler_uuid, number)
    return show_delivery(delivery, f"{handler_uri(service, handler_uuid)}delivery/")


@router.post(
    f"{_DELIVERY}/{{number}}/redeliver/",
    status_code=202,
    response_model=CALL,
)
async def redeliver_delivery(
    web: Web, request: Request, viewer: Caller, service_uuid: ServiceUuid, handler_uuid: HandlerUuid, number: Number
) -> Response:
    """Call the handler with the stored content of a call, without checking its signature or its delivery key."""
    call, result = await redeliver(
        web.store,
        web.batches.store,
        web.admission_cache,
        viewer,
        service_uuid=await run_in_threadpool(find_service, web, viewer, service_uuid),
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
    return show_any_progress(progress, status_uri(token))
