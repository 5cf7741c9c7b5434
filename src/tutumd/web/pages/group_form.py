"""The form of a group: its services, their order, and the fields that it shares with handlers."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application import groups as rules
from tutumd.application.admission.json_checks import split_texts
from tutumd.application.handlers import public_options
from tutumd.errors import ConflictError, InvalidInputError, NotFoundError, SettingsError
from tutumd.model import Handler, Operation, User
from tutumd.model.groups import Group, GroupSelector, NewGroup
from tutumd.web.context import WebContext, context
from tutumd.web.errors import describe_error
from tutumd.web.messages.groups import FAILURES, ORDERS
from tutumd.web.pages.group_routes import CRUMBS, GROUP_BASE, ChangedGroup, FoundGroup
from tutumd.web.pages.handler_form import form_values, read_form
from tutumd.web.pages.rendering import go_to, render
from tutumd.web.pages.service_buttons import name_in_command
from tutumd.web.pages.visitors import Form, Operator, SentForm, fingerprint

router = APIRouter()

_ORDER = ("sequence", "on_failure")


@router.get("/groups/new/")
def show_new(request: Request, visitor: Operator) -> Response:
    """Show the form of a new group."""
    return _show(request, visitor, None)


@router.post("/groups/new/")
def create_group(request: Request, visitor: Operator, form: SentForm) -> Response:
    """Create a group, and show it. If the same form is sent again, nothing is created."""
    made, _, errors = create_from_form(request, visitor, form, _read_selector(form), fingerprint(form))
    if made is None:
        return _show(request, visitor, None, form, errors)
    return go_to(request, f"/groups/{made.number}/", "group-created")


def create_from_form(
    request: Request, visitor: User, texts: Mapping[str, str], selector: Mapping[str, Any], form_sha256: str
) -> tuple[Group | None, bool, dict[str, str]]:
    """Create a group once, and return it and whether it is new; or None and the errors by the names of fields, with
    `""` for the form as a whole.
    """
    web = context(request)
    document, errors = read_form(texts, _blank(web), web.clock())
    if errors:
        return None, False, errors
    document |= {name: texts[name] for name in _ORDER if name in texts} | dict(selector)
    try:
        made, is_new = rules.create_once(
            web.store, visitor, document, form_sha256, cipher=web.cipher, now=web.clock(), issuers=web.allowed_issuers
        )
    except (InvalidInputError, NotFoundError, ConflictError) as error:
        return None, False, {error.field: str(error)}
    return made, is_new, {}


@router.get(f"{GROUP_BASE}edit/")
def show_edit(found: ChangedGroup) -> Response:
    """Show the form of a group."""
    return _show(found.request, found.visitor, found)


@router.post(f"{GROUP_BASE}edit/")
def change_group(found: ChangedGroup, form: SentForm) -> Response:
    """Change the fields that differ in the form, and show the group."""
    document, errors = read_form(form, found.handler, found.web.clock())
    if errors:
        return _show(found.request, found.visitor, found, form, errors)
    before = _write(found.request, found.visitor, found.group)
    document |= {name: form[name] for name in _ORDER if form.get(name, before[name]) != before[name]}
    if any(form.get(name, before[name]).split() != before[name].split() for name in ("services", "stack", "image")):
        document |= _read_selector(form)
    if not document:
        return go_to(found.request, found.place, "unchanged")
    try:
        if form.get("seen") != _fingerprint(found.group):
            raise ConflictError(
                "somebody changed this group since you opened the form. What you see is what you typed: saving it"
                f" again changes {', '.join(document)}"
            )
        found.change(document)
    except (InvalidInputError, NotFoundError, ConflictError, SettingsError) as error:
        return _show(found.request, found.visitor, found, form, {error.field: str(error)}, describe_error(error)[0])
    return go_to(found.request, found.place, "changed")


def _show(
    request: Request,
    visitor: User,
    found: FoundGroup | None,
    form: Form | None = None,
    errors: dict[str, str] | None = None,
    status: int = 400,
) -> Response:
    web = context(request)
    handler = found.handler if found else _blank(web)
    typed = _write(request, visitor, found.group if found else _NEW) | (form or {})
    return render(
        request,
        "group_form.html",
        status if errors else 200,
        crumbs=found.values["crumbs"] if found else [(name, web.public_path + at) for name, at in CRUMBS],
        title=f"Edit {found.values['name']}" if found else "New group",
        back=web.public_path + (found.place if found else "/groups/"),
        help_command=f"tutum webhook-group {'set' if found else 'create'} --help",
        is_new=found is None,
        typed=typed,
        stacks=_list_stacks(request, visitor, typed["stack"]),
        orders=[(each.value, text.capitalize()) for each, text in ORDERS.items()],
        failures=[(each.value, text.capitalize()) for each, text in FAILURES.items()],
        **form_values(handler, form, errors or {}) | {"seen": _fingerprint(found.group) if found else ""},
    )


_NEW = NewGroup(selector=GroupSelector())


def _blank(web: WebContext) -> Handler:
    """Return the handler whose form is that of a new group."""
    return Handler(uuid="", service_uuid="", name=None, operation=Operation.REDEPLOY, created=web.clock())


def _fingerprint(group: Group) -> str:
    return fingerprint(group.name, rules.show_fields(group), public_options(group))


def _write(request: Request, visitor: User, group: NewGroup) -> dict[str, str]:
    """Return the texts of the inputs that only groups have."""
    store, selector, names = context(request).store, group.selector, dict[str, str]()
    for uuid in selector.services:
        with suppress(NotFoundError):
            names[uuid] = name_in_command(store, visitor, store.service(visitor, uuid))
    return {
        "name": group.name or "",
        "services": "\n".join(names.get(uuid, uuid) for uuid in selector.services),
        "stack": f"{selector.engine}/{selector.stack}" if selector.stack else "",
        "image": selector.image,
        "sequence": group.sequence.value,
        "on_failure": group.on_failure.value,
    }


def _read_selector(form: Form) -> dict[str, Any]:
    """Return the services that a form selects, as JSON. Names of services are separated by commas or lines."""
    engine, _, stack = form.get("stack", "").partition("/")
    image = form.get("image", "").strip()
    return {
        "services": split_texts(form.get("services", "")) or None,
        "stack": stack or None,
        "engine": engine or None,
        "match": {"image": image} if image else None,
    }


def _list_stacks(request: Request, visitor: User, chosen: str) -> list[tuple[str, str]]:
    """Return the stacks of the visitor's services, as `ui.field` takes them."""
    found = context(request).store.service_groups(visitor)
    stacks = {f"{each.engine}/{each.stack}": f"{each.stack} on {each.engine}" for each in found if each.stack}
    if chosen:
        stacks.setdefault(chosen, " on ".join(reversed(chosen.split("/", 1))))
    return [("", "No stack"), *sorted(stacks.items())]
