"""The pages of notifications: the visitor's targets, the form of a target, and the messages with their retries."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application.notification_targets import ADMIN_EVENTS, shown_settings
from tutumd.application.target_settings import FORGE_APIS, MASK, SETTINGS
from tutumd.errors import AnswerTimeoutError, TutumdError, UnavailableError
from tutumd.model import Query, Scope, User
from tutumd.model.notifications import DEFAULT_EVENTS, DEFAULT_REPEAT_S, NotificationState, Target, TargetKind
from tutumd.web.context import context, parse_uuid
from tutumd.web.errors import describe_error
from tutumd.web.messages.notifications import (
    EVENTS,
    KIND_NOTES,
    KINDS,
    SETTING_TITLES,
    STATES,
    list_events,
    name_event,
    name_subject,
)
from tutumd.web.pages.rendering import duration, go_to, render
from tutumd.web.pages.visitors import Admin, Before, Form, Reader, SentForm

router = APIRouter(prefix="/notifications")

_MESSAGES = 25
_MAX_TARGETS = 100
_REPEATED = (TargetKind.WEBHOOK, "url")
_REPEATS_S = (0, 600, DEFAULT_REPEAT_S, 6 * 3600, 86_400)


@router.get("/")
def show_notifications(request: Request, visitor: Reader, state: str = "", before: Before = None) -> Response:
    """Show the visitor's targets, and the newest messages to them."""
    targets = context(request).store.targets(visitor, Query(limit=_MAX_TARGETS)).objects
    here = f"{context(request).public_path}/notifications/"
    return render(
        request,
        "notifications.html",
        targets=targets,
        dead=sum(each.dead for each in targets),
        kinds=[
            (kind, KINDS[kind], KIND_NOTES[kind])
            for kind in TargetKind
            if visitor.is_admin or kind is not TargetKind.APPRISE
        ],
        may_change=may_change(visitor),
        filters=[("All", here, None, not state)]
        + [(text, f"{here}?state={each}", None, state == each) for each, text in STATES.items()],
        **read_messages(request, visitor, here, before, state=state if state in list(NotificationState) else None),
    )


@router.get("/new/")
def show_new(request: Request, visitor: Admin, kind: TargetKind = TargetKind.WEBHOOK) -> Response:
    """Show the form of a new target."""
    return _show_form(request, visitor, kind)


@router.post("/new/")
def create_target(request: Request, visitor: Admin, form: SentForm, kind: TargetKind = TargetKind.WEBHOOK) -> Response:
    """Create a target, and show it; a signing secret that the server generated is shown only now."""
    try:
        target, secret = context(request).target_rules(visitor).create(_read_form(kind, form) | {"kind": kind.value})
    except TutumdError as error:
        return _show_form(request, visitor, kind, form=form, error=error)
    if secret is None:
        return go_to(request, f"/notifications/target/{target.uuid}/", "target-created")
    return _show(request, visitor, target, 201, secret=secret)


@router.get("/target/{target_uuid}/")
def show_target(request: Request, visitor: Reader, target_uuid: str, before: Before = None) -> Response:
    """Show a target, with its messages."""
    target = context(request).store.target(visitor, parse_uuid(target_uuid))
    return _show(request, visitor, target, before=before)


@router.get("/target/{target_uuid}/edit/")
def show_edit(request: Request, visitor: Admin, target_uuid: str) -> Response:
    """Show the form of a target."""
    target = context(request).store.target(visitor, parse_uuid(target_uuid))
    return _show_form(request, visitor, target.kind, target)


@router.post("/target/{target_uuid}/edit/")
def change_target(request: Request, visitor: Admin, target_uuid: str, form: SentForm) -> Response:
    """Change a target, and show it."""
    web = context(request)
    target = web.store.target(visitor, parse_uuid(target_uuid))
    try:
        document = _read_form(target.kind, form)
        if (document["service"] or "") == _write_form(target)["service"]:
            del document["service"]  # a service that is gone, or whose name is not unique, stays
        web.target_rules(visitor).change(target.uuid, document)
    except TutumdError as error:
        return _show_form(request, visitor, target.kind, target, form, error)
    return go_to(request, f"/notifications/target/{target.uuid}/", "target-changed")


@router.post("/target/{target_uuid}/test/")
def send_test(request: Request, visitor: Admin, target_uuid: str) -> Response:
    """Send a test to a target, and show the result."""
    web, uuid = context(request), parse_uuid(target_uuid)
    result: dict[str, Any] = {}
    try:
        result["test"] = web.test_target(visitor, uuid)
    except (AnswerTimeoutError, UnavailableError) as error:
        result["error"] = str(error)
    return _show(request, visitor, web.store.target(visitor, uuid), **result)


@router.post("/target/{target_uuid}/enabled/")
def switch_target(request: Request, visitor: Admin, target_uuid: str, form: SentForm) -> Response:
    """Enable or disable a target."""
    is_on = form.get("enabled") == "on"
    context(request).target_rules(visitor).change(uuid := parse_uuid(target_uuid), {"enabled": is_on})
    return go_to(request, f"/notifications/target/{uuid}/", f"target-{'en' if is_on else 'dis'}abled")


@router.post("/target/{target_uuid}/secret/")
def renew_secret(request: Request, visitor: Admin, target_uuid: str) -> Response:
    """Give a webhook a new signing secret, and show it in this response only."""
    target, secret = (
        context(request).target_rules(visitor).change(parse_uuid(target_uuid), {"settings": {"secret": None}})
    )
    return _show(request, visitor, target, secret=secret)


@router.post("/target/{target_uuid}/delete/")
def delete_target(request: Request, visitor: Admin, target_uuid: str) -> Response:
    """Delete a target."""
    context(request).target_rules(visitor).delete(parse_uuid(target_uuid))
    return go_to(request, "/notifications/", "target-deleted")


@router.post("/target/{target_uuid}/retry/")
def retry_dead(request: Request, visitor: Admin, target_uuid: str) -> Response:
    """Queue all dead messages of a target again."""
    context(request).target_rules(visitor).retry_dead(uuid := parse_uuid(target_uuid))
    return go_to(request, f"/notifications/target/{uuid}/", "retried")


@router.post("/message/{notification_uuid}/retry/")
def retry(request: Request, visitor: Admin, notification_uuid: str) -> Response:
    """Queue a dead message again."""
    message = context(request).target_rules(visitor).retry(parse_uuid(notification_uuid))
    return go_to(request, f"/notifications/target/{message.target_uuid}/", "retried")


def may_change(visitor: User) -> bool:
    """Return whether the visitor's credentials may change targets."""
    return visitor.access.scope is Scope.ADMIN and not visitor.access.is_narrow


def _show(request: Request, visitor: User, target: Target, status: int = 200, **values: Any) -> Response:
    """Return the page of a target. `values`: `secret`, `test` and `error`, what was just done; `before`."""
    known = {"secret": "", "test": None, "error": ""}
    here = f"{context(request).public_path}/notifications/target/{target.uuid}/"
    return render(
        request,
        "notification_target.html",
        status,
        target=target,
        at=here,
        settings=[(_title(name), value) for name, value in shown_settings(target).items() if value not in ("", MASK)],
        may_change=may_change(visitor),
        **read_messages(request, visitor, here, values.pop("before", None), target=target.uuid),
        **known | values,
    )


def read_messages(
    request: Request, visitor: User, here: str, before: int | None = None, **filters: str | None
) -> dict[str, Any]:
    """Return the newest messages, or those below a number, for `notification_messages.html`."""
    query = Query.newest(_MESSAGES + 1, number__lt=before, **filters)
    found = context(request).store.notifications(visitor, query).objects
    more = {"before": found[_MESSAGES - 1].number} if len(found) > _MESSAGES else {}
    kept = {name: value for name, value in filters.items() if name == "state" and value}
    return {
        "messages": found[:_MESSAGES],
        "older": f"{here}?{urlencode(kept | more)}" if more else "",
        "newest": here if before else "",
        "name_event": name_event,
        "name_subject": name_subject,
        "state_words": STATES,
        "kind_words": KINDS,
        "list_events": list_events,
    }


def _title(name: str) -> str:
    return SETTING_TITLES.get(name, name.capitalize())


def _show_form(
    request: Request,
    visitor: User,
    kind: TargetKind,
    target: Target | None = None,
    form: Form | None = None,
    error: TutumdError | None = None,
) -> Response:
    """Show the form of a target, or of a new target, as a person left it."""
    context(request).target_rules(visitor)  # refuses narrow credentials
    shown = shown_settings(target) if target else {}
    typed = _write_form(target) if form is None else form
    # A typed secret is not repeated; the URL of a webhook hardly is one.
    secret = {f"settings.{each.name}" for each in SETTINGS[kind] if each.mask and (kind, each.name) != _REPEATED}
    typed = {name: text for name, text in typed.items() if name not in secret}
    repeats_s = sorted({*_REPEATS_S, *([target.repeat_s] if target else [])})
    return render(
        request,
        "notification_form.html",
        describe_error(error)[0] if error else 200,
        target=target,
        kind=kind,
        kind_title=KINDS[kind],
        kind_note=KIND_NOTES[kind],
        typed=typed,
        settings=[
            (each, _title(each.name), shown[each.name] if each.mask and each.name in shown else "")
            for each in SETTINGS[kind]
        ],
        forges=[(name, name.capitalize().replace("hub", "Hub").replace("lab", "Lab")) for name in FORGE_APIS],
        events=[(event, text) for event, text in EVENTS.items() if visitor.is_admin or event not in ADMIN_EVENTS],
        repeats=[(str(each), f"once in {duration(each)}" if each else "each time") for each in repeats_s],
        errors={error.field: str(error)} if error else {},
    )


def _write_form(target: Target | None) -> Form:
    """Return the texts of the form of a target. Secrets are omitted."""
    if target is None:
        chosen = {f"event.{event}": "on" for event in DEFAULT_EVENTS}
        return {"repeat": str(DEFAULT_REPEAT_S), "per_group_call": "on", **chosen}
    shown = {setting.name: setting.mask for setting in SETTINGS[target.kind]}
    return {
        "name": target.name,
        "service": target.service_name or target.service_uuid or "",
        "stack": target.stack or "",
        "repeat": str(target.repeat_s),
        "include_log": "on" if target.include_log else "",
        "per_group_call": "on" if target.per_group_call else "",
        **{f"settings.{name}": value for name, value in shown_settings(target).items() if not shown[name]},
        **{f"event.{event}": "on" for event in target.events},
    }


def _read_form(kind: TargetKind, form: Form) -> dict[str, Any]:
    """Return the JSON object for the API. A secret that was not typed stays as it is."""
    settings = {each.name: form.get(f"settings.{each.name}", "").strip() for each in SETTINGS[kind]}
    kept = {each.name for each in SETTINGS[kind] if each.mask and not settings[each.name]}
    document: dict[str, Any] = {
        "name": form.get("name", "").strip() or None,
        "service": form.get("service", "").strip() or None,
        "stack": form.get("stack", "").strip() or None,
        "settings": {name: value or None for name, value in settings.items() if name not in kept},
    }
    if kind is TargetKind.FORGE:
        return document
    repeat = form.get("repeat", "")
    return document | {
        "events": [event.value for event in EVENTS if form.get(f"event.{event}") == "on"],
        "include_log": form.get("include_log") == "on",
        "per_group_call": form.get("per_group_call") == "on",
        "repeat": int(repeat) if repeat.isascii() and repeat.isdigit() and len(repeat) < 10 else repeat,
    }
