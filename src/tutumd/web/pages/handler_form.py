"""The form of a webhook handler or a group, derived from the table of handler fields: a new field appears by itself."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from shlex import quote
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application import handlers as rules
from tutumd.application.admission.encryption import PlaceholderCipher
from tutumd.application.admission.evaluate import check_operation, parse_options, read_stored
from tutumd.application.admission.fields import DEFAULTS, FIELDS, GROUPS, HandlerField
from tutumd.application.admission.json_checks import check_name
from tutumd.application.groups import show_fields
from tutumd.errors import ConflictError, InvalidInputError, NotFoundError, SettingsError
from tutumd.model import Handler, Operation, Service, User
from tutumd.web.context import context, parse_uuid
from tutumd.web.errors import describe_error
from tutumd.web.messages.handlers import UNSET, name_choice
from tutumd.web.pages.form_inputs import (
    Input,
    has_secrets,
    json_name,
    make_inputs,
    read_texts,
    write_example,
    write_texts,
)
from tutumd.web.pages.group_inputs import group_values, read_group, write_group
from tutumd.web.pages.handler_routes import BASE, GROUP_BASE, ChangedSubject, Found
from tutumd.web.pages.rendering import go_to, render
from tutumd.web.pages.visitors import Operator, SentForm, fingerprint

router = APIRouter()


@router.get("/service/{service_uuid}/handler/new/")
def show_new(request: Request, visitor: Operator, service_uuid: str) -> Response:
    """Show the form of a new handler."""
    return _show_new(request, context(request).store.service(visitor, parse_uuid(service_uuid)))


@router.post("/service/{service_uuid}/handler/new/")
def create_handler(request: Request, visitor: Operator, service_uuid: str, form: SentForm) -> Response:
    """Create a handler, and show it. If the same form is sent again, nothing is created."""
    service = context(request).store.service(visitor, parse_uuid(service_uuid))
    made, _, errors = create_from_form(request, visitor, service.uuid, form, fingerprint(form))
    if made is None:
        return _show_new(request, service, form, errors)
    return go_to(request, f"/service/{service.uuid}/handler/{made.number}/", "created")


def create_from_form(
    request: Request,
    visitor: User,
    service_uuid: str,
    texts: Mapping[str, str],
    form_sha256: str,
    of_group: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Handler | None, bool, dict[str, str]]:
    """Create a handler or a group once, and return it and whether it is new; or None and the errors by the names of
    fields, with `""` for the form as a whole.

    Args:
        service_uuid: Empty for a group.
        of_group: The fields that only groups have, as JSON.
    """
    web = context(request)
    document, errors = read_form(texts, None if service_uuid else blank_group(web.clock()), web.clock())
    if errors:
        return None, False, errors
    document |= of_group
    try:
        made, is_new = rules.create_once(web.store, visitor, service_uuid, document, form_sha256, web.handler_fields)
    except (InvalidInputError, NotFoundError, ConflictError) as error:
        return None, False, {error.field: str(error)}
    return made, is_new, {}


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
        return _show_edit(found, form, errors)
    if found.handler.is_group:
        document |= read_group(form, write_group(found.request, found.visitor, found.handler))
    if not document:
        return go_to(found.request, found.place, "unchanged")
    try:
        if form.get("seen") != _identify_fields(found.handler):
            raise ConflictError(
                f"somebody changed this {found.kind} since you opened the form. What you see is what you typed: saving"
                f" it again changes {', '.join(document)}"
            )
        found.change(document)
    except (InvalidInputError, NotFoundError, ConflictError, SettingsError) as error:
        if isinstance(error, NotFoundError) and not error.field:  # not a service of the form, but the subject itself
            raise
        return _show_edit(found, form, {error.field: str(error)}, describe_error(error)[0])
    return go_to(found.request, found.place, "changed")


def _show_new(
    request: Request, service: Service, typed: Mapping[str, str] | None = None, errors: dict[str, str] | None = None
) -> Response:
    return render(
        request,
        "handler_new.html",
        400 if errors else 200,
        service=service,
        back=f"{context(request).public_path}/service/{service.uuid}/",
        command=f"tutum webhook-handler create {quote(service.full_name)} --help",
        operation=(typed or {}).get("operation", ""),
        **form_values(None, typed, errors or {}),
    )


def _show_edit(
    found: Found, typed: Mapping[str, str] | None = None, errors: dict[str, str] | None = None, status: int = 400
) -> Response:
    handler = found.handler
    return render(
        found.request,
        "group_form.html" if handler.is_group else "handler_edit.html",
        status if errors else 200,
        **found.values,
        **form_values(handler, typed, errors or {}),
        **(group_values(found.request, found.visitor, handler, typed) if handler.is_group else {}),
    )


def form_values(handler: Handler | None, typed: Mapping[str, str] | None, errors: dict[str, str]) -> dict[str, object]:
    """Return the values of the form for templates."""
    return {
        "groups": make_form(handler, typed=typed, errors=errors),
        "errors": errors,
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
        typed: Mapping[str, str] of the inputs as a person left them; None: the handler's values. Secrets are omitted.
        errors: Mapping[str, str] by the names of fields.
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
