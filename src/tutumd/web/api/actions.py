"""Routes of actions: list, get, logs, cancel, abandon, retry."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from tutumd.application import services
from tutumd.application.queries import ACTION_FILTERS, parse_number, parse_query
from tutumd.model import Action
from tutumd.web.api import render, schemas
from tutumd.web.auth import Administrator, Operator, Reader
from tutumd.web.body import documented_list, documented_query
from tutumd.web.context import context, parse_uuid
from tutumd.web.uris import ACTION_HEADER, PREFIX

router = APIRouter(prefix=f"{PREFIX}/action", tags=["actions"])

Uuid = Annotated[str, Path(description="UUID of the action")]


@router.get("/", openapi_extra=documented_list(ACTION_FILTERS))
def list_actions(request: Request, viewer: Reader) -> schemas.ListOut[schemas.ActionOut]:
    """List actions, newest first. Filters: uuid, state, object, start_date__gte and the like; pages: limit, offset."""
    query = parse_query(request.query_params.multi_items(), ACTION_FILTERS)
    return render.page(f"{PREFIX}/action/", query, context(request).store.actions(viewer, query), render.action)


@router.get("/{uuid}/")
def get_action(request: Request, viewer: Reader, uuid: Uuid) -> schemas.ActionOut:
    """Get an action."""
    return render.action(context(request).store.action(viewer, parse_uuid(uuid)))


@router.get("/{uuid}/logs/", openapi_extra=documented_query(["after"]))
def get_action_logs(request: Request, viewer: Reader, uuid: Uuid) -> schemas.ActionLogsOut:
    """Get the steps of an action's run, also while it runs. `?after=N`: only lines with a number above N."""
    after = parse_number(request.query_params.multi_items(), "after", 0, 2**62, default=0)
    return render.action_logs(context(request).store.log_lines(viewer, parse_uuid(uuid), after))


@router.post("/{uuid}/cancel/", status_code=202)
def cancel_action(request: Request, response: Response, viewer: Operator, uuid: Uuid) -> schemas.ActionOut:
    """Cancel an action: a pending one at once, a running one at its next safe point. 409 if it has ended."""
    return _render(response, context(request).store.cancel(viewer, parse_uuid(uuid)))


@router.post("/{uuid}/abandon/", status_code=202)
def abandon_action(request: Request, response: Response, viewer: Administrator, uuid: Uuid) -> schemas.ActionOut:
    """End a running action whose engine does not come back, as Failed. For admins. 409 if it has ended or is pending.

    What it left half done is cleared up before the next action of the service begins.
    """
    return _render(response, services.abandon(context(request).store, viewer, parse_uuid(uuid)))


@router.post("/{uuid}/retry/", status_code=202)
def retry_action(request: Request, response: Response, viewer: Operator, uuid: Uuid) -> schemas.ActionOut:
    """Repeat a failed or canceled action in a new action. 409 for any other."""
    origin = context(request).read_origin(request.scope)
    return _render(response, context(request).store.retry(viewer, parse_uuid(uuid), origin))


def _render(response: Response, action: Action) -> schemas.ActionOut:
    rendered = render.action(action)
    response.headers[ACTION_HEADER] = rendered.resource_uri
    return rendered
