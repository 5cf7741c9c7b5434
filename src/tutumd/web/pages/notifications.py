"""The pages of notifications: the visitor's targets, the form of a target, and the messages with their retries."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from tutumd.application.notification_targets import ADMIN_EVENTS, shown_settings
from tutumd.application.target_settings import FORGE_APIS, MASK, SETTINGS
from tutumd.errors import AnswerTimeoutError, TutumdError, UnavailableError
from tutumd.model import Query, Scope, User
from tutumd.model.notifications import DEFAULT_EVENTS, DEFAULT_REPEAT_S, NotificationState, Target, TargetKind
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
from tutumd.web.pages.rendering import duration
from tutumd.web.pages.visitors import Admin, Before, Form, Reader, SentForm, Uuid, Visit, cut_page

router = APIRouter(prefix="/notifications")

_MESSAGES = 25
_MAX_TARGETS = 100
_REPEATED = (TargetKind.WEBHOOK, "url")
_REPEATS_S = (0, 600, DEFAULT_REPEAT_S, 6 * 3600, 86_400)


@router.get("/")
def show_notifications(visit: Reader, state: str = "", before: Before = None) -> Response:
    """Show the visitor's targets, and the newest messages to them."""
    targets = visit.store.targets(visit.user, Query(limit=_MAX_TARGETS)).objects
    here = f"{visit.root}/notifications/"
    return visit.render(
        "notifications.html",
        targets=targets,
        dead=sum(each.dead for each in targets),
        kinds=[
            (kind, KINDS[kind], KIND_NOTES[kind])
            for kind in TargetKind
            if visit.user.is_admin or kind is not TargetKind.APPRISE
        ],
        may_change=may_change(visit.user),
        filters=[("All", here, None, not state)]
        + [(text, f"{here}?state={each}", None, state == each) for each, text in STATES.items()],
        **read_messages(visit, here, before, state=state if state in list(NotificationState) else None),
    )


@router.get("/new/")
def show_new(visit: Admin, kind: TargetKind = TargetKind.WEBHOOK) -> Response:
    """Show the form of a new target."""
    return _show_form(visit, kind)


@router.post("/new/")
def create_target(visit: Admin, form: SentForm, kind: TargetKind = TargetKind.WEBHOOK) -> Response:
    """Create a target, and show it; a signing secret that the server generated is shown only now."""
    try:
        target, secret = visit.web.target_rules(visit.user).create(_read_form(kind, form) | {"kind": kind.value})
    except TutumdError as error:
        return _show_form(visit, kind, form=form, refused=error)
    if secret is None:
        return visit.go_to(f"/notifications/target/{target.uuid}/", "target-created")
    return _show(visit, target, 201, secret=secret)


def find_target(visit: Reader, target_uuid: Uuid) -> Target:
    """Return the target of a page's address. Raises NotFoundError."""
    return visit.store.target(visit.user, target_uuid)


TargetOfPage = Annotated[Target, Depends(find_target)]


@router.get("/target/{target_uuid}/")
def show_target(visit: Reader, target: TargetOfPage, before: Before = None) -> Response:
    """Show a target, with its messages."""
    return _show(visit, target, before=before)


@router.get("/target/{target_uuid}/edit/")
def show_edit(visit: Admin, target: TargetOfPage) -> Response:
    """Show the form of a target."""
    return _show_form(visit, target.kind, target)


@router.post("/target/{target_uuid}/edit/")
def change_target(visit: Admin, target: TargetOfPage, form: SentForm) -> Response:
    """Change a target, and show it."""
    try:
        document = _read_form(target.kind, form)
        if (document["service"] or "") == _write_form(target)["service"]:
            del document["service"]  # a service that is gone, or whose name is not unique, stays
        visit.web.target_rules(visit.user).change(target.uuid, document)
    except TutumdError as error:
        return _show_form(visit, target.kind, target, form, error)
    return visit.go_to(f"/notifications/target/{target.uuid}/", "target-changed")


@router.post("/target/{target_uuid}/test/")
def send_test(visit: Admin, target_uuid: Uuid) -> Response:
    """Send a test to a target, and show the result."""
    result: dict[str, Any] = {}
    try:
        result["test"] = visit.web.test_target(visit.user, target_uuid)
    except (AnswerTimeoutError, UnavailableError) as error:
        result["error"] = str(error)
    return _show(visit, visit.store.target(visit.user, target_uuid), **result)


@router.post("/target/{target_uuid}/enabled/")
def switch_target(visit: Admin, target_uuid: Uuid, form: SentForm) -> Response:
    """Enable or disable a target."""
    is_on = form.get("enabled") == "on"
    visit.web.target_rules(visit.user).change(target_uuid, {"enabled": is_on})
    return visit.go_to(f"/notifications/target/{target_uuid}/", f"target-{'en' if is_on else 'dis'}abled")


@router.post("/target/{target_uuid}/secret/")
def renew_secret(visit: Admin, target_uuid: Uuid) -> Response:
    """Give a webhook a new signing secret, and show it in this response only."""
    target, secret = visit.web.target_rules(visit.user).change(target_uuid, {"settings": {"secret": None}})
    return _show(visit, target, secret=secret)


@router.post("/target/{target_uuid}/delete/")
def delete_target(visit: Admin, target_uuid: Uuid) -> Response:
    """Delete a target."""
    visit.web.target_rules(visit.user).delete(target_uuid)
    return visit.go_to("/notifications/", "target-deleted")


@router.post("/target/{target_uuid}/retry/")
def retry_dead(visit: Admin, target_uuid: Uuid) -> Response:
    """Queue all dead messages of a target again."""
    visit.web.target_rules(visit.user).retry_dead(target_uuid)
    return visit.go_to(f"/notifications/target/{target_uuid}/", "retried")


@router.post("/message/{notification_uuid}/retry/")
def retry(visit: Admin, notification_uuid: Uuid) -> Response:
    """Queue a dead message again."""
    message = visit.web.target_rules(visit.user).retry(notification_uuid)
    return visit.go_to(f"/notifications/target/{message.target_uuid}/", "retried")


def may_change(visitor: User) -> bool:
    """Return whether the visitor's credentials may change targets."""
    return visitor.access.scope is Scope.ADMIN and not visitor.access.is_narrow


def _show(visit: Visit, target: Target, status: int = 200, **values: Any) -> Response:
    """Return the page of a target. `values`: `secret`, `test` and `error`, what was just done; `before`."""
    known = {"secret": "", "test": None}
    here = f"{visit.root}/notifications/target/{target.uuid}/"
    return visit.render(
        "notification_target.html",
        status,
        target=target,
        at=here,
        settings=[(_title(name), value) for name, value in shown_settings(target).items() if value not in ("", MASK)],
        may_change=may_change(visit.user),
        **read_messages(visit, here, values.pop("before", None), target=target.uuid),
        **known | values,
    )


def read_messages(
    visit: Visit, here: str, before: int | None, *, state: str | None = None, target: str | None = None
) -> dict[str, Any]:
    """Return the newest messages, or those below a number, for `notification_messages.html`."""
    query = Query.newest(_MESSAGES + 1, number__lt=before, state=state, target=target)
    found = visit.store.notifications(visit.user, query).objects
    return cut_page(found, _MESSAGES, here, before, state=state) | {
        "name_event": name_event,
        "name_subject": name_subject,
        "state_words": STATES,
        "kind_words": KINDS,
        "list_events": list_events,
    }


def _title(name: str) -> str:
    return SETTING_TITLES.get(name, name.capitalize())


def _show_form(
    visit: Visit,
    kind: TargetKind,
    target: Target | None = None,
    form: Form | None = None,
    refused: TutumdError | None = None,
) -> Response:
    """Show the form of a target, or of a new target, as a person left it."""
    visit.web.target_rules(visit.user)  # refuses narrow credentials
    shown = shown_settings(target) if target else {}
    typed = _write_form(target) if form is None else form
    # A typed secret is not repeated; the URL of a webhook hardly is one.
    secret = {f"settings.{each.name}" for each in SETTINGS[kind] if each.mask and (kind, each.name) != _REPEATED}
    typed = {name: text for name, text in typed.items() if name not in secret}
    repeats_s = sorted({*_REPEATS_S, *([target.repeat_s] if target else [])})
    return visit.render(
        "notification_form.html",
        refused=refused,
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
        events=[(event, text) for event, text in EVENTS.items() if visit.user.is_admin or event not in ADMIN_EVENTS],
        repeats=[(str(each), f"once in {duration(each)}" if each else "each time") for each in repeats_s],
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
