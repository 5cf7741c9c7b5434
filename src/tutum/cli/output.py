"""Printing: JSON, tables, and text that cannot disturb the terminal."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tutum.resource import Resource

_GAP = "  "
_STYLES = {"Running": "green", "Success": "green", "Failed": "red", "Partly running": "yellow", "In progress": "yellow"}
_SHRINKING: dict[str, dict[str, Any]] = {
    "": {"min_width": 20},
    **{heading: {"min_width": 8} for heading in ("CREATED", "DEPLOYED", "LAST CALLED", "RECEIVED", "STARTED")},
    "FROM": {"min_width": 9, "overflow": "ellipsis"},
    "IMAGE": {"min_width": 8, "overflow": "ellipsis"},
    "REASON": {"min_width": 14},
    "UUID": {"min_width": 8, "overflow": "crop"},
}
"""Columns that become narrower on a terminal if the table does not fit. Other columns only do if nothing else helps."""


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
    fields = [resource.get_all_attributes() for resource in resources]
    print_json(fields if len(fields) != 1 else fields[0])


def hint(text: str) -> None:
    """Print a remark for a person: on standard error, if it is a terminal."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


def count(number: int, noun: str) -> str:
    """Return a number of things, such as "2 services"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def print_list(
    objects: Sequence[Any],
    headings: Sequence[str],
    row_of: Callable[[Any], Sequence[str]],
    *,
    quiet: bool = False,
    as_json: bool = False,
) -> None:
    """Print objects of the API as a table; with `quiet` their UUIDs, with `as_json` an array of all fields.

    Args:
        row_of: Returns the cells of an object.
    """
    if as_json:
        print_json([each if isinstance(each, dict) else each.get_all_attributes() for each in objects])
    elif quiet:
        for each in objects:
            print(each.uuid)
    else:
        print_table(headings, [row_of(each) for each in objects])


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below headings: made to fit on a terminal, complete in a pipe.

    Args:
        headings: If all are empty, only the rows are printed.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        print_to_terminal(headings, cells)
        return
    table = [headings, *cells] if any(headings) else cells
    widths = [max(map(_width, column)) for column in zip(*table, strict=True)]
    for row in table:
        padded = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        print(_GAP.join(padded).rstrip())


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # slow to load

    return cell_len(text)


def print_to_terminal(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that fits a terminal. What does not fit is wrapped, or cut where a part of it is enough."""
    from rich.console import Console  # slow to load, and not needed in a pipe
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(
        box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), header_style="bold", show_header=any(headings)
    )
    for number, heading in enumerate(headings):
        whole = {"no_wrap": True, "max_width": console.width // 2}
        table.add_column(heading, **(_SHRINKING.get(heading, whole) if heading or number else whole))
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    console.print(table)
