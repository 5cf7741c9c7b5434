"""Webhook handlers: making them from what was sent."""

import unicodedata
from collections.abc import Sequence

from tutumd.errors import InvalidInputError
from tutumd.model import Handler, Operation, User
from tutumd.ports import Store

MAX_NAME_LENGTH = 255
MAX_ENTRIES = 100


def create(
    store: Store, viewer: User, service_uuid: str, entries: Sequence[tuple[str | None, str | None]]
) -> tuple[Handler, ...]:
    """Create a handler per (name, operation), all or none.

    Raises:
        InvalidInputError: A bad name or operation, or more than 100 entries.
        NotFoundError: The viewer has no such service.
    """
    if len(entries) > MAX_ENTRIES:
        raise InvalidInputError(f"at most {MAX_ENTRIES} handlers can be created at once, got {len(entries)}")
    checked = [(check_name(name), parse_operation(operation)) for name, operation in entries]
    return store.add_handlers(viewer, service_uuid, checked)


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
