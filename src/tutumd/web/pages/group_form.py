"""The form of a group: its services, their order, and the fields that it shares with handlers."""

from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from tutumd.application.admission.json_checks import split_texts
from tutumd.errors import NotFoundError, TutumdError
from tutumd.model import Handler
from tutumd.web.messages.groups import FAILURES, ORDERS
from tutumd.web.pages.handler_form import (
    FORM_ERRORS,
    blank_group,
    create_from_form,
    form_values,
    identify_fields,
    read_form,
    save,
)
from tutumd.web.pages.handler_routes import GROUP_BASE, GROUP_CRUMBS, ChangedSubject, Found
from tutumd.web.pages.visitors import Form, Operator, SentForm, Visit, fingerprint

router = APIRouter()

_ORDER = ("sequence", "on_failure")


@router.get("/groups/new/")
def show_new(visit: Operator) -> Response:
    """Show the form of a new group."""
    return _show(visit, None)


@router.post("/groups/new/")
def create_group(visit: Operator, form: SentForm) -> Response:
    """Create a group, and show it. If the same form is sent again, nothing is created."""
    of_group = _read_selector(form) | {name: form[name] for name in _ORDER if name in form}
    try:
        made, _ = create_from_form(visit, "", form, fingerprint(form), of_group)
    except FORM_ERRORS as error:
        return _show(visit, None, form, error)
    return visit.go_to(f"/groups/{made.number}/", "group-created")


@router.get(f"{GROUP_BASE}edit/")
def show_edit(found: ChangedSubject) -> Response:
    """Show the form of a group."""
    return _show(found, found)


@router.post(f"{GROUP_BASE}edit/")
def change_group(found: ChangedSubject, form: SentForm) -> Response:
    """Change the fields that differ in the form, and show the group."""
    document, errors = read_form(form, found.handler, found.web.clock())
    before = _write(found, found.handler)
    document |= {name: form[name] for name in _ORDER if form.get(name, before[name]) != before[name]}
    if any(form.get(name, before[name]).split() != before[name].split() for name in ("services", "stack", "image")):
        document |= _read_selector(form)
    is_current = form.get("seen") == identify_fields(found.handler)
    return save(found, document, errors, is_current, lambda error: _show(found, found, form, error))


def _show(visit: Visit, found: Found | None, form: Form | None = None, refused: TutumdError | None = None) -> Response:
    handler = found.handler if found else blank_group(visit.web.clock())
    typed = _write(visit, handler) | (form or {})
    return visit.render(
        "group_form.html",
        refused=refused,
        crumbs=found.values["crumbs"] if found else [(name, visit.root + at) for name, at in GROUP_CRUMBS],
        title=f"Edit {found.values['name']}" if found else "New group",
        back=visit.root + (found.place if found else "/groups/"),
        help_command=f"tutum webhook-group {'set' if found else 'create'} --help",
        is_new=found is None,
        typed=typed,
        stacks=_list_stacks(visit, typed["stack"]),
        orders=[(each.value, text.capitalize()) for each, text in ORDERS.items()],
        failures=[(each.value, text.capitalize()) for each, text in FAILURES.items()],
        **form_values(handler, form, refused),
    )


def _write(visit: Visit, group: Handler) -> dict[str, str]:
    """Return the texts of the inputs that only groups have."""
    store, selector, names = visit.store, group.selector, dict[str, str]()
    for uuid in selector.services:
        with suppress(NotFoundError):
            names[uuid] = visit.name_in_command(store.service(visit.user, uuid))
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


def _list_stacks(visit: Visit, chosen: str) -> list[tuple[str, str]]:
    """Return the stacks of the visitor's services, as `ui.field` takes them."""
    found = visit.store.service_groups(visit.user)
    stacks = {f"{each.engine}/{each.stack}": f"{each.stack} on {each.engine}" for each in found if each.stack}
    if chosen:
        stacks.setdefault(chosen, " on ".join(reversed(chosen.split("/", 1))))
    return [("", "No stack"), *sorted(stacks.items())]
