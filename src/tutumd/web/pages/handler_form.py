"""The form of a webhook handler, made from the table of handler fields: a new field appears by itself."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tutumd.application.admission.encryption import PlaceholderCipher
from tutumd.application.admission.fields import DEFAULTS, FIELDS, GROUPS, HandlerField
from tutumd.application.admission.json_checks import join_texts
from tutumd.application.admission.options import check_operation, parse_options, read_stored
from tutumd.application.handlers import check_name, parse_operation, public_options
from tutumd.errors import InvalidInputError
from tutumd.model import Handler, Operation
from tutumd.web.messages.handlers import UNSET
from tutumd.web.pages.form_inputs import (
    Input,
    Kind,
    Texts,
    has_secrets,
    json_name,
    make_inputs,
    read_texts,
    write_texts,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """A field with its inputs, each with the text that it holds.

    Attributes:
        json: The input for JSON and its text; None if the field needs none.
        json_holds: The stored value is more than the other inputs can say.
        help: Markdown of one or two sentences.
        error: What is wrong with what was typed; empty if nothing is.
        secrets_set: How many secrets are stored.
        is_set: It is not, or will not be, the default.
    """

    name: str
    title: str
    help: str
    example: str
    operation: Operation | None
    inputs: tuple[tuple[Input, str], ...]
    json: tuple[Input, str] | None
    json_holds: bool
    error: str
    secrets_set: int
    is_set: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FormGroup:
    """Fields below one heading.

    Attributes:
        note: What is set in it, in a few words.
        is_open: Something of it is set, or wrong.
    """

    title: str
    note: str
    is_open: bool
    fields: tuple[FormField, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was typed into a form.

    Attributes:
        document: The JSON object for `handlers.create` or `handlers.change`: what differs from the handler.
        errors: Texts about what is wrong, by the names of fields; `""` is the form as a whole.
    """

    document: Mapping[str, Any]
    errors: Mapping[str, str]


def make_form(
    handler: Handler | None, *, typed: Texts | None = None, errors: Mapping[str, str] | None = None
) -> tuple[FormGroup, ...]:
    """Return the form of a handler, or of a new one.

    Args:
        typed: What the inputs hold, as a person left them; None: the handler's values. Secrets are left out.
        errors: Texts by the names of fields.
    """
    values = _values(handler)
    fields = [
        _make_field(field, values[field.name], typed, (errors or {}).get(field.name, ""))
        for field in FIELDS.values()
        if handler is None or field.operation in (None, handler.operation)
    ]
    titles = dict.fromkeys((*GROUPS, *(FIELDS[field.name].group for field in fields)))
    groups = [[field for field in fields if FIELDS[field.name].group == title] for title in titles]
    return tuple(_make_group(title, members) for title, members in zip(titles, groups, strict=True) if members)


def read_form(typed: Texts, handler: Handler | None, now: datetime) -> Reading:
    """Return what a person changed in the form of a handler, or chose for a new one, checked field by field.

    A field whose inputs are missing is left as it is.
    """
    values, document, errors = _values(handler), dict[str, Any](), dict[str, str]()
    operation = handler.operation if handler else _read_operation(typed, document, errors)
    _read_name(typed, handler, document, errors)
    for field in FIELDS.values():
        if not any(name in typed for name in _names(field)):
            continue
        before = read_texts(field, write_texts(field, values[field.name]))
        try:
            value = read_texts(field, typed)
            if value != before:
                _check(field, value, handler, operation, now)
                document[field.name] = value
        except InvalidInputError as error:
            errors[field.name] = str(error)
    return Reading(document=document, errors=errors)


def fingerprint(handler: Handler) -> str:
    """Return what differs once somebody changes the name or a field of a handler. It tells nothing about them."""
    text = json.dumps([handler.name, public_options(handler)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _values(handler: Handler | None) -> Mapping[str, Any]:
    return public_options(handler) if handler else {field.name: field.json_default for field in FIELDS.values()}


def _names(field: HandlerField) -> tuple[str, ...]:
    return (*(each.name for each in make_inputs(field)), json_name(field))


def _make_group(title: str, fields: list[FormField]) -> FormGroup:
    used = [field.title for field in fields if field.is_set]
    return FormGroup(
        title=title,
        note=", ".join(used) or UNSET.get(title, "Nothing is set."),
        is_open=bool(used) or any(field.error for field in fields),
        fields=tuple(fields),
    )


def _make_field(field: HandlerField, value: Any, typed: Texts | None, error: str) -> FormField:
    inputs, texts = make_inputs(field), write_texts(field, value)
    json_holds = bool(texts[json_name(field)])
    if typed is not None:
        texts |= {name: typed[name] for name in texts if name in typed}
    if has_secrets(field) and '"secrets"' in texts[json_name(field)]:
        texts[json_name(field)] = ""
    needs_json = len(inputs) != 1 or bool(texts[json_name(field)])
    example = json.dumps(field.example, ensure_ascii=False)
    return FormField(
        name=field.name,
        title=field.title or field.name.replace("_", " ").capitalize(),
        help=field.help,
        example=_write_example(field.example),
        operation=field.operation,
        inputs=tuple((each, "" if each.kind is Kind.SECRETS else texts[each.name]) for each in inputs),
        json=(Input(name=json_name(field), kind=Kind.JSON, example=example), texts[json_name(field)])
        if needs_json
        else None,
        json_holds=json_holds,
        error=error,
        secrets_set=value.get("secrets_set", 0) if isinstance(value, dict) else 0,
        is_set=texts != write_texts(field, field.json_default),
    )


def _write_example(example: Any) -> str:
    if isinstance(example, list) and all(isinstance(each, str) for each in example):
        return join_texts(example)
    return example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)


def _read_operation(typed: Texts, document: dict[str, Any], errors: dict[str, str]) -> Operation:
    try:
        operation = parse_operation(typed.get("operation"))
    except InvalidInputError as error:
        errors["operation"] = str(error)
        return Operation.REDEPLOY
    document["operation"] = operation.value
    return operation


def _read_name(typed: Texts, handler: Handler | None, document: dict[str, Any], errors: dict[str, str]) -> None:
    name, before = typed.get("name"), handler.name if handler else None
    if name is None or name == (before or ""):
        return
    try:
        document["name"] = check_name(name or None)
    except InvalidInputError as error:
        errors["name"] = str(error)


def _check(field: HandlerField, value: Any, handler: Handler | None, operation: Operation, now: datetime) -> None:
    stored = read_stored(handler.options, PlaceholderCipher()) if handler else DEFAULTS
    options = parse_options({field.name: value}, now, stored)
    check_operation(replace(DEFAULTS, **{field.name: getattr(options, field.name)}), operation)
