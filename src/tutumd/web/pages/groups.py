"""Pages of groups: the list, a new group, a group with its calls, and the page of a call."""

from fastapi import APIRouter, Response

from tutumd.errors import TutumdError
from tutumd.model import ActionState, Query, Scope
from tutumd.web.messages.handlers import describe_order, describe_selector, judge_handler, name_call, summarize_call
from tutumd.web.pages.handler_form import (
    FORM_ERRORS,
    blank_group,
    create_from_form,
    form_values,
    group_values,
    read_group,
    write_group,
)
from tutumd.web.pages.handler_routes import GROUP_BASE, ReadSubject
from tutumd.web.pages.handlers import values_of_page
from tutumd.web.pages.visitors import Form, Number, Operator, Reader, SentForm, Visit, fingerprint, if_there

router = APIRouter()

_MAX_GROUPS = 100
_CALLS = 20


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


@router.get("/groups/new/")
def show_new(visit: Operator) -> Response:
    """Show the form of a new group."""
    return _show_new(visit)


@router.post("/groups/new/")
def create_group(visit: Operator, form: SentForm) -> Response:
    """Create a group, and show it. If the same form is sent again, nothing is created."""
    of_group = read_group(form, write_group(visit, blank_group(visit.web.clock())))
    try:
        made, _ = create_from_form(visit, "", form, fingerprint(form), of_group)
    except FORM_ERRORS as error:
        return _show_new(visit, form, error)
    return visit.go_to(f"/groups/{made.number}/", "group-created")


def _show_new(visit: Visit, typed: Form | None = None, refused: TutumdError | None = None) -> Response:
    group = blank_group(visit.web.clock())
    return visit.render(
        "group_form.html",
        refused=refused,
        **form_values(group, typed, refused),
        **group_values(visit, group, typed),
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
        services=[(uuid, if_there(found.store.service, found.user, uuid)) for uuid in group.selector.services],
        calls=[(each, summarize_call(each)) for each in calls],
        busy=any(each.ended is None for each in calls),
    )


@router.get("/groupcall/{call_number}/")
def show_call(visit: Reader, call_number: Number) -> Response:
    """Show a call of a group, with a line for each of its services."""
    call = visit.store.group_call(visit.user, call_number)
    return visit.render(
        "group_call.html",
        call=call,
        name=name_call(call),
        has_group=if_there(visit.store.handler, visit.user, "", call.group_number) is not None,
        summary=summarize_call(call),
        busy=call.state in (ActionState.PENDING, ActionState.IN_PROGRESS),
    )
