"""Routes of services: list, get, create, change, act, logs; of their containers: list and get; and of their actions:
list, get, logs, cancel, abandon, retry.
"""

from contextlib import suppress
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Request, Response

from tutumd.application import services as rules
from tutumd.application.queries import (
    ACTION_FILTERS,
    CONTAINER_FILTERS,
    SERVICE_FILTERS,
    parse_logs_query,
    parse_number,
    write_date,
)
from tutumd.application.scopes import require_scope
from tutumd.errors import NotFoundError
from tutumd.model import Action, Container, Query, Scope, Service, User, Verb
from tutumd.web.api.objects import ACTION, ACTION_LOGS, CONTAINER, LOGS, PLAN, SERVICE
from tutumd.web.api.schemas import ServiceIn, ServicePatch, list_of, write_page
from tutumd.web.auth import Administrator, Operator, Reader
from tutumd.web.body import (
    Body,
    documented,
    documented_list,
    documented_query,
    documented_switches,
    listed,
    parse,
    queried,
)
from tutumd.web.context import IS_UUID, Web, WebContext, parse_uuid
from tutumd.web.errors import JsonResponse
from tutumd.web.uris import ACTION_HEADER, PREFIX, uri

router = APIRouter(prefix=f"{PREFIX}/service", tags=["services"])
containers = APIRouter(prefix=f"{PREFIX}/container", tags=["containers"])
actions = APIRouter(prefix=f"{PREFIX}/action", tags=["actions"])

Reference = Annotated[
    str, Path(description="UUID of the service or its start, its name (`web`, `shop%2Fweb`), or that of a container")
]
ActionUuid = Annotated[str, Path(description="UUID of the action"), IS_UUID]

DRY_RUN = "1: return the plan and do nothing."
Named = TypeVar("Named", Action, Action | None)


def find_service(web: Web, viewer: Reader, uuid: Reference) -> str:
    """Return the UUID of the service that a path segment names.

    Raises:
        NotFoundError: The viewer has no such service. A UUID is not checked.
        ConflictError: Several match.
    """
    with suppress(NotFoundError):
        return parse_uuid(uuid)
    return rules.find(web.store, viewer, uuid.replace("%2F", "/"))


Uuid = Annotated[str, Depends(find_service)]


@router.get("/", response_model=list_of(SERVICE), openapi_extra=documented_list(SERVICE_FILTERS))
def list_services(web: Web, viewer: Reader, query: Annotated[Query, listed(SERVICE_FILTERS)]) -> dict[str, Any]:
    """List services by stack and name.

    Filters: uuid, uuid__startswith, name, reference, state, stack__name; limit, offset.

    `reference` is a name with or without its stack (`shop/web`), the name of a container, or the start of a UUID. By
    it, by `name` or by `uuid__startswith`, a service that is gone is found only if no other one matches.
    """
    return write_page(f"{PREFIX}/service/", query, web.store.services(viewer, query))


@router.post("/", status_code=201, response_model=SERVICE, openapi_extra=documented(ServiceIn))
def create_service(web: Web, viewer: Administrator, body: Body) -> Service:
    """Create a service on an engine that runs commands. It is not started. For admins."""
    return rules.create(web.store, viewer, parse(body, ServiceIn).model_dump(), server_cap=web.server_cap)


@router.get("/{uuid}/", response_model=SERVICE)
def get_service(web: Web, viewer: Reader, uuid: Uuid) -> Service:
    """Get a service."""
    return web.store.service(viewer, uuid)


@router.patch("/{uuid}/", response_model=SERVICE, openapi_extra=documented(ServicePatch))
def change_service(web: Web, request: Request, response: Response, viewer: Operator, uuid: Uuid, body: Body) -> Service:
    """Change a service. A new target is scaled to at once; anything else applies from the next redeploy or start on."""
    service, action = rules.change(
        web.store,
        viewer,
        uuid,
        parse(body, ServicePatch).model_dump(exclude_unset=True),
        server_cap=web.server_cap,
        origin=web.read_origin(request.scope),
    )
    name_action(response, action)
    return service


@router.post(
    "/{uuid}/redeploy/",
    status_code=202,
    response_model=SERVICE,
    responses={200: {"model": PLAN, "description": "With `dry_run=1`: the plan"}},
    openapi_extra=documented_switches(dry_run=DRY_RUN, override="1: start also while the service is held or frozen."),
)
def redeploy_service(
    web: Web, request: Request, response: Response, viewer: Reader, uuid: Uuid
) -> Service | JsonResponse:
    """Replace every container by one of the newest image; with `?dry_run=1` only show the plan.

    A service that is held or frozen is redeployed later, or with `?override=1`, which needs the scope `operate`.
    """
    override = is_set(request, "override")
    if is_set(request, "dry_run"):
        plan = web.ask_engine(viewer, partial(rules.plan, web.store, web.store.service(viewer, uuid)))
        return JsonResponse(PLAN.model_validate(plan).model_dump())
    require_scope(viewer, Scope.OPERATE if override else Scope.CALL)
    return _act(web, request, response, viewer, uuid, Verb.REDEPLOY, override=override)


@router.post("/{uuid}/scale/", status_code=202, response_model=SERVICE)
def scale_service(web: Web, request: Request, response: Response, viewer: Operator, uuid: Uuid) -> Service:
    """Scale to the target that the service has when the action starts."""
    return _act(web, request, response, viewer, uuid, Verb.SCALE)


@router.post("/{uuid}/start/", status_code=202, response_model=SERVICE)
def start_service(web: Web, request: Request, response: Response, viewer: Operator, uuid: Uuid) -> Service:
    """Start a stopped service."""
    return _act(web, request, response, viewer, uuid, Verb.START)


@router.post("/{uuid}/stop/", status_code=202, response_model=SERVICE)
def stop_service(web: Web, request: Request, response: Response, viewer: Operator, uuid: Uuid) -> Service:
    """Stop all containers of a service."""
    return _act(web, request, response, viewer, uuid, Verb.STOP)


@router.delete("/{uuid}/", status_code=202, response_model=SERVICE)
def terminate_service(web: Web, request: Request, response: Response, viewer: Administrator, uuid: Uuid) -> Service:
    """Remove a service that was created here, with its containers and handlers. For admins. Forget one that is gone."""
    return _act(web, request, response, viewer, uuid, Verb.TERMINATE)


@router.post("/{uuid}/forget/", response_model=SERVICE)
def forget_service(web: Web, viewer: Operator, uuid: Uuid) -> Service:
    """Forget a service that is gone, and revoke its handlers. 409 if its engine shows it, or while an action runs."""
    return web.store.forget(viewer, uuid)


@router.get("/{uuid}/logs/", response_model=LOGS, openapi_extra=documented_query(["tail", "since", "after"]))
def get_logs(web: Web, request: Request, viewer: Reader, uuid: Uuid) -> dict[str, str]:
    """Get the last output lines of each container of a service: 300, or `?tail=N`; or those since a date.

    To follow the output, send `next` of each response as `after`, every 2 s. A container that is removed between two
    reads may have written lines that no read returns. 429: you follow 8 logs already, or read one twice in a second;
    503: 32 are followed in all.
    """
    tail, since, after = parse_logs_query(request.query_params.multi_items())
    read = partial(rules.logs, web.store, viewer, uuid, tail)
    text, following = web.ask_engine(viewer, partial(web.followers.read, viewer, after, since, read))
    return {"logs": text, "next": following}


def is_set(request: Request, name: str) -> bool:
    """Return whether a query parameter of `documented_switches` is 1. Raises InvalidInputError."""
    return bool(parse_number([(name, text) for text in request.query_params.getlist(name)], name, 0, 1, default=0))


def _act(
    web: WebContext,
    request: Request,
    response: Response,
    viewer: User,
    uuid: str,
    verb: Verb,
    *,
    override: bool = False,
) -> Service:
    service, action = rules.act(
        web.store,
        viewer,
        uuid,
        verb,
        web.read_origin(request.scope),
        override=override,
    )
    name_action(response, action)
    return service


def name_action(response: Response, action: Named) -> Named:
    """Name an action in a response, if there is one, and return it."""
    if action is not None:
        response.headers[ACTION_HEADER] = uri("action", action.uuid)
    return action


@containers.get("/", response_model=list_of(CONTAINER), openapi_extra=documented_list(CONTAINER_FILTERS))
def list_containers(web: Web, viewer: Reader, query: Annotated[Query, listed(CONTAINER_FILTERS)]) -> dict[str, Any]:
    """List present containers. Filters: uuid, name, state, service, service__stack__name; pages: limit, offset."""
    return write_page(f"{PREFIX}/container/", query, web.store.containers(viewer, query))


@containers.get("/{uuid}/", response_model=CONTAINER)
def get_container(
    web: Web, viewer: Reader, uuid: Annotated[str, Path(description="UUID of the container"), IS_UUID]
) -> Container:
    """Get a container."""
    return web.store.container(viewer, uuid)


@actions.get("/", response_model=list_of(ACTION), openapi_extra=documented_list(ACTION_FILTERS))
def list_actions(web: Web, viewer: Reader, query: Annotated[Query, listed(ACTION_FILTERS)]) -> dict[str, Any]:
    """List actions, newest first. Filters: uuid, state, object, start_date__gte and the like; pages: limit, offset."""
    return write_page(f"{PREFIX}/action/", query, web.store.actions(viewer, query))


@actions.get("/{uuid}/", response_model=ACTION)
def get_action(web: Web, viewer: Reader, uuid: ActionUuid) -> Action:
    """Get an action."""
    return web.store.action(viewer, uuid)


@actions.get("/{uuid}/logs/", response_model=ACTION_LOGS, openapi_extra=documented_query(["after"]))
def get_action_logs(
    web: Web,
    viewer: Reader,
    after: Annotated[int, queried(partial(parse_number, name="after", low=0, high=2**62, default=0))],
    uuid: ActionUuid,
) -> dict[str, Any]:
    """Get the steps of an action's run, also while it runs. `?after=N`: only lines with a number above N."""
    lines = web.store.log_lines(viewer, uuid, after)
    return {"logs": "\n".join(f"{write_date(line.at, 'milliseconds')} {line.text}" for line in lines), "lines": lines}


@actions.post("/{uuid}/cancel/", status_code=202, response_model=ACTION)
def cancel_action(web: Web, response: Response, viewer: Operator, uuid: ActionUuid) -> Action:
    """Cancel an action: a pending one at once, a running one at its next safe point. 409 if it has ended."""
    return name_action(response, web.store.cancel(viewer, uuid))


@actions.post("/{uuid}/abandon/", status_code=202, response_model=ACTION)
def abandon_action(web: Web, response: Response, viewer: Administrator, uuid: ActionUuid) -> Action:
    """End a running action whose engine does not come back, as Failed. For admins. 409 if it has ended or is pending.

    What it left half done is cleared up before the next action of the service begins.
    """
    return name_action(response, rules.abandon(web.store, viewer, uuid))


@actions.post("/{uuid}/retry/", status_code=202, response_model=ACTION)
def retry_action(web: Web, request: Request, response: Response, viewer: Operator, uuid: ActionUuid) -> Action:
    """Repeat a failed or canceled action in a new action. 409 for any other."""
    return name_action(response, web.store.retry(viewer, uuid, web.read_origin(request.scope)))
