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
    """Print `value` as indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_resources(resources: Sequence[Resource], *, as_array: bool) -> None:
    """Print objects as JSON, with all fields that the server sent.

    Args:
        as_array: Print an array even of one object.
    """
    fields = [resource.get_all_attributes() for resource in resources]
    print_json(fields if as_array or len(fields) != 1 else fields[0])


def hint(text: str) -> None:
    """Print a remark for a person: on standard error, if it is a terminal."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)
