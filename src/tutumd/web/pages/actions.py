"""The page of an action: the reason of its failure or wait, its steps, its log, and its changes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application import services as rules
from tutumd.errors import ConflictError, NotFoundError
from tutumd.model import Action, ActionState, Delivery, HoldKind, Query, Requester, Scope, User, Verb
from tutumd.model.groups import GroupCall
from tutumd.ports.store import Store
from tutumd.web.context import context, parse_uuid
from tutumd.web.messages.groups import name_call
from tutumd.web.messages.holds import describe_wait
from tutumd.web.messages.notifications import STATES as MESSAGE_STATES
from tutumd.web.messages.notifications import name_event
from tutumd.web.messages.timeline import build
from tutumd.web.pages.handler_routes import query_group_calls
from tutumd.web.pages.rendering import go_to, render, verb
from tutumd.web.pages.service import is_held, read_unfinished
from tutumd.web.pages.service_buttons import Button, command, name_in_command
from tutumd.web.pages.visitors import Admin, After, Operator, Reader, SentForm, fingerprint

router = APIRouter(prefix="/action/{uuid}")

_CONTAINERS = 12
_SHORT = 8


@router.get("/")
def show_action(request: Request, visitor: Reader, uuid: str) -> Response:
    """Show an action."""
    return _show(request, visitor, uuid)


@router.get("/log/")
def show_new_lines(request: Request, visitor: Reader, uuid: str, after: After = 0) -> Response:
    """Return the log lines with a number above `after`, for a page that already shows the others."""
    store, uuid = context(request).store, parse_uuid(uuid)
    action = store.action(visitor, uuid)  # before the lines, so that no line is missed after the end
    return render(request, "action_log.html", lines=store.log_lines(visitor, uuid, after), is_open=action.ended is None)


@router.post("/cancel/")
def cancel(request: Request, visitor: Operator, uuid: str) -> Response:
    """Cancel an action, and show it."""
    return _change(request, visitor, uuid, lambda: context(request).store.cancel(visitor, parse_uuid(uuid)))


@router.post("/abandon/")
def abandon(request: Request, visitor: Admin, uuid: str) -> Response:
    """Abandon an action, and show it."""
    return _change(request, visitor, uuid, lambda: rules.abandon(context(request).store, visitor, parse_uuid(uuid)))


@router.post("/retry/")
def retry(request: Request, visitor: Operator, uuid: str, form: SentForm) -> Response:
    """Repeat an action, and show the new action. If the same form is sent again, it redirects to the same action."""
    web, key = context(request), fingerprint(form)
    return _change(
        request,
        visitor,
        uuid,
        lambda: web.store.retry(visitor, parse_uuid(uuid), web.read_origin(request.scope), key),
    )


def _change(request: Request, visitor: User, uuid: str, change: Callable[[], Action]) -> Response:
    try:
        action = change()
    except ConflictError as error:  # the action has progressed since the page was loaded
        return _show(request, visitor, uuid, error=str(error))
    return go_to(request, f"/action/{action.uuid}/")


def _show(request: Request, visitor: User, uuid: str, *, error: str = "") -> Response:
    web, uuid = context(request), parse_uuid(uuid)
    store, is_part = web.store, request.headers.get("hx-request") == "true"
    action = store.action(visitor, uuid)
    service, is_pending = store.service(visitor, action.service_uuid), action.state is ActionState.PENDING
    if is_pending:
        action = replace(action, reason=action.reason or describe_wait(action))
    lines = store.log_lines(visitor, uuid, 0)
    deliveries = store.deliveries(visitor, Query.newest(10, action=uuid)).objects
    return render(
        request,
        "action.html",
        409 if error else 200,
        action=action,
        service=service,
        what=describe(action),
        at=(at := f"{web.public_path}/action/{uuid}"),
        live_at=f"{at}/",
        service_at=f"{web.public_path}/service/{service.uuid}",
        steps=build(action, lines, web.clock()),
        # A page that refreshes itself already has the lines, and requests the next lines separately.
        lines=() if is_part else lines,
        last_line=lines[-1].number if lines else 0,
        before=_name_containers(request, visitor, action.containers_before),
        after=_name_containers(request, visitor, action.containers_after),
        deliveries=deliveries,
        group_calls=_find_group_calls(store, visitor, deliveries, uuid),
        messages=store.notifications(visitor, Query.newest(10, action=uuid)).objects,
        name_event=name_event,
        name_call=name_call,
        message_states=MESSAGE_STATES,
        requested_by=store.requesters(visitor, [uuid]).get(uuid, Requester()).users,
        buttons=list_buttons(action, visitor),
        can_resume=visitor.may(Scope.OPERATE) and any(each.kind is HoldKind.HOLD for each in action.holds),
        can_override=visitor.may(Scope.OPERATE) and is_held(action),
        resume_command=command("resume", name_in_command(store, visitor, service)),
        busy=action.ended is None,
        is_waiting=action.ended is None and bool(action.reason),
        waits_for=_find_running(store, visitor, action)
        if is_pending and not (action.held_until or action.holds)
        else "",
        error=error,
    )


def _find_group_calls(store: Store, visitor: User, deliveries: Sequence[Delivery], uuid: str) -> list[GroupCall]:
    """Return the calls of groups that made deliveries of an action, as far as the visitor may see them."""
    queries = {(each.handler_number, each.received): query_group_calls(each) for each in deliveries if each.is_group}
    calls = chain.from_iterable(store.group_calls(visitor, query).objects for query in queries.values())
    return [call for call in calls if any(line.action and line.action.uuid == uuid for line in call.lines)]


def _find_running(store: Store, visitor: User, action: Action) -> str:
    """Return the UUID of the running action on the same service; empty if there is none."""
    unfinished = read_unfinished(store, visitor, action.service_uuid)
    running = (each.uuid for each in unfinished if each.state is not ActionState.PENDING)
    return next((uuid for uuid in running if uuid != action.uuid), "")  # it may have begun just now


def _name_containers(request: Request, visitor: User, uuids: Sequence[str]) -> list[str]:
    """Return the names of containers, with a suffix that distinguishes old and new containers of the same name."""
    shown = [_name_container(request, visitor, uuid) for uuid in uuids[:_CONTAINERS]]
    more = len(uuids) - len(shown)
    return [*shown, *([f"and {more} more"] if more else [])]


def _name_container(request: Request, visitor: User, uuid: str) -> str:
    with suppress(NotFoundError):  # it has been deleted in the meantime
        return f"{context(request).store.container(visitor, uuid).name} ({uuid[:_SHORT]})"
    return uuid[:_SHORT]


def describe(action: Action) -> str:
    """Return what an action does, in a few words."""
    what = verb(action.verb)
    if action.image is not None:
        return f"{what} to image {action.image.number}"
    if action.verb not in (Verb.SCALE, Verb.SCALEUP) or action.target is None:
        return what
    return f"{what} to {action.target}"


def list_buttons(action: Action, visitor: User) -> Iterator[Button]:
    """Yield the buttons that a visitor may press now."""
    is_running = action.ended is None and action.state is not ActionState.PENDING
    if action.can_be_retried and visitor.may(Scope.OPERATE):
        yield Button(
            label="Retry", path="retry/", command=f"tutum action retry {action.uuid}", kind="primary", icon="rotate-ccw"
        )
    if action.can_be_canceled and visitor.may(Scope.OPERATE):
        yield Button(
            label="Cancel",
            path="cancel/",
            command=f"tutum action cancel {action.uuid}",
            icon="circle-slash",
            confirm="The action stops at its next safe point and rolls back. You can retry it."
            " If no safe point is left, the action runs to its end."
            if is_running
            else "The action will not start, and its calls have no effect. You can retry it.",
        )
    if is_running and visitor.may(Scope.ADMIN):
        yield Button(
            label="Abandon",
            path="abandon/",
            command=f"tutum action abandon {action.uuid}",
            kind="danger",
            icon="unplug",
            confirm="Only if its engine does not come back: the action ends as failed at once, and the service stays"
            " as it is now, perhaps half done, until its next action clears up.",
        )
