"""Checks of JSON values that a person sent: each answers the value, or says what was wanted."""

from collections.abc import Mapping
from typing import Any

from tutumd.errors import InvalidInputError

MAX_TEXT = 2000
MAX_ITEMS = 50


def quote(value: object) -> str:
    """Write what was found into an error text, cut short."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_flag(name: str, value: object) -> bool:
    """Check true or false. Raises InvalidInputError."""
    if isinstance(value, bool):
        return value
    raise InvalidInputError(f"{name} must be true or false, got {quote(value)}")


def check_number(name: str, value: object, low: int, high: int) -> int:
    """Check a whole number. Raises InvalidInputError."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise InvalidInputError(f"{name} must be a whole number from {low} to {high}, got {quote(value)}")


def check_text(name: str, value: object, most: int = MAX_TEXT) -> str:
    """Check a text of 1 to `most` characters that UTF-8 can carry. Raises InvalidInputError."""
    if not isinstance(value, str):
        raise InvalidInputError(f"{name} must be a text, got {quote(value)}")
    if not value.strip() or len(value) > most:
        raise InvalidInputError(f"{name} must have 1 to {most} characters, got {len(value.strip())}")
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise InvalidInputError(f"{name} must not contain NUL characters or halves of characters")
    return value


def check_texts(name: str, value: object, most: int = MAX_TEXT) -> tuple[str, ...]:
    """Check a text, or a list of 1 to 50. Raises InvalidInputError."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        raise InvalidInputError(f"{name} must be a list of 1 to {MAX_ITEMS} texts, got {quote(value)}")
    return tuple(dict.fromkeys(check_text(name, item, most) for item in items))


def check_fields(name: str, value: object, known: frozenset[str]) -> Mapping[str, Any]:
    """Check an object without unknown fields. Raises InvalidInputError."""
    if not isinstance(value, dict):
        raise InvalidInputError(f"{name} must be an object with {_listed(known)}, got {quote(value)}")
    for field in value:
        if field not in known:
            raise InvalidInputError(f"{name} has no field {quote(field)}: it knows {_listed(known)}")
    return value


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    """Check one of some words, in any case. Raises InvalidInputError."""
    if isinstance(value, str) and value.lower() in choices:
        return value.lower()
    raise InvalidInputError(f"{name} must be one of {', '.join(choices)}; got {quote(value)}")


def _listed(known: frozenset[str]) -> str:
    return ", ".join(sorted(known))
