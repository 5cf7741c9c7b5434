"""The page of an action: the reason of its failure or wait, its steps, its log, and its changes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

from fastapi import APIRouter, Response

from tutumd.application import services as rules
from tutumd.errors import ConflictError
from tutumd.model import Action, ActionState, Delivery, HoldKind, Query, Requester, Scope, User, Verb
from tutumd.model.groups import GroupCall
from tutumd.web.messages.actions import build, describe_wait
from tutumd.web.messages.handlers import name_call
from tutumd.web.messages.notifications import STATES as MESSAGE_STATES
from tutumd.web.messages.notifications import name_event
from tutumd.web.pages.handler_routes import query_group_calls
from tutumd.web.pages.rendering import verb
from tutumd.web.pages.service import is_held, read_unfinished
from tutumd.web.pages.service_buttons import Button, command
from tutumd.web.pages.visitors import Admin, After, Operator, Reader, SentForm, Uuid, Visit, fingerprint, if_there

router = APIRouter(prefix="/action/{uuid}")

_CONTAINERS = 12
_SHORT = 8


@router.get("/")
def show_action(visit: Reader, uuid: Uuid) -> Response:
    """Show an action."""
    return _show(visit, uuid)


@router.get("/log/")
def show_new_lines(visit: Reader, uuid: Uuid, after: After = 0) -> Response:
    """Return the log lines with a number above `after`, for a page that already shows the others."""
    action = visit.store.action(visit.user, uuid)  # before the lines, so that no line is missed after the end
    lines = visit.store.log_lines(visit.user, uuid, after)
    return visit.render("action_log.html", lines=lines, is_open=action.ended is None)


@router.post("/cancel/")
def cancel(visit: Operator, uuid: Uuid) -> Response:
    """Cancel an action, and show it."""
    return _change(visit, uuid, lambda: visit.store.cancel(visit.user, uuid))


@router.post("/abandon/")
def abandon(visit: Admin, uuid: Uuid) -> Response:
    """Abandon an action, and show it."""
    return _change(visit, uuid, lambda: rules.abandon(visit.store, visit.user, uuid))


@router.post("/retry/")
def retry(visit: Operator, uuid: Uuid, form: SentForm) -> Response:
    """Repeat an action, and show the new action. If the same form is sent again, it redirects to the same action."""
    return _change(visit, uuid, lambda: visit.store.retry(visit.user, uuid, visit.origin, fingerprint(form)))


def _change(visit: Visit, uuid: str, change: Callable[[], Action]) -> Response:
    try:
        action = change()
    except ConflictError as error:  # the action has progressed since the page was loaded
        return _show(visit, uuid, refused=error)
    return visit.go_to(f"/action/{action.uuid}/")


def _show(visit: Visit, uuid: str, *, refused: ConflictError | None = None) -> Response:
    store, is_part = visit.store, visit.request.headers.get("hx-request") == "true"
    action = store.action(visit.user, uuid)
    service, is_pending = store.service(visit.user, action.service_uuid), action.state is ActionState.PENDING
    if is_pending:
        action = replace(action, reason=action.reason or describe_wait(action))
    lines = store.log_lines(visit.user, uuid, 0)
    deliveries = store.deliveries(visit.user, Query.newest(10, action=uuid)).objects
    return visit.render(
        "action.html",
        refused=refused,
        action=action,
        service=service,
        what=describe(action),
        at=(at := f"{visit.root}/action/{uuid}"),
        live_at=f"{at}/",
        service_at=f"{visit.root}/service/{service.uuid}",
        steps=build(action, lines, visit.web.clock()),
        # A page that refreshes itself already has the lines, and requests the next lines separately.
        lines=() if is_part else lines,
        last_line=lines[-1].number if lines else 0,
        before=_name_containers(visit, action.containers_before),
        after=_name_containers(visit, action.containers_after),
        deliveries=deliveries,
        group_calls=_find_group_calls(visit, deliveries, uuid),
        messages=store.notifications(visit.user, Query.newest(10, action=uuid)).objects,
        name_event=name_event,
        name_call=name_call,
        message_states=MESSAGE_STATES,
        requested_by=store.requesters(visit.user, [uuid]).get(uuid, Requester()).users,
        buttons=list_buttons(action, visit.user),
        can_resume=visit.user.may(Scope.OPERATE) and any(each.kind is HoldKind.HOLD for each in action.holds),
        can_override=visit.user.may(Scope.OPERATE) and is_held(action),
        resume_command=command("resume", visit.name_in_command(service)),
        busy=action.ended is None,
        is_waiting=action.ended is None and bool(action.reason),
        waits_for=_find_running(visit, action) if is_pending and not (action.held_until or action.holds) else "",
    )


def _find_group_calls(visit: Visit, deliveries: Sequence[Delivery], uuid: str) -> list[GroupCall]:
    """Return the calls of groups that made deliveries of an action, as far as the visitor may see them."""
    queries = {(each.handler_number, each.received): query_group_calls(each) for each in deliveries if each.is_group}
    calls = chain.from_iterable(visit.store.group_calls(visit.user, query).objects for query in queries.values())
    return [call for call in calls if any(line.action and line.action.uuid == uuid for line in call.lines)]


def _find_running(visit: Visit, action: Action) -> str:
    """Return the UUID of the running action on the same service; empty if there is none."""
    unfinished = read_unfinished(visit.store, visit.user, action.service_uuid)
    running = (each.uuid for each in unfinished if each.state is not ActionState.PENDING)
    return next((uuid for uuid in running if uuid != action.uuid), "")  # it may have begun just now


def _name_containers(visit: Visit, uuids: Sequence[str]) -> list[str]:
    """Return the names of containers, with a suffix that distinguishes old and new containers of the same name."""
    shown = [_name_container(visit, uuid) for uuid in uuids[:_CONTAINERS]]
    more = len(uuids) - len(shown)
    return [*shown, *([f"and {more} more"] if more else [])]


def _name_container(visit: Visit, uuid: str) -> str:
    container = if_there(visit.store.container, visit.user, uuid)
    return f"{container.name} ({uuid[:_SHORT]})" if container else uuid[:_SHORT]


def describe(action: Action) -> str:
    """Return what an action does, in a few words."""
    if action.image is not None:
        return f"{verb(action.verb)} to image {action.image.number}"
    if action.verb in (Verb.SCALE, Verb.SCALEUP) and action.target is not None:
        return f"{verb(action.verb)} to {action.target}"
    return verb(action.verb)


def list_buttons(action: Action, visitor: User) -> list[Button]:
    """Return the buttons that a visitor may press now."""
    is_running = action.ended is None and action.state is not ActionState.PENDING
    may_operate = visitor.may(Scope.OPERATE)
    retry = Button(
        label="Retry", path="retry/", command=f"tutum action retry {action.uuid}", kind="primary", icon="rotate-ccw"
    )
    cancel = Button(
        label="Cancel",
        path="cancel/",
        command=f"tutum action cancel {action.uuid}",
        icon="circle-slash",
        confirm="The action stops at its next safe point and rolls back. You can retry it."
        " If no safe point is left, the action runs to its end."
        if is_running
        else "The action will not start, and its calls have no effect. You can retry it.",
    )
    abandon = Button(
        label="Abandon",
        path="abandon/",
        command=f"tutum action abandon {action.uuid}",
        kind="danger",
        icon="unplug",
        confirm="Only if its engine does not come back: the action ends as failed at once, and the service stays"
        " as it is now, perhaps half done, until its next action clears up.",
    )
    buttons = [
        (retry, action.can_be_retried and may_operate),
        (cancel, action.can_be_canceled and may_operate),
        (abandon, is_running and visitor.may(Scope.ADMIN)),
    ]
    return [button for button, is_shown in buttons if is_shown]
