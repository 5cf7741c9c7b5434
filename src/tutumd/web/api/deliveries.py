"""Routes of deliveries: list, get, redeliver; and the status of a call for its caller."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from tutumd.application.calls import parse_wait
from tutumd.application.queries import parse_query
from tutumd.application.redelivery import redeliver
from tutumd.web.api.handler_objects import CALL, DELIVERY, PROGRESS, WHOLE_DELIVERY, show_delivery, show_progress
from tutumd.web.api.handlers import BASE, HandlerUuid, ServiceUuid
from tutumd.web.api.schemas import list_of, write_page
from tutumd.web.api.services import find_service
from tutumd.web.auth import Caller
from tutumd.web.body import documented_list, documented_query
from tutumd.web.call.endpoint import render_result
from tutumd.web.context import context, parse_uuid
from tutumd.web.uris import PREFIX, handler_uri, status_uri

router = APIRouter(prefix=PREFIX)

Number = Annotated[int, Path(description="ID of the delivery", ge=1, le=2**62)]
_PATH = f"{BASE}/{{handler_uuid}}/delivery"


@router.get(f"{_PATH}/", tags=["webhook handlers"], response_model=list_of(DELIVERY), openapi_extra=documented_list())
def list_deliveries(
    request: Request, viewer: Caller, service_uuid: ServiceUuid, handler_uuid: HandlerUuid
) -> dict[str, Any]:
    """List the calls that a handler received, newest first. Pages: limit, offset."""
    query = parse_query(request.query_params.multi_items(), frozenset())
    service, handler = find_service(request, viewer, service_uuid), parse_uuid(handler_uuid)
    store = context(request).store
    number = store.handler(viewer, service, handler).number
    page = store.deliveries(viewer, replace(query, filters={"service": service, "handler": str(number)}))
    path = f"{handler_uri(service, handler)}delivery/"
    return write_page(path, query, page, [show_delivery(each, path) for each in page.objects])


@router.get(f"{_PATH}/{{number}}/", tags=["webhook handlers"], response_model=WHOLE_DELIVERY)
def get_delivery(
    request: Request, viewer: Caller, service_uuid: ServiceUuid, handler_uuid: HandlerUuid, number: Number
) -> dict[str, Any]:
    """Get a call with its stored content: headers without secrets, and at most 16 KiB of the body."""
    service, handler = find_service(request, viewer, service_uuid), parse_uuid(handler_uuid)
    return show_delivery(
        context(request).store.delivery(viewer, service, handler, number), f"{handler_uri(service, handler)}delivery/"
    )


@router.post(
    f"{_PATH}/{{number}}/redeliver/",
    tags=["webhook handlers"],
    status_code=202,
    response_model=CALL,
)
async def redeliver_delivery(
    request: Request, viewer: Caller, service_uuid: ServiceUuid, handler_uuid: HandlerUuid, number: Number
) -> Response:
    """Call the handler with the stored content of a call, without checking its signature or its delivery key."""
    web = context(request)
    call, result = await redeliver(
        web.store,
        web.batches.store,
        web.admission_cache,
        viewer,
        service_uuid=await run_in_threadpool(find_service, request, viewer, service_uuid),
        handler_uuid=parse_uuid(handler_uuid),
        number=number,
        origin=web.read_origin(request.scope),
        now=web.clock(),
    )
    return render_result(web, call, result)


@router.get(
    "/status/{token}/",
    tags=["webhook handlers"],
    response_model=PROGRESS,
    openapi_extra={"security": [], **documented_query(["wait"])},
)
async def get_status(request: Request, token: str) -> dict[str, Any]:
    """Get the progress of a call's action, with `?wait=S` once it has ended. The call's response has the path."""
    web = context(request)
    reference = web.status_tokens.read(token)
    wait_s = parse_wait(request.query_params.get("wait"), request.headers.get("prefer", ""))
    progress = await web.long_poll.wait_until_ended(reference, wait_s or 0)
    return show_progress(progress, status_uri(token))
