"""Routes of actions: list, get, logs, cancel, abandon, retry."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from tutumd.application import services
from tutumd.application.queries import ACTION_FILTERS, parse_number, parse_query, write_date
from tutumd.model import Action
from tutumd.web.api.objects import ACTION, ACTION_LOGS
from tutumd.web.api.schemas import list_of, write_page
from tutumd.web.auth import Administrator, Operator, Reader
from tutumd.web.body import documented_list, documented_query
from tutumd.web.context import context, parse_uuid
from tutumd.web.uris import ACTION_HEADER, PREFIX, action_uri

router = APIRouter(prefix=f"{PREFIX}/action", tags=["actions"])

Uuid = Annotated[str, Path(description="UUID of the action")]


@router.get("/", response_model=list_of(ACTION), openapi_extra=documented_list(ACTION_FILTERS))
def list_actions(request: Request, viewer: Reader) -> dict[str, Any]:
    """List actions, newest first. Filters: uuid, state, object, start_date__gte and the like; pages: limit, offset."""
    query = parse_query(request.query_params.multi_items(), ACTION_FILTERS)
    return write_page(f"{PREFIX}/action/", query, context(request).store.actions(viewer, query))


@router.get("/{uuid}/", response_model=ACTION)
def get_action(request: Request, viewer: Reader, uuid: Uuid) -> Action:
    """Get an action."""
    return context(request).store.action(viewer, parse_uuid(uuid))


@router.get("/{uuid}/logs/", response_model=ACTION_LOGS, openapi_extra=documented_query(["after"]))
def get_action_logs(request: Request, viewer: Reader, uuid: Uuid) -> dict[str, Any]:
    """Get the steps of an action's run, also while it runs. `?after=N`: only lines with a number above N."""
    after = parse_number(request.query_params.multi_items(), "after", 0, 2**62, default=0)
    lines = context(request).store.log_lines(viewer, parse_uuid(uuid), after)
    return {"logs": "\n".join(f"{write_date(line.at, 'milliseconds')} {line.text}" for line in lines), "lines": lines}


@router.post("/{uuid}/cancel/", status_code=202, response_model=ACTION)
def cancel_action(request: Request, response: Response, viewer: Operator, uuid: Uuid) -> Action:
    """Cancel an action: a pending one at once, a running one at its next safe point. 409 if it has ended."""
    return _name(response, context(request).store.cancel(viewer, parse_uuid(uuid)))


@router.post("/{uuid}/abandon/", status_code=202, response_model=ACTION)
def abandon_action(request: Request, response: Response, viewer: Administrator, uuid: Uuid) -> Action:
    """End a running action whose engine does not come back, as Failed. For admins. 409 if it has ended or is pending.

    What it left half done is cleared up before the next action of the service begins.
    """
    return _name(response, services.abandon(context(request).store, viewer, parse_uuid(uuid)))


@router.post("/{uuid}/retry/", status_code=202, response_model=ACTION)
def retry_action(request: Request, response: Response, viewer: Operator, uuid: Uuid) -> Action:
    """Repeat a failed or canceled action in a new action. 409 for any other."""
    web = context(request)
    return _name(response, web.store.retry(viewer, parse_uuid(uuid), web.read_origin(request.scope)))


def _name(response: Response, action: Action) -> Action:
    response.headers[ACTION_HEADER] = action_uri(action.uuid)
    return action
