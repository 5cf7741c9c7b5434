"""Checks of JSON values from users. Each check returns the value, or raises InvalidInputError with the expected
form.
"""

import csv
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any

from tutumd.errors import InvalidInputError, about

MAX_TEXT = 2000
MAX_NAME_LENGTH = 255
MAX_ITEMS = 50
MAX_DEPTH = 100
TEXTS_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}


def quote(value: object) -> str:
    """Return the value for an error text, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_flag(name: str, value: object) -> bool:
    """Return true or false."""
    if isinstance(value, bool):
        return value
    raise InvalidInputError(f"{name} must be true or false, got {quote(value)}")


def check_number(name: str, value: object, low: int, high: int) -> int:
    """Return a whole number."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise InvalidInputError(f"{name} must be a whole number from {low} to {high}, got {quote(value)}")


def check_text(name: str, value: object, max_length: int = MAX_TEXT, *, may_be_blank: bool = False) -> str:
    """Return a text of 1 to `max_length` characters that can be encoded as UTF-8. A blank text counts as empty."""
    if not isinstance(value, str):
        raise InvalidInputError(f"{name} must be a text, got {quote(value)}")
    if len(value) > max_length or not (value.strip() or may_be_blank):
        wanted = f"{'at most' if may_be_blank else '1 to'} {max_length}"
        found = len(value) if len(value) > max_length else 0
        raise InvalidInputError(f"{name} must have {wanted} characters, got {found}")
    check_storable(name, value)
    return value


check_optional_text = partial(check_text, may_be_blank=True)
"""As `check_text`, but the text may also be empty or blank."""


def check_texts(name: str, value: object, max_length: int = MAX_TEXT) -> tuple[str, ...]:
    """Return a list of 1 to 50 texts, or the items of one text (see `split_texts`), as a tuple without duplicates."""
    items = split_texts(value) if isinstance(value, str) else value
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        raise InvalidInputError(
            f"{name} must be a list of 1 to {MAX_ITEMS} texts, or one text with commas or lines, got {quote(value)}"
        )
    return tuple(dict.fromkeys(check_text(name, item, max_length) for item in items))


def split_texts(text: str) -> list[str]:
    """Return the items of a text that separates them by commas or line ends. Double quotes keep the commas of an item.

    Spaces around items and empty items are ignored.
    """
    if len(text) > MAX_ITEMS * MAX_TEXT:
        return [text]
    lines = text.replace("\r", "\n").split("\n")
    rows = (row for line in lines for row in csv.reader([line], skipinitialspace=True))
    return [item.strip() for row in rows for item in row if item.strip()]


def join_texts(items: Iterable[str]) -> str:
    """Return the text from which `split_texts` reads these items, one per line."""
    return "\n".join(f'"{item.replace(chr(34), chr(34) * 2)}"' if {",", '"'} & {*item} else item for item in items)


def check_name(name: str | None) -> str | None:
    """Return a name that a person chose. Raises InvalidInputError."""
    if name is None:
        return None
    with about("name"):
        if any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
            raise InvalidInputError("name must not contain control characters")
        return check_optional_text("name", name, MAX_NAME_LENGTH)


def check_fields(name: str, value: object, known: Collection[str]) -> Mapping[str, Any]:
    """Return an object that has no unknown fields."""
    if not isinstance(value, dict):
        raise InvalidInputError(f"{name} must be an object with {', '.join(known)}, got {quote(value)}")
    for field in value:
        if field not in known:
            raise InvalidInputError(f"{name} has no field {quote(field)}: {suggest(field, known)}")
    return value


def check_choice(name: str, value: object, choices: Collection[str]) -> str:
    """Return the one of several words that a text is, in any case."""
    for choice in choices:
        if str(value).lower() == choice.lower():
            return choice
    raise InvalidInputError(f"{name} must be one of {', '.join(choices)}; got {quote(value)}")


def check_storable(name: str, text: str) -> None:
    """Raise InvalidInputError if no database can store the text."""
    if not is_storable(text):
        raise InvalidInputError(f"{name} must not contain NUL characters or unpaired surrogates")


def is_storable(text: str) -> bool:
    """Return whether a database can store the text: no NUL, no unpaired surrogates."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def is_shallow(document: Any) -> bool:
    """Return whether a JSON value has at most 100 levels. Deeper values exhaust the stack of the code that walks
    them.
    """
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
            if isinstance(child, dict | list)
        ]
        if not level:
            return True
    return False


def suggest(name: str, known: Collection[str]) -> str:
    """Return the end of an error text about an unknown name: the most similar known name, or all names."""
    nearest = get_close_matches(name[:100], known, n=1)
    return f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(known)}"
