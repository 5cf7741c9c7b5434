"""Lists of objects: as UUIDs, as JSON, or as a table that fits the terminal and is complete in a pipe."""

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any

from tutum.cli.output import fields_of, print_json, printable

_GAP = "  "
_STYLES = {"Running": "green", "Success": "green", "Failed": "red", "Partly running": "yellow", "In progress": "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        min_width: Smallest width that it can be cut to; None: it is never cut.
        crop_to: Width that it is cut to, without an ellipsis, if the table is too wide.
        dropped: Where it is in the order of columns that are left out if cutting is not enough; None: it never is.
        is_name: Other columns are cut or left out first, unless it would take more than half of the terminal.
    """

    heading: str
    min_width: int | None = None
    crop_to: int | None = None
    dropped: int | None = None
    is_name: bool = False

    def narrowest(self, natural: int) -> int:
        """Return the smallest width that a column with such a widest cell can be cut to."""
        smallest = self.min_width if self.crop_to is None else self.crop_to
        return natural if smallest is None else min(natural, max(smallest, len(self.heading)))


def print_list(
    objects: Sequence[Any],
    columns: Sequence[Column],
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
        print_json([fields_of(each) for each in objects])
    elif quiet:
        for each in objects:
            print(each.uuid)
    else:
        print_table(columns, [row_of(each) for each in objects])


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print `rows` below the columns' headings."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        print_to_terminal(columns, cells, terminal_width=shutil.get_terminal_size().columns)
        return
    for line in plain_lines(columns, cells):
        print(line)


def plain_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table in which nothing is cut."""
    table = [[column.heading for column in columns], *rows]
    widths = [max(_cells(row[index]) for row in table) for index in range(len(columns))]
    return [
        _GAP.join(cell + " " * (width - _cells(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # slow to load

    return cell_len(text)


def fitting_columns(columns: Sequence[Column], natural: Sequence[int], terminal_width: int) -> list[int]:
    """Return the indexes of the columns to show on a terminal, without those that even cut have no room.

    Args:
        natural: Width of the widest cell of each column, heading included.
    """
    shown = list(range(len(columns)))
    order = sorted((column.dropped, index) for index, column in enumerate(columns) if column.dropped is not None)
    wanted = [
        max(column.narrowest(width), min(width, terminal_width // 2) if column.is_name else 0)
        for column, width in zip(columns, natural, strict=True)
    ]
    for _, index in order:
        least = sum(wanted[each] + len(_GAP) for each in shown) - len(_GAP)
        if least <= terminal_width:
            break
        shown.remove(index)
    return shown


def fitted_widths(columns: Sequence[Column], natural: Sequence[int], terminal_width: int) -> list[int]:
    """Return the columns' widths for a terminal. The sum is too large only if nothing more can be cut.

    Args:
        natural: Width of the widest cell of each column, heading included.
    """
    widths = list(natural)
    room = terminal_width - len(_GAP) * (len(columns) - 1)
    if sum(widths) > room:
        widths = [
            width if column.crop_to is None else column.narrowest(width)
            for column, width in zip(columns, widths, strict=True)
        ]
    while sum(widths) > room:
        cuttable = [
            (not column.is_name, width, index)
            for index, (column, width) in enumerate(zip(columns, widths, strict=True))
            if column.min_width is not None and width > column.narrowest(width)
        ]
        if not cuttable:
            break
        widths[max(cuttable)[2]] -= 1
    return widths


def print_to_terminal(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, terminal_width: int, file: IO[str] | None = None
) -> None:
    """Print a table that fits a terminal.

    Args:
        file: Default: standard output.
    """
    from rich.console import Console  # slow to load, and not needed in a pipe
    from rich.table import Table
    from rich.text import Text

    natural = [
        max([len(column.heading), *(_cells(row[index]) for row in rows)]) for index, column in enumerate(columns)
    ]
    shown = fitting_columns(columns, natural, terminal_width)
    columns, natural = [columns[index] for index in shown], [natural[index] for index in shown]
    rows = [[row[index] for index in shown] for row in rows]
    widths = fitted_widths(columns, natural, terminal_width)
    table = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        overflow = "crop" if column.crop_to is not None else "ellipsis"
        table.add_column(column.heading, width=width, no_wrap=True, overflow=overflow)  # type: ignore[arg-type]  # a literal of two
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console(file=file, width=max(terminal_width, sum(widths) + len(_GAP) * len(columns))).print(table)
