"""Pages of groups: the list, a new group, a group with its calls, and the page of a call."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from tutumd.errors import NotFoundError
from tutumd.model import ActionState, Query, Scope, Service, User
from tutumd.web.context import context
from tutumd.web.messages.groups import describe_order, describe_selector, name_call, summarize_call
from tutumd.web.messages.handlers import judge_handler
from tutumd.web.pages.group_inputs import group_values, read_group, write_group
from tutumd.web.pages.handler_form import blank_group, create_from_form, form_values
from tutumd.web.pages.handler_routes import GROUP_BASE, Found, ReadSubject
from tutumd.web.pages.handlers import values_of_page
from tutumd.web.pages.rendering import go_to, render
from tutumd.web.pages.visitors import Operator, Reader, SentForm, fingerprint

router = APIRouter()

_MAX_GROUPS = 100
_CALLS = 20
CallNumber = Annotated[int, Path(ge=1, le=2**62)]


@router.get("/groups/")
def list_groups(request: Request, visitor: Reader) -> Response:
    """Show the visitor's groups."""
    web = context(request)
    found = web.store.handlers(visitor, "", Query(limit=_MAX_GROUPS))
    return render(
        request,
        "groups.html",
        groups=[(each, describe_selector(each.selector), judge_handler(each, web.clock())) for each in found.objects],
        has_more=found.total > _MAX_GROUPS,
        may_create=visitor.may(Scope.OPERATE),
    )


@router.get("/groups/new/")
def show_new(request: Request, visitor: Operator) -> Response:
    """Show the form of a new group."""
    return _show_new(request, visitor)


@router.post("/groups/new/")
def create_group(request: Request, visitor: Operator, form: SentForm) -> Response:
    """Create a group, and show it. If the same form is sent again, nothing is created."""
    of_group = read_group(form, write_group(request, visitor, blank_group(context(request).clock())))
    made, _, errors = create_from_form(request, visitor, "", form, fingerprint(form), of_group)
    if made is None:
        return _show_new(request, visitor, form, errors)
    return go_to(request, f"/groups/{made.number}/", "group-created")


def _show_new(
    request: Request, visitor: User, typed: Mapping[str, str] | None = None, errors: dict[str, str] | None = None
) -> Response:
    group = blank_group(context(request).clock())
    return render(
        request,
        "group_form.html",
        400 if errors else 200,
        **form_values(group, typed, errors or {}),
        **group_values(request, visitor, group, typed),
    )


@router.get(GROUP_BASE)
def show_group(found: ReadSubject, outcome: str = "") -> Response:
    """Show a group without its URL."""
    group = found.handler
    of_group = Query(filters={"handler": str(group.number)}, limit=_CALLS)
    calls = found.web.store.group_calls(found.visitor, of_group).objects
    return render(
        found.request,
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
        return found.web.store.service(found.visitor, uuid)
    return None


@router.get("/groupcall/{call_number}/")
def show_call(request: Request, visitor: Reader, call_number: CallNumber) -> Response:
    """Show a call of a group, with a line for each of its services."""
    store = context(request).store
    call = store.group_call(visitor, call_number)
    has_group = False
    with suppress(NotFoundError):
        has_group = bool(store.handler(visitor, "", call.group_number))
    return render(
        request,
        "group_call.html",
        call=call,
        name=name_call(call),
        has_group=has_group,
        summary=summarize_call(call),
        busy=call.state in (ActionState.PENDING, ActionState.IN_PROGRESS),
    )
