"""Routes of services: list, get, create, change, act, logs."""

from contextlib import suppress
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import TypeAdapter

from tutumd.application import services as rules
from tutumd.application.queries import SERVICE_FILTERS, parse_dry_run, parse_number, parse_query
from tutumd.application.scopes import require_scope
from tutumd.errors import NotFoundError
from tutumd.model import Action, Scope, Service, User, Verb
from tutumd.web.api import render, schemas
from tutumd.web.auth import Administrator, Operator, Reader
from tutumd.web.body import Body, documented, documented_list, documented_query, parse
from tutumd.web.context import context, parse_uuid
from tutumd.web.errors import JsonResponse
from tutumd.web.uris import ACTION_HEADER, PREFIX, action_uri

router = APIRouter(prefix=f"{PREFIX}/service", tags=["services"])

Uuid = Annotated[
    str, Path(description="UUID of the service or its start, its name (`web`, `shop%2Fweb`), or that of a container")
]

_DRY_RUN: dict[str, Any] = {
    "responses": {200: {"model": schemas.PlanOut, "description": "With `dry_run=1`: the plan"}},
    "openapi_extra": documented_query(
        ["dry_run"],
        description="1: return the plan and do nothing. 0: redeploy.",
        schema={"type": "string", "enum": ["0", "1"], "default": "0"},
    ),
}
_NEW = TypeAdapter(schemas.ServiceIn)
_PATCH = TypeAdapter(schemas.ServicePatch)


def find_service(request: Request, viewer: User, reference: str) -> str:
    """Return the UUID of the service that a segment of a path means.

    Raises:
        NotFoundError: The viewer has no such service. Whether there is one with this UUID is not checked.
        ConflictError: Several match.
    """
    with suppress(NotFoundError):
        return parse_uuid(reference)
    return rules.find(context(request).store, viewer, reference.replace("%2F", "/"))


@router.get("/", openapi_extra=documented_list(SERVICE_FILTERS))
def list_services(request: Request, viewer: Reader) -> schemas.ListOut[schemas.ServiceOut]:
    """List services by name. Filters: uuid, uuid__startswith, name, reference, state, stack__name; limit, offset.

    `reference` is a name with or without its stack (`shop/web`), the name of a container, or the start of a UUID. By
    it, by `name` or by `uuid__startswith`, a service that is gone is found only if no other one matches.
    """
    query = parse_query(request.query_params.multi_items(), SERVICE_FILTERS)
    page = context(request).store.services(viewer, query)
    return render.page(f"{PREFIX}/service/", query, page, render.service)


@router.post("/", status_code=201, openapi_extra=documented(_NEW))
def create_service(request: Request, viewer: Administrator, body: Body) -> schemas.ServiceOut:
    """Create a service on an engine that runs commands. It is not started. For admins."""
    web, document = context(request), parse(body, _NEW).model_dump()
    return render.service(rules.create(web.store, viewer, document, server_cap=web.server_cap))


@router.get("/{uuid}/")
def get_service(request: Request, viewer: Reader, uuid: Uuid) -> schemas.ServiceOut:
    """Get a service."""
    return render.service(context(request).store.service(viewer, find_service(request, viewer, uuid)))


@router.patch("/{uuid}/", openapi_extra=documented(_PATCH))
def change_service(
    request: Request, response: Response, viewer: Operator, uuid: Uuid, body: Body
) -> schemas.ServiceOut:
    """Change a service. A new target is scaled to at once; anything else applies from the next redeploy or start on."""
    web = context(request)
    service, action = rules.change(
        web.store,
        viewer,
        find_service(request, viewer, uuid),
        parse(body, _PATCH).model_dump(exclude_unset=True),
        server_cap=web.server_cap,
        origin=web.read_origin(request.scope),
    )
    return _render(response, service, action)


@router.post("/{uuid}/redeploy/", status_code=202, response_model=schemas.ServiceOut, **_DRY_RUN)
def redeploy_service(
    request: Request, response: Response, viewer: Reader, uuid: Uuid
) -> schemas.ServiceOut | JsonResponse:
    """Replace every container by one of the newest image; with `?dry_run=1` only show the plan."""
    if parse_dry_run(request.query_params.getlist("dry_run")):
        web = context(request)
        plan = web.ask_engine(viewer, partial(rules.plan, web.store, viewer, find_service(request, viewer, uuid)))
        return JsonResponse(render.plan(plan).model_dump())
    require_scope(viewer, Scope.CALL)
    return _act(request, response, viewer, uuid, Verb.REDEPLOY)


@router.post("/{uuid}/scale/", status_code=202)
def scale_service(request: Request, response: Response, viewer: Operator, uuid: Uuid) -> schemas.ServiceOut:
    """Scale to the target that the service has when the action starts."""
    return _act(request, response, viewer, uuid, Verb.SCALE)


@router.post("/{uuid}/start/", status_code=202)
def start_service(request: Request, response: Response, viewer: Operator, uuid: Uuid) -> schemas.ServiceOut:
    """Start a stopped service."""
    return _act(request, response, viewer, uuid, Verb.START)


@router.post("/{uuid}/stop/", status_code=202)
def stop_service(request: Request, response: Response, viewer: Operator, uuid: Uuid) -> schemas.ServiceOut:
    """Stop all containers of a service."""
    return _act(request, response, viewer, uuid, Verb.STOP)


@router.delete("/{uuid}/", status_code=202)
def terminate_service(request: Request, response: Response, viewer: Administrator, uuid: Uuid) -> schemas.ServiceOut:
    """Remove a service that was created here, with its containers and handlers. For admins. Forget one that is gone."""
    return _act(request, response, viewer, uuid, Verb.TERMINATE)


@router.post("/{uuid}/forget/")
def forget_service(request: Request, viewer: Operator, uuid: Uuid) -> schemas.ServiceOut:
    """Forget a service that is gone, and revoke its handlers. 409 if its engine shows it, or while an action runs."""
    return render.service(context(request).store.forget(viewer, find_service(request, viewer, uuid)))


@router.get("/{uuid}/logs/", openapi_extra=documented_query(["tail"]))
def get_logs(request: Request, viewer: Reader, uuid: Uuid) -> schemas.LogsOut:
    """Get the last output lines of each container of a service: 300, or `?tail=N`."""
    lines = parse_number(request.query_params.multi_items(), "tail", 1, 10_000, default=300)
    web = context(request)
    return schemas.LogsOut(
        logs=web.ask_engine(viewer, partial(rules.logs, web.store, viewer, find_service(request, viewer, uuid), lines))
    )


def _act(request: Request, response: Response, viewer: User, uuid: str, verb: Verb) -> schemas.ServiceOut:
    origin = context(request).read_origin(request.scope)
    service, action = rules.act(context(request).store, viewer, find_service(request, viewer, uuid), verb, origin)
    return _render(response, service, action)


def _render(response: Response, service: Service, action: Action | None) -> schemas.ServiceOut:
    if action is not None:
        response.headers[ACTION_HEADER] = action_uri(action.uuid)
    return render.service(service)
