"""The form of a webhook handler or a group, derived from the table of handler fields: a new field appears by itself."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from shlex import quote
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, Response

from tutumd.application import handlers as rules
from tutumd.application.admission.encryption import PlaceholderCipher
from tutumd.application.admission.evaluate import check_operation, parse_options, read_stored
from tutumd.application.admission.fields import DEFAULTS, FIELDS, GROUPS, HandlerField
from tutumd.application.admission.json_checks import check_name, split_texts
from tutumd.application.groups import show_fields
from tutumd.errors import ConflictError, InvalidInputError, NotFoundError, SettingsError, TutumdError
from tutumd.model import Handler, Operation, Service
from tutumd.web.messages.handlers import FAILURES, ORDERS, UNSET, name_choice
from tutumd.web.pages.form_inputs import (
    Input,
    has_secrets,
    json_name,
    make_inputs,
    read_texts,
    write_example,
    write_texts,
)
from tutumd.web.pages.handler_routes import BASE, GROUP_BASE, ChangedSubject, Found
from tutumd.web.pages.rendering import FormError, list_errors
from tutumd.web.pages.visitors import Form, Operator, SentForm, ServiceOfPage, Visit, fingerprint, if_there

router = APIRouter()

FORM_ERRORS = (InvalidInputError, NotFoundError, ConflictError, SettingsError)
"""Errors that the form of a handler or a group shows."""


@router.get("/service/{uuid}/handler/new/")
def show_new(visit: Operator, service: ServiceOfPage) -> Response:
    """Show the form of a new handler."""
    return _show_new(visit, service)


@router.post("/service/{uuid}/handler/new/")
def create_handler(visit: Operator, service: ServiceOfPage, form: SentForm) -> Response:
    """Create a handler, and show it. If the same form is sent again, nothing is created."""
    try:
        made, _ = create_from_form(visit, service.uuid, form, fingerprint(form))
    except FORM_ERRORS as error:
        return _show_new(visit, service, form, error)
    return visit.go_to(f"/service/{service.uuid}/handler/{made.number}/", "handler-created")


def create_from_form(
    visit: Visit,
    service_uuid: str,
    texts: Mapping[str, str],
    form_sha256: str,
    of_group: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Handler, bool]:
    """Create a handler or a group once, and return it and whether it is new. Raises one of `FORM_ERRORS`.

    Args:
        service_uuid: Empty for a group.
        of_group: The fields that only groups have, as JSON.
    """
    web = visit.web
    document, errors = read_form(texts, None if service_uuid else blank_group(web.clock()), web.clock())
    if errors:
        raise FormError(errors)
    document |= of_group
    return rules.create_once(web.store, visit.user, service_uuid, document, form_sha256, web.handler_fields)


def blank_group(now: datetime) -> Handler:
    """Return the group whose form is that of a new group."""
    return Handler(uuid="", service_uuid="", created=now)


@router.get(f"{BASE}edit/")
@router.get(f"{GROUP_BASE}edit/")
def show_edit(found: ChangedSubject) -> Response:
    """Show the form of a handler or a group."""
    return _show_edit(found)


@router.post(f"{BASE}edit/")
@router.post(f"{GROUP_BASE}edit/")
def change_handler(found: ChangedSubject, form: SentForm) -> Response:
    """Change the fields that differ in the form, and show the handler or group."""
    document, errors = read_form(form, found.handler, found.web.clock())
    if errors:
        return _show_edit(found, form, FormError(errors))
    if found.handler.is_group:
        document |= read_group(form, write_group(found, found.handler))
    if not document:
        return found.go_to(found.place, "unchanged")
    try:
        if form.get("seen") != _identify_fields(found.handler):
            raise ConflictError(
                f"somebody changed this {found.kind} since you opened the form. What you see is what you typed: saving"
                f" it again changes {', '.join(document)}"
            )
        found.change(document)
    except FORM_ERRORS as error:
        if isinstance(error, NotFoundError) and not error.field:  # not a service of the form, but the subject itself
            raise
        return _show_edit(found, form, error)
    return found.go_to(found.place, "changed")


def _show_new(
    visit: Visit, service: Service, typed: Form | None = None, refused: TutumdError | None = None
) -> Response:
    return visit.render(
        "handler_new.html",
        refused=refused,
        service=service,
        back=f"{visit.root}/service/{service.uuid}/",
        command=f"tutum webhook-handler create {quote(service.full_name)} --help",
        operation=(typed or {}).get("operation", ""),
        **form_values(None, typed, refused),
    )


def _show_edit(found: Found, typed: Form | None = None, refused: TutumdError | None = None) -> Response:
    handler = found.handler
    return found.render(
        "group_form.html" if handler.is_group else "handler_edit.html",
        refused=refused,
        **found.values,
        **form_values(handler, typed, refused),
        **(group_values(found, handler, typed) if handler.is_group else {}),
    )


def form_values(handler: Handler | None, typed: Form | None, refused: TutumdError | None) -> dict[str, Any]:
    """Return the values of the form for templates."""
    return {
        "groups": make_form(handler, typed=typed, errors=list_errors(refused)),
        "typed_name": (handler and handler.name) or "" if typed is None else typed.get("name", ""),
        "seen": _identify_fields(handler) if handler else "",
        "options_of": _options_of,
    }


def _options_of(each: Input) -> list[tuple[str, str]]:
    """Return the values of a select with their texts; none of them is selected initially."""
    nothings = {"verify.preset": "Anyone: nothing is checked", "skip_unchanged": "As the service's label says"}
    return [
        ("", nothings.get(each.name, "The usual one")),
        *((choice, name_choice(choice)) for choice in each.schema["enum"]),
    ]


def _identify_fields(handler: Handler) -> str:
    """Return a text that changes when somebody changes the name or a field."""
    return fingerprint(handler.name, show_fields(handler), rules.public_options(handler))


def make_form(
    handler: Handler | None, *, typed: Mapping[str, str] | None = None, errors: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return the form of a handler, or of a new handler: groups of fields with `title`, `note`, `is_open` and `fields`.

    Args:
        typed: Texts of the inputs as a person left them; None: the handler's values. Secrets are omitted.
        errors: What is wrong, by the names of fields.
    """
    values = _read_values(handler)
    fields = [
        _make_field(field, values[field.name], typed, (errors or {}).get(field.name, ""))
        for field in FIELDS.values()
        if handler is None or field.operation in (None, handler.operation)
    ]
    titles = dict.fromkeys((*GROUPS, *(each["entry"].group for each in fields)))
    groups = {title: [each for each in fields if each["entry"].group == title] for title in titles}
    return [
        {
            "title": title,
            "note": ", ".join(each["title"] for each in members if each["is_set"])
            or UNSET.get(title, "Nothing is set."),
            "is_open": any(each["is_set"] or each["error"] for each in members),
            "fields": members,
        }
        for title, members in groups.items()
        if members
    ]


def read_form(
    typed: Mapping[str, str], handler: Handler | None, now: datetime
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the changes that a person made in the form of a handler, or the choices for a new handler, and the errors
    by field.

    The first value is the JSON object for `handlers.create` or `handlers.change`. A field whose inputs are missing does
    not change.
    """
    values, document, errors = _read_values(handler), dict[str, Any](), dict[str, str]()
    operation = handler.operation if handler else Operation.REDEPLOY
    before = (handler and handler.name) or ""
    try:
        if handler is None:
            operation = rules.parse_operation(typed.get("operation"))
            document["operation"] = operation.value
    except InvalidInputError as error:
        errors["operation"] = str(error)
    try:
        if typed.get("name", before) != before:
            document["name"] = check_name(typed["name"] or None)
    except InvalidInputError as error:
        errors["name"] = str(error)
    for field in FIELDS.values():
        if not any(name in typed for name in (*(each.name for each in make_inputs(field)), json_name(field))):
            continue
        try:
            value = read_texts(field, typed)
            if value != read_texts(field, write_texts(field, values[field.name])):
                _check(field, value, handler, operation, now)
                document[field.name] = value
        except InvalidInputError as error:
            errors[field.name] = str(error)
    return document, errors


def _read_values(handler: Handler | None) -> Mapping[str, Any]:
    return rules.public_options(handler) if handler else {each.name: each.json_default for each in FIELDS.values()}


def _make_field(field: HandlerField, value: Any, typed: Mapping[str, str] | None, error: str) -> dict[str, Any]:
    """Return a field for the template: its `inputs`, each with its text, and `json`, the input for JSON and its text,
    or None if it needs none. `json_holds`: the stored value contains more than the other inputs can express.
    """
    inputs, texts, as_json = make_inputs(field), write_texts(field, value), json_name(field)
    json_holds = bool(texts[as_json])
    texts |= {name: typed[name] for name in texts if name in typed} if typed else {}
    if has_secrets(field) and '"secrets"' in texts[as_json]:
        texts[as_json] = ""
    needs_json = len(inputs) != 1 or bool(texts[as_json])
    schema = {"examples": [json.dumps(field.example, ensure_ascii=False)]}
    return {
        "entry": field,
        "title": field.title or field.name.replace("_", " ").capitalize(),
        "example": write_example(field.example),
        "inputs": [(each, "" if each.kind == "secrets" else texts[each.name]) for each in inputs],
        "json": (Input(name=as_json, kind="json", schema=schema), texts[as_json]) if needs_json else None,
        "json_holds": json_holds,
        "error": error,
        "secrets_set": value.get("secrets_set", 0) if isinstance(value, dict) else 0,
        "is_set": texts != write_texts(field, field.json_default),
    }


def _check(field: HandlerField, value: Any, handler: Handler | None, operation: Operation, now: datetime) -> None:
    stored = read_stored(handler.options, PlaceholderCipher()) if handler else DEFAULTS
    options = parse_options({field.name: value}, now, stored)
    check_operation(replace(DEFAULTS, **{field.name: getattr(options, field.name)}), operation)


def write_group(visit: Visit, group: Handler) -> dict[str, str]:
    """Return the texts of the inputs."""
    selector = group.selector
    services = {uuid: if_there(visit.store.service, visit.user, uuid) for uuid in selector.services}
    return {
        "services": "\n".join(visit.name_in_command(each) if each else uuid for uuid, each in services.items()),
        "stack": f"{selector.engine}/{selector.stack}" if selector.stack else "",
        "image": selector.image,
        "sequence": group.sequence.value,
        "on_failure": group.on_failure.value,
    }


def read_group(typed: Mapping[str, str], before: Mapping[str, str]) -> dict[str, Any]:
    """Return the changes that a person made in the inputs, as JSON. Names of services are separated by commas or lines.

    Args:
        before: The texts of `write_group`. An input that is missing does not change.
    """
    now = {name: typed.get(name, text) for name, text in before.items()}
    changes: dict[str, Any] = {name: now[name] for name in ("sequence", "on_failure") if now[name] != before[name]}
    if any(now[name].split() != before[name].split() for name in ("services", "stack", "image")):
        engine, _, stack = now["stack"].partition("/")
        image = now["image"].strip()
        changes |= {
            "services": split_texts(now["services"]) or None,
            "stack": stack or None,
            "engine": engine or None,
            "match": {"image": image} if image else None,
        }
    return changes


def group_values(visit: Visit, group: Handler, typed: Form | None) -> dict[str, Any]:
    """Return the values of the inputs for templates.

    Args:
        typed: The inputs as a person left them; None: those of the group.
    """
    texts = {**write_group(visit, group), **(typed or {})}
    found = visit.store.service_groups(visit.user)
    stacks = {f"{each.engine}/{each.stack}": f"{each.stack} on {each.engine}" for each in found if each.stack}
    if chosen := texts["stack"]:
        stacks.setdefault(chosen, " on ".join(reversed(chosen.split("/", 1))))
    return {
        "typed": texts,
        "stacks": [("", "No stack"), *sorted(stacks.items())],
        "orders": [(each.value, text.capitalize()) for each, text in ORDERS.items()],
        "failures": [(each.value, text.capitalize()) for each, text in FAILURES.items()],
    }
