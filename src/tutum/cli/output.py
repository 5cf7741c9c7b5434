"""Printing: JSON, and text that cannot disturb the terminal."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from tutum.resource import Resource


def printable(text: str, *, keep: str = "") -> str:
    """Return `text` with `?` for what is not printable, such as escape sequences in a name.

    Args:
        keep: Unprintable characters to keep, such as line ends.
    """
    return "".join(character if character.isprintable() or character in keep else "?" for character in text)


def print_json(value: Any) -> None:
    """Print `value` as indented JSON, with escapes for what is not printable."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    print("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text))


def print_resources(resources: Sequence[Resource]) -> None:
    """Print objects as JSON, with all fields that the server sent: one object alone, several as an array."""
    fields = [fields_of(resource) for resource in resources]
    print_json(fields if len(fields) != 1 else fields[0])


def fields_of(described: Resource | dict[str, Any]) -> dict[str, Any]:
    """Return all fields of an object of the API."""
    return described if isinstance(described, dict) else described.get_all_attributes()


def hint(text: str) -> None:
    """Print a remark for a person: on standard error, if it is a terminal."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)
