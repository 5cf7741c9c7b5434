"""Pages of groups: the list, the form, a group with its URL and its calls, and the page of a call."""

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from tutumd.application import groups as rules
from tutumd.errors import NotFoundError
from tutumd.model import ActionState, Query, Scope, Service
from tutumd.web.context import context
from tutumd.web.messages.groups import describe_order, describe_selector, name_call, summarize_call
from tutumd.web.messages.handlers import judge_handler
from tutumd.web.pages import deliveries, handlers
from tutumd.web.pages.group_routes import BASE, CalledGroup, ChangedGroup, FoundGroup, ReadGroup, as_handler, find_group
from tutumd.web.pages.rendering import go_to, render
from tutumd.web.pages.visitors import Before, Reader, SentForm, fingerprint

router = APIRouter()

_MAX_GROUPS = 100
_CALLS = 20
CallNumber = Annotated[int, Path(ge=1, le=2**62)]


@router.get("/groups/")
def list_groups(request: Request, visitor: Reader) -> Response:
    """Show the visitor's groups."""
    web = context(request)
    found = web.store.groups(visitor, Query(limit=_MAX_GROUPS))
    return render(
        request,
        "groups.html",
        groups=[
            (each, describe_selector(each.selector), judge_handler(as_handler(each), web.clock()))
            for each in found.objects
        ],
        has_more=found.total > _MAX_GROUPS,
        may_create=visitor.may(Scope.OPERATE),
    )


@router.get(BASE)
def show_group(found: ReadGroup, outcome: str = "") -> Response:
    """Show a group without its URL."""
    group = found.group
    of_group = Query(filters={"handler": str(group.number)}, limit=_CALLS)
    calls = found.web.store.group_calls(found.visitor, of_group).objects
    return render(
        found.request,
        "group.html",
        **found.values,
        **handlers.values_of_page(found, outcome),
        group=group,
        order=describe_order(group),
        services=[(uuid, _find_service(found, uuid)) for uuid in group.selector.services],
        calls=[(each, summarize_call(each)) for each in calls],
        busy=any(each.ended is None for each in calls),
    )


def _find_service(found: FoundGroup, uuid: str) -> Service | None:
    with suppress(NotFoundError):
        return found.web.store.service(found.visitor, uuid)
    return None


@router.get(f"{BASE}url/")
def leave_button(found: ReadGroup) -> Response:
    """Redirect to the page with the button: this address only accepts its form."""
    return go_to(found.request, found.place)


@router.post(f"{BASE}url/")
def show_url(found: CalledGroup) -> Response:
    """Show the URL, which is a password, in this response only."""
    return handlers.render_url(found)


@router.post(f"{BASE}enable/")
@router.post(f"{BASE}disable/")
def switch_group(found: ChangedGroup) -> Response:
    """Let calls count again, or let the URL return 404 until the group is enabled again."""
    is_on = found.request.url.path.endswith("/enable/")
    found.change({"enabled": is_on})
    return go_to(found.request, found.place, "group-enabled" if is_on else "group-disabled")


@router.post(f"{BASE}rotate/")
def rotate_group(found: ChangedGroup, form: SentForm) -> Response:
    """Give the group a new URL instead of the URL that the form names. If the same form is sent again, nothing
    changes.
    """
    grace_s = handlers.read_grace(form)
    if form.get("url_id", "") == fingerprint(found.group.uuid):
        # The form was sent twice at the same time, or the group was revoked, which `find_group` reports.
        with suppress(NotFoundError):
            rules.rotate(found.web.store, found.visitor, found.group.uuid, grace_s, now=found.web.clock())
    return go_to(found.request, find_group(found.request, found.visitor, found.group.number).place, "group-rotated")


@router.post(f"{BASE}revoke/")
def revoke_group(found: ChangedGroup) -> Response:
    """Revoke the group, and show the others."""
    found.web.store.delete_group(found.visitor, found.group.uuid)
    return go_to(found.request, "/groups/", "group-revoked")


@router.get(f"{BASE}try/")
def show_try(found: CalledGroup, delivery: str = "") -> Response:
    """Show the form to try a call."""
    return handlers.render_try(found, {"delivery": delivery})


@router.post(f"{BASE}try/")
def try_group(found: CalledGroup, form: SentForm) -> Response:
    """Show the predicted effect of a call."""
    return handlers.render_trial(found, form)


@router.get(f"{BASE}deliveries/")
def list_deliveries(found: ReadGroup, outcome: str = "", before: Before = None) -> Response:
    """Show the deliveries of a group, newest first: all, or those with one outcome."""
    return deliveries.render_list(found, outcome, before)


@router.get(f"{BASE}delivery/{{delivery_number}}/")
def show_delivery(found: ReadGroup, delivery_number: deliveries.DeliveryNumber) -> Response:
    """Show a delivery without the parts that grant access, and its result."""
    return deliveries.render_delivery(found, delivery_number)


@router.get("/groupcall/{call_number}/")
def show_call(request: Request, visitor: Reader, call_number: CallNumber) -> Response:
    """Show a call of a group, with a line for each of its services."""
    store = context(request).store
    call = store.group_call(visitor, call_number)
    has_group = False
    with suppress(NotFoundError):
        has_group = bool(store.group(visitor, call.group_number))
    return render(
        request,
        "group_call.html",
        call=call,
        name=name_call(call),
        has_group=has_group,
        summary=summarize_call(call),
        busy=call.state in (ActionState.PENDING, ActionState.IN_PROGRESS),
    )
