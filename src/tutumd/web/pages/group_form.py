"""The form of a group: its services, their order, and the fields that it shares with handlers."""

from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application.admission.json_checks import split_texts
from tutumd.errors import NotFoundError
from tutumd.model import Handler, User
from tutumd.web.context import context
from tutumd.web.messages.groups import FAILURES, ORDERS
from tutumd.web.pages.handler_form import (
    blank_group,
    create_from_form,
    form_values,
    identify_fields,
    read_form,
    save,
)
from tutumd.web.pages.handler_routes import GROUP_BASE, GROUP_CRUMBS, ChangedSubject, Found
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
    of_group = _read_selector(form) | {name: form[name] for name in _ORDER if name in form}
    made, _, errors = create_from_form(request, visitor, "", form, fingerprint(form), of_group)
    if made is None:
        return _show(request, visitor, None, form, errors)
    return go_to(request, f"/groups/{made.number}/", "group-created")


@router.get(f"{GROUP_BASE}edit/")
def show_edit(found: ChangedSubject) -> Response:
    """Show the form of a group."""
    return _show(found.request, found.visitor, found)


@router.post(f"{GROUP_BASE}edit/")
def change_group(found: ChangedSubject, form: SentForm) -> Response:
    """Change the fields that differ in the form, and show the group."""
    document, errors = read_form(form, found.handler, found.web.clock())
    if errors:
        return _show(found.request, found.visitor, found, form, errors)
    before = _write(found.request, found.visitor, found.handler)
    document |= {name: form[name] for name in _ORDER if form.get(name, before[name]) != before[name]}
    if any(form.get(name, before[name]).split() != before[name].split() for name in ("services", "stack", "image")):
        document |= _read_selector(form)
    is_current = form.get("seen") == identify_fields(found.handler)
    return save(
        found,
        document,
        is_current,
        lambda errors, status: _show(found.request, found.visitor, found, form, errors, status),
    )


def _show(
    request: Request,
    visitor: User,
    found: Found | None,
    form: Form | None = None,
    errors: dict[str, str] | None = None,
    status: int = 400,
) -> Response:
    web = context(request)
    handler = found.handler if found else blank_group(web.clock())
    typed = _write(request, visitor, handler) | (form or {})
    return render(
        request,
        "group_form.html",
        status if errors else 200,
        crumbs=found.values["crumbs"] if found else [(name, web.public_path + at) for name, at in GROUP_CRUMBS],
        title=f"Edit {found.values['name']}" if found else "New group",
        back=web.public_path + (found.place if found else "/groups/"),
        help_command=f"tutum webhook-group {'set' if found else 'create'} --help",
        is_new=found is None,
        typed=typed,
        stacks=_list_stacks(request, visitor, typed["stack"]),
        orders=[(each.value, text.capitalize()) for each, text in ORDERS.items()],
        failures=[(each.value, text.capitalize()) for each, text in FAILURES.items()],
        **form_values(handler, form, errors or {}),
    )


def _write(request: Request, visitor: User, group: Handler) -> dict[str, str]:
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
