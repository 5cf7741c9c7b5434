"""Services: list, get, create, change, act on, ask about."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import TypeAdapter

from tutumd.application import services as rules
from tutumd.application.queries import SERVICE_FILTERS, parse_dry_run, parse_query, parse_tail
from tutumd.errors import InvalidInputError
from tutumd.model import Action, Service, User, Verb
from tutumd.web.api import render, schemas
from tutumd.web.auth import Viewer
from tutumd.web.body import Body, documented, documented_list, documented_query, parse
from tutumd.web.context import context, parse_uuid

router = APIRouter(prefix=f"{render.PREFIX}/service", tags=["services"])

Uuid = Annotated[str, Path(description="UUID of the service")]

_DRY_RUN: dict[str, Any] = {
    "responses": {200: {"model": schemas.PlanOut, "description": "With `dry_run=1`: the plan. Nothing was done."}},
    "openapi_extra": documented_query(
        ["dry_run"],
        description="1: answer what would be done, and do nothing. 0: do it.",
        schema={"type": "string", "enum": ["0", "1"], "default": "0"},
    ),
}
_NEW = TypeAdapter(schemas.ServiceIn)
_PATCH = TypeAdapter(schemas.ServicePatch)


@router.get("/", openapi_extra=documented_list(SERVICE_FILTERS))
def list_services(request: Request, viewer: Viewer) -> schemas.ListOut[schemas.ServiceOut]:
    """List services by name. Filters: uuid, uuid__startswith, name, state, stack__name; pages: limit, offset."""
    query = parse_query(request.query_params.multi_items(), SERVICE_FILTERS)
    found = context(request).store.services(viewer, query)
    return render.page(f"{render.PREFIX}/service/", query, found, render.service)


@router.post("/", status_code=201, openapi_extra=documented(_NEW))
def create_service(request: Request, viewer: Viewer, body: Body) -> schemas.ServiceOut:
    """Create a service on an engine that runs commands. It is not started. For admins."""
    new = parse(body, _NEW)
    if unsupported := new.unsupported():
        raise InvalidInputError(f"a service that is a command cannot have {', '.join(unsupported)}")
    found = context(request)
    return render.service(rules.create(found.store, viewer, _wishes(new), server_cap=found.server_cap))


@router.get("/{uuid}/")
def get_service(request: Request, viewer: Viewer, uuid: Uuid) -> schemas.ServiceOut:
    """Get a service."""
    return render.service(context(request).store.service(viewer, parse_uuid(uuid)))


@router.patch("/{uuid}/", openapi_extra=documented(_PATCH))
def change_service(request: Request, response: Response, viewer: Viewer, uuid: Uuid, body: Body) -> schemas.ServiceOut:
    """Change a service. A new target is scaled to at once; anything else holds from the next redeploy or start on."""
    found = context(request)
    service, action = rules.change(
        found.store,
        viewer,
        parse_uuid(uuid),
        _wishes(parse(body, _PATCH)),
        server_cap=found.server_cap,
        origin=found.read_origin(request.scope),
    )
    return _render(response, service, action)


@router.post("/{uuid}/redeploy/", status_code=202, response_model=schemas.ServiceOut, **_DRY_RUN)
def redeploy_service(
    request: Request, response: Response, viewer: Viewer, uuid: Uuid
) -> schemas.ServiceOut | JSONResponse:
    """Replace every container by one of the newest image, or with `?dry_run=1` only tell what that would do."""
    if parse_dry_run(request.query_params.getlist("dry_run")):
        plan = rules.plan(context(request).store, viewer, parse_uuid(uuid))
        return JSONResponse(render.plan(plan).model_dump())
    return _act(request, response, viewer, uuid, Verb.REDEPLOY)


@router.post("/{uuid}/scale/", status_code=202)
def scale_service(request: Request, response: Response, viewer: Viewer, uuid: Uuid) -> schemas.ServiceOut:
    """Scale to the target that the service has when it is its turn."""
    return _act(request, response, viewer, uuid, Verb.SCALE)


@router.post("/{uuid}/start/", status_code=202)
def start_service(request: Request, response: Response, viewer: Viewer, uuid: Uuid) -> schemas.ServiceOut:
    """Start a stopped service."""
    return _act(request, response, viewer, uuid, Verb.START)


@router.post("/{uuid}/stop/", status_code=202)
def stop_service(request: Request, response: Response, viewer: Viewer, uuid: Uuid) -> schemas.ServiceOut:
    """Stop all containers of a service."""
    return _act(request, response, viewer, uuid, Verb.STOP)


@router.delete("/{uuid}/", status_code=202)
def terminate_service(request: Request, response: Response, viewer: Viewer, uuid: Uuid) -> schemas.ServiceOut:
    """Remove a service that was created here, with its containers and handlers. For admins."""
    return _act(request, response, viewer, uuid, Verb.TERMINATE)


@router.get("/{uuid}/logs/", openapi_extra=documented_query(["tail"]))
def get_logs(request: Request, viewer: Viewer, uuid: Uuid) -> schemas.LogsOut:
    """Read the last output lines of each of a service's containers: 300, or as many as `?tail=N` says."""
    lines = parse_tail(request.query_params.multi_items())
    return schemas.LogsOut(logs=rules.logs(context(request).store, viewer, parse_uuid(uuid), lines))


def _act(request: Request, response: Response, viewer: User, uuid: str, verb: Verb) -> schemas.ServiceOut:
    found = context(request)
    sender = found.read_origin(request.scope)
    service, action = rules.act(found.store, viewer, parse_uuid(uuid), verb, sender)
    return _render(response, service, action)


def _render(response: Response, service: Service, action: Action | None) -> schemas.ServiceOut:
    if action is not None:
        response.headers[render.ACTION_HEADER] = render.action_uri(action.uuid)
    return render.service(service)


def _wishes(sent: schemas.ServicePatch) -> rules.Wishes:
    envvars = sent.container_envvars
    return rules.Wishes(
        name=sent.name,
        image=sent.image,
        run_command=sent.run_command,
        envvars=None if envvars is None else {envvar.key: envvar.value for envvar in envvars},
        working_dir=sent.working_dir,
        autorestart=sent.autorestart,
        target=sent.target_num_containers,
        engine=sent.engine if isinstance(sent, schemas.ServiceIn) else None,
    )
