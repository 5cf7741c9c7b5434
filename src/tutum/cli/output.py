"""Printing: JSON, tables, ages, and text that cannot disturb the terminal."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from tutum.resource import Resource

_GAP = "  "
_AGES_S = {"day": 86400, "hour": 3600, "minute": 60}
_STYLES = {"Running": "green", "Success": "green", "Failed": "red", "Partly running": "yellow", "In progress": "yellow"}
_CUT = {"UUID": 8, "ACTION": 9, "IMAGE": 12, "FOR": 16, "REASON": 10, "DETAILS": 16, "": 20}
"""Minimum widths of columns that may be cut."""
_LEFT_OUT = (
    *("CREATED", "CALLS", "DEPLOYED", "FROM", "VIA", "ENGINE", "STARTED", "RECEIVED", "IMAGE", "OPERATION"),
    *("LAST USED", "EXPIRES", "UUID"),
)
"""Columns that may be omitted on a narrow terminal, the least important first."""
_NAMES = ("SERVICE", "NAME")
Columns = Mapping[str, Callable[[Any], str]]
"""The headings of a table, each with the function that returns the cell of an object."""
_WRAPPED = ("REASON", "DETAILS", "")


def printable(text: str, *, keep: str = "") -> str:
    """Return `text` with `?` for unprintable characters, such as escape sequences in a name.

    Args:
        keep: Unprintable characters to keep, such as line ends.
    """
    return "".join(character if character.isprintable() or character in keep else "?" for character in text)


def print_json(value: Any) -> None:
    """Print `value` as indented JSON, with escapes for unprintable characters."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    print("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text))


def print_resources(resources: Sequence[Resource]) -> None:
    """Print objects as JSON, with all fields that the server sent: a single object, or an array."""
    fields = [resource.get_all_attributes() for resource in resources]
    print_json(fields if len(fields) != 1 else fields[0])


def hint(text: str) -> None:
    """Print a remark for people on standard error, if it is a terminal."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


def count(number: int, noun: str) -> str:
    """Return a number with a noun, such as "2 services"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def parse_date(text: str) -> datetime:
    """Return a date of the API: ISO 8601, or RFC 2822 in the responses for clients of 2015. Raises ValueError if it is
    none.
    """
    return datetime.fromisoformat(text) if text[:4].isdecimal() else parsedate_to_datetime(text)


def age(date: str | None, *, now: datetime | None = None) -> str:
    """Return how long ago a date of the API was; empty for None."""
    if not date:
        return ""
    seconds = ((now or datetime.now(UTC)) - parse_date(date)).total_seconds()
    for unit, length_s in _AGES_S.items():
        count = int(seconds // length_s)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def print_list(
    objects: Sequence[Any],
    columns: Columns,
    *,
    quiet: bool = False,
    as_json: bool = False,
    none: str = "",
) -> None:
    """Print objects of the API as a table; with `quiet` their UUIDs, with `as_json` an array of all fields.

    Args:
        none: Line on standard error instead of a table without rows.
    """
    if as_json:
        print_json([each if isinstance(each, dict) else each.get_all_attributes() for each in objects])
    elif quiet:
        for each in objects:
            print(each.uuid)
    elif none and not objects:
        print(printable(none), file=sys.stderr)
    else:
        print_table([*columns], [[cell(each) for cell in columns.values()] for each in objects])


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below headings: fitted to the width of a terminal, complete in a pipe.

    Args:
        headings: If all are empty, only the rows are printed.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        print_to_terminal(headings, cells)
        return
    from rich.cells import cell_len

    table = [headings, *cells] if any(headings) else cells
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    for row in table:
        padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        print(_GAP.join(padded).rstrip())


def fit_widths(headings: Sequence[str], natural: Sequence[int], room: int) -> list[int]:
    """Return the widths of a table's columns on a terminal. An omitted column has the width 0.

    Values that may be cut are cut first. Then the least important columns are omitted. Names are cut last.

    Args:
        natural: Width of the widest cell of each column, including the heading.
        room: Width of the terminal.
    """
    widths = list(natural)
    positions = {heading: number for number, heading in enumerate(headings)}
    omitted = [(heading, 0) for heading in _LEFT_OUT]
    steps = [*_CUT.items(), *omitted, *((name, room // part) for part in (2, 3, 5) for name in _NAMES)]
    for heading, least in steps:
        if heading in positions and _excess(widths, room) > 0:
            widths[positions[heading]] = min(widths[positions[heading]], least)
    for heading in ("NAME", "SERVICE", *_WRAPPED, "IMAGE"):
        position = positions.get(heading)
        if position is not None and widths[position]:
            widths[position] = min(natural[position], widths[position] + max(0, -_excess(widths, room)))
    return widths


def _excess(widths: Sequence[int], room: int) -> int:
    """Return how many characters a table is wider than a terminal."""
    return sum(width + len(_GAP) for width in widths if width) - len(_GAP) - room


def print_to_terminal(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that fits a terminal. Reasons and descriptions are wrapped. Other values are cut."""
    from rich.cells import cell_len
    from rich.console import Console  # slow to load, and not needed in a pipe
    from rich.table import Table
    from rich.text import Text

    console = Console()
    natural = [max(map(cell_len, column)) for column in zip(headings, *rows, strict=True)]
    widths = fit_widths(headings, natural, console.width)
    table = Table(
        box=None, padding=(0, len(_GAP), 0, 0), pad_edge=False, header_style="bold", show_header=any(headings)
    )
    for heading, width in zip(headings, widths, strict=True):
        if width:
            overflow: Literal["crop", "ellipsis"] = "crop" if heading in ("UUID", "ACTION") else "ellipsis"
            table.add_column(heading, width=width, no_wrap=heading not in _WRAPPED, overflow=overflow)
    for row in rows:
        cells = [cell for cell, width in zip(row, widths, strict=True) if width]
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in cells))
    console.print(table)
