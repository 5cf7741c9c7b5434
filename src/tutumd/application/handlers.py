"""Webhook handlers: making and changing them from what was sent, and trying out what a call would do."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tutumd.application.admission.encryption import PlaceholderCipher, SecretCipher
from tutumd.application.admission.evaluate import Explanation, Received, explain
from tutumd.application.admission.fields import DEFAULTS
from tutumd.application.admission.options import check_operation, parse_options, read_stored, write_public, write_stored
from tutumd.errors import InvalidInputError
from tutumd.model import Handler, NewHandler, Operation, User
from tutumd.ports import Store

MAX_NAME_LENGTH = 255
MAX_ENTRIES = 100
MAX_GRACE_S = 30 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What somebody sent about a handler: fields that are absent are in neither of the two.

    Attributes:
        named: `name` and `operation`, as far as they were sent.
        options: The other fields, as JSON values.
    """

    named: Mapping[str, str | None]
    options: Mapping[str, object]


def create(
    store: Store, viewer: User, service_uuid: str, entries: Sequence[Sent], *, cipher: SecretCipher, now: datetime
) -> tuple[Handler, ...]:
    """Create a handler per entry, all or none.

    Raises:
        InvalidInputError: A bad value, or more than 100 entries.
        NotFoundError: The viewer has no such service.
    """
    if len(entries) > MAX_ENTRIES:
        raise InvalidInputError(f"at most {MAX_ENTRIES} handlers can be created at once, got {len(entries)}")
    return store.add_handlers(viewer, service_uuid, [_new(entry, cipher, now) for entry in entries])


def change(
    store: Store, viewer: User, service_uuid: str, uuid: str, sent: Sent, *, cipher: SecretCipher, now: datetime
) -> Handler:
    """Change what was sent of a handler; the rest stays.

    Raises:
        InvalidInputError: A bad value, or another operation.
        NotFoundError: The viewer has no such handler.
    """

    def changed(handler: Handler) -> NewHandler:
        if "operation" in sent.named and parse_operation(sent.named["operation"]) is not handler.operation:
            raise InvalidInputError("operation cannot be changed: create another handler")
        name = check_name(sent.named["name"]) if "name" in sent.named else handler.name
        kept, sealed = _split(handler.options, sent.options)
        options = parse_options(sent.options, now, read_stored(kept, cipher))
        check_operation(options, handler.operation)
        return NewHandler(name=name, operation=handler.operation, options={**write_stored(options, cipher), **sealed})

    return store.change_handler(viewer, service_uuid, uuid, changed)


def rotate(store: Store, viewer: User, service_uuid: str, uuid: str, grace: object, *, now: datetime) -> Handler:
    """Give a handler a new URL; the old one may still be called for `grace` seconds.

    Raises:
        InvalidInputError: `grace` is no whole number from 0 to 30 days.
        NotFoundError: The viewer has no such handler.
    """
    if isinstance(grace, bool) or not isinstance(grace, int) or not 0 <= grace <= MAX_GRACE_S:
        raise InvalidInputError(f"grace must be whole seconds from 0 to {MAX_GRACE_S}, got {str(grace)[:20]!r}")
    return store.rotate_handler(viewer, service_uuid, uuid, now + timedelta(seconds=grace))


def try_out(handler: Handler, received: Received, *, cipher: SecretCipher) -> Explanation:
    """Tell what a call would do, and why; does nothing."""
    return explain(read_stored(handler.options, cipher), received)


def public_options(handler: Handler) -> dict[str, Any]:
    """Write what is set on a handler for its owner; of secrets only their number, so they are not opened."""
    if not handler.options:
        return dict(_BARE)
    return write_public(read_stored(handler.options, PlaceholderCipher()))


def check_name(name: str | None) -> str | None:
    """Check a name that a person gave. Raises InvalidInputError."""
    if name is None:
        return None
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidInputError(f"name must have at most {MAX_NAME_LENGTH} characters, got {len(name)}")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        raise InvalidInputError("name must not contain control characters")
    return name


def parse_operation(text: str | None) -> Operation:
    """Read an operation in any case; none and an empty one mean REDEPLOY. Raises InvalidInputError."""
    if not text:
        return Operation.REDEPLOY
    try:
        return Operation(text.upper())
    except ValueError:
        raise InvalidInputError(f"operation must be REDEPLOY or SCALEUP, got {text[:50]!r}") from None


def _split(stored: Mapping[str, Any], sent: Mapping[str, object]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split stored options into what a change has to read, and the sealed rest that stays as it is.

    Secrets that nobody changes are not opened, nor those that are replaced: their key may be lost.
    """
    rest = {name: value for name, value in stored.items() if name != "verify"}
    if "verify" not in stored:
        return rest, {}
    if "verify" not in sent:
        return rest, {"verify": stored["verify"]}
    verify = sent["verify"]
    keeps_secrets = isinstance(verify, dict) and verify.get("secrets") is None
    return (dict(stored) if keeps_secrets else rest), {}


def _new(entry: Sent, cipher: SecretCipher, now: datetime) -> NewHandler:
    operation = parse_operation(entry.named.get("operation"))
    options = parse_options(entry.options, now)
    check_operation(options, operation)
    new = NewHandler(name=check_name(entry.named.get("name")), operation=operation)
    return new if options is DEFAULTS else replace(new, options=write_stored(options, cipher))


_BARE = write_public(DEFAULTS)
