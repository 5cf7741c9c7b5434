"""Handler options as JSON: read from requests and from the store, written for the API and for the store."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from tutumd.application.admission.encryption import PlaceholderCipher, SecretCipher
from tutumd.application.admission.fields import DEFAULTS, FIELDS, HandlerField, HandlerOptions
from tutumd.application.admission.json_checks import quote, suggest
from tutumd.errors import InvalidInputError, about
from tutumd.model import Operation


def parse_options(document: Mapping[str, object], now: datetime, stored: HandlerOptions = DEFAULTS) -> HandlerOptions:
    """Return the options after a user's request to create or change a handler.

    Args:
        document: A JSON object, of which `name` and `operation` are ignored. null resets a field to its default.
        stored: The options before the change. Absent fields keep these values.

    Raises:
        InvalidInputError: A field is unknown, or a value is wrong.
    """
    changes: dict[str, Any] = {}
    for name, value in document.items():
        if name in ("name", "operation"):
            continue
        field = FIELDS.get(name)
        if field is None:
            raise InvalidInputError(f"unknown field {quote(name)}: {suggest(name, ('name', 'operation', *FIELDS))}")
        if name == "verify" and isinstance(value, dict) and value.get("secrets") is None and stored.verify:
            value = {**value, "secrets": list(stored.verify.secrets)}
        with about(name):
            changes[name] = field.default if value is None else field.parse(value)
    expires = changes.get("expires_datetime")
    # A request may repeat the handler's stored date: the API shows dates to the second only.
    is_new = _to_the_second(expires) != _to_the_second(stored.expires_datetime)
    if expires is not None and is_new and expires <= now:
        raise InvalidInputError("expires_datetime must lie in the future: to end the URL now, set enabled to false")
    return replace(stored, **changes)


def check_operation(options: HandlerOptions, operation: Operation) -> None:
    """Raise InvalidInputError if a field is set that has no effect on handlers with this operation."""
    for field, _ in _set_fields(options):
        if field.operation not in (None, operation):
            raise InvalidInputError(
                f"{field.name} is for handlers with the operation {field.operation}, and this one does {operation}"
            )


def write_public(options: HandlerOptions) -> dict[str, Any]:
    """Return all fields for the API, without secrets."""
    document = {name: field.json_default for name, field in FIELDS.items()}
    for field, value in _set_fields(options):
        document[field.name] = (field.show or field.write)(value)
    return document


def write_stored(options: HandlerOptions, cipher: SecretCipher) -> dict[str, Any]:
    """Return the fields that differ from the defaults for the store; secrets are encrypted."""
    document = {field.name: field.write(value) for field, value in _set_fields(options)}
    if options.verify is not None:
        document["verify"]["secrets"] = [cipher.encrypt(secret) for secret in options.verify.secrets]
    return document


def read_stored(document: Mapping[str, Any], cipher: SecretCipher | PlaceholderCipher) -> HandlerOptions:
    """Return the options that `write_stored` has written. Raises SettingsError if the cipher cannot decrypt the
    secrets.
    """
    if not document:
        return DEFAULTS
    attributes: dict[str, Any] = {}
    for name, value in document.items():
        if name == "verify":
            value = {**value, "secrets": [cipher.decrypt(secret) for secret in value["secrets"]]}
        attributes[name] = FIELDS[name].parse(value)
    return HandlerOptions(**attributes)


def _to_the_second(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(microsecond=0)


def _set_fields(options: HandlerOptions) -> list[tuple[HandlerField, Any]]:
    """Return the fields that differ from the defaults, with their values."""
    values = [(field, getattr(options, field.name)) for field in FIELDS.values()]
    return [(field, value) for field, value in values if value != field.default]
