"""Routes of rollbacks, of the images that a service ran, and of holds."""

from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response

from tutumd.application import rollbacks as rules
from tutumd.application.calls import parse_wait
from tutumd.application.scopes import require_scope
from tutumd.model import Page, Query, Reference, Scope, Service
from tutumd.web.api.handler_objects import PROGRESS
from tutumd.web.api.objects import ERROR, IMAGE, PLAN, SERVICE
from tutumd.web.api.schemas import HoldIn, RollbackIn, list_of, show, write_page
from tutumd.web.api.services import DRY_RUN, Uuid, is_set, name_action
from tutumd.web.auth import Operator, Reader
from tutumd.web.body import Body, documented, documented_list, documented_query, documented_switches, listed, parse
from tutumd.web.call.endpoint import wait_for_end
from tutumd.web.context import Web
from tutumd.web.errors import JsonResponse
from tutumd.web.uris import PREFIX, uri

router = APIRouter(prefix=f"{PREFIX}/service/{{uuid}}", tags=["services"])
_ENDED: dict[int | str, dict[str, Any]] = {
    200: {"model": PLAN | PROGRESS, "description": "With `dry_run=1`: the plan; with `wait`: `Success`"},
    502: {"model": PROGRESS, "description": "With `wait`: `Failed` or `Canceled`, and why"},
    504: {"model": PROGRESS | ERROR, "description": "With `wait`: it continues; with `dry_run=1`: no worker responded"},
}
_PARAMETERS = [
    *documented_switches(dry_run=DRY_RUN)["parameters"],
    *documented_query(["wait"], description="Seconds to wait for the end, 0 to 600.")["parameters"],
]


@router.post(
    "/rollback/",
    status_code=202,
    response_model=SERVICE,
    responses=_ENDED,
    openapi_extra=documented(RollbackIn, required=False) | {"parameters": _PARAMETERS},
)
async def roll_back_service(
    web: Web, request: Request, response: Response, viewer: Reader, uuid: Uuid, body: Body
) -> Service | JsonResponse:
    """Replace every container by one of an image that the service ran before, and hold its redeploys.

    With `?dry_run=1` only show the plan. With `?wait=S` (0 to 600), respond when the action has ended, as for a call.
    """
    document = parse(body or b"{}", RollbackIn).model_dump()
    image = None if document["image"] is None else str(document["image"])
    wait_s = parse_wait(request.query_params.get("wait"), request.headers.get("prefer", ""))
    if is_set(request, "dry_run"):
        ask = partial(rules.plan_rollback, web.store, viewer, uuid, image)
        plan = await run_sync(web.ask_engine, viewer, ask)
        return JsonResponse(PLAN.model_validate(plan).model_dump())
    require_scope(viewer, Scope.OPERATE)
    action = await run_sync(
        partial(
            rules.roll_back,
            web.store,
            viewer,
            uuid,
            image=image,
            hold=document["hold"],
            reason=document["reason"],
            origin=web.read_origin(request.scope),
        )
    )
    if wait_s is not None:
        return await wait_for_end(web, Reference(0, action.number), action.uuid, wait_s)
    name_action(response, action)
    return await run_sync(web.store.service, viewer, uuid)


@router.get("/image/", response_model=list_of(IMAGE), openapi_extra=documented_list())
def list_images(web: Web, viewer: Reader, query: Annotated[Query, listed()], uuid: Uuid) -> dict[str, Any]:
    """List the images that a service ran, newest first, and where a rollback would get them. Pages: limit, offset."""
    images = web.ask_engine(viewer, partial(rules.images, web.store, viewer, uuid))
    shown = [show(IMAGE, image, available=available) for image, available in images]
    page = Page(objects=tuple(shown[query.offset : query.offset + query.limit]), total=len(shown))
    return write_page(f"{uri('service', uuid)}image/", query, page)


@router.post("/hold/", response_model=SERVICE, openapi_extra=documented(HoldIn, required=False))
def hold_service(web: Web, viewer: Operator, uuid: Uuid, body: Body) -> Service:
    """Hold the redeploys of a service: they are accepted, and wait. A second hold replaces the first."""
    given = parse(body or b"{}", HoldIn)
    return rules.hold(web.store, viewer, uuid, **given.model_dump(), now=web.clock())


@router.delete("/hold/", response_model=SERVICE)
def resume_service(web: Web, viewer: Operator, uuid: Uuid) -> Service:
    """End the hold of a service. If redeploys were held, one starts for all of them."""
    return web.store.resume(viewer, uuid)
