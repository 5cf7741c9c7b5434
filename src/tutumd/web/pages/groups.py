"""Pages of groups: the list, a group with its calls, and the page of a call."""

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response

from tutumd.errors import NotFoundError
from tutumd.model import ActionState, Query, Scope, Service
from tutumd.web.messages.groups import describe_order, describe_selector, name_call, summarize_call
from tutumd.web.messages.handlers import judge_handler
from tutumd.web.pages.handler_routes import GROUP_BASE, Found, ReadSubject
from tutumd.web.pages.handlers import values_of_page
from tutumd.web.pages.visitors import Reader

router = APIRouter()

_MAX_GROUPS = 100
_CALLS = 20
CallNumber = Annotated[int, Path(ge=1, le=2**62)]


@router.get("/groups/")
def list_groups(visit: Reader) -> Response:
    """Show the visitor's groups."""
    found = visit.store.handlers(visit.user, "", Query(limit=_MAX_GROUPS))
    return visit.render(
        "groups.html",
        groups=[
            (each, describe_selector(each.selector), judge_handler(each, visit.web.clock())) for each in found.objects
        ],
        has_more=found.total > _MAX_GROUPS,
        may_create=visit.user.may(Scope.OPERATE),
    )


@router.get(GROUP_BASE)
def show_group(found: ReadSubject, outcome: str = "") -> Response:
    """Show a group without its URL."""
    group = found.handler
    of_group = Query(filters={"handler": str(group.number)}, limit=_CALLS)
    calls = found.store.group_calls(found.user, of_group).objects
    return found.render(
        "group.html",
        **found.values,
        **values_of_page(found, outcome),
        group=group,
        order=describe_order(group),
        services=[(uuid, _find_service(found, uuid)) for uuid in group.selector.services],
        calls=[(each, summarize_call(each)) for each in calls],
        busy=any(each.ended is None for each in calls),
    )


def _find_service(found: Found, uuid: str) -> Service | None:
    with suppress(NotFoundError):
        return found.store.service(found.user, uuid)
    return None


@router.get("/groupcall/{call_number}/")
def show_call(visit: Reader, call_number: CallNumber) -> Response:
    """Show a call of a group, with a line for each of its services."""
    call = visit.store.group_call(visit.user, call_number)
    has_group = False
    with suppress(NotFoundError):
        has_group = bool(visit.store.handler(visit.user, "", call.group_number))
    return visit.render(
        "group_call.html",
        call=call,
        name=name_call(call),
        has_group=has_group,
        summary=summarize_call(call),
        busy=call.state in (ActionState.PENDING, ActionState.IN_PROGRESS),
    )
