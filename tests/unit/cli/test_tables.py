"""Tables that fit."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from rich.cells import cell_len

from tutum.cli import actions, handler_calls, webhook_handlers
from tutum.cli.output import print_json
from tutum.cli.services import PS_COLUMNS
from tutum.cli.tables import Column, fitted_widths, fitting_columns, plain_lines, print_table, print_to_terminal
from tutum.cli.times import age

TABLES = {
    "services": PS_COLUMNS,
    "actions": actions.LIST_COLUMNS,
    "handlers": webhook_handlers.LIST_COLUMNS,
    "unused": webhook_handlers.UNUSED_COLUMNS,
    "deliveries": handler_calls.DELIVERY_COLUMNS,
}
WIDEST = {
    "STATE": "Partly running",
    "RUNNING": "100/100",
    "OPERATION": "REDEPLOY",
    "ACTION": "REDEPLOY",
    "CALLS": "100",
}
WIDEST |= {"OUTCOME": "superseded", "RESULT": "In progress", "UUID": "7e4c2add", "ID": "1234567"}
WIDEST |= dict.fromkeys(("DEPLOYED", "STARTED", "RECEIVED", "CREATED", "LAST CALLED"), "12 minutes ago")
COLUMNS = [Column(heading="NAME", min_width=6), Column(heading="UUID", crop_to=8), Column(heading="STATE")]


def test_a_table_that_fits_is_not_cut() -> None:
    assert fitted_widths(COLUMNS, [10, 36, 7], 57) == [10, 36, 7]


@pytest.mark.parametrize("bad", ["\x1b", "\x9b", "\x7f", "\x07", "\u202e", "\u2066", "\ud800", "\U000e0001"])
def test_nothing_that_is_printed_disturbs_the_terminal(capsys: pytest.CaptureFixture[str], bad: str) -> None:
    print_table([Column(heading="NAME")], [[f"a{bad}b"]])
    print_json({"name": f"a{bad}b", "ä": ["日本"]})
    shown = capsys.readouterr().out
    assert bad not in shown
    assert json.loads(shown.partition("{")[1] + shown.partition("{")[2]) == {"name": f"a{bad}b", "ä": ["日本"]}
    assert "日本" in shown


def test_uuids_are_shortened_before_names_are_cut() -> None:
    assert fitted_widths(COLUMNS, [10, 36, 7], 56) == [10, 8, 7]
    assert fitted_widths(COLUMNS, [40, 36, 7], 30) == [11, 8, 7]


def test_what_may_not_be_cut_is_not() -> None:
    assert fitted_widths(COLUMNS, [40, 36, 7], 5) == [6, 8, 7]


def test_the_widest_column_is_cut_first() -> None:
    columns = [Column(heading="A", min_width=2), Column(heading="B", min_width=2)]
    assert fitted_widths(columns, [30, 10], 32) == [20, 10]


@pytest.mark.parametrize("columns", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_every_table_fits_the_terminal_with_long_and_wide_cells(columns: Sequence[Column], width: int) -> None:
    cells = [WIDEST.get(column.heading, "日本語-a-very-long-name" * 4) for column in columns]
    out = io.StringIO()
    print_to_terminal(columns, [cells], terminal_width=width, file=out)
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert max(map(cell_len, lines)) <= width
    assert columns[0].heading in lines[0]


@pytest.mark.parametrize("name", ["shop/web", "shop-production/frontend", "shop-production/frontend-application"])
def test_the_name_of_a_service_is_whole_on_80_columns(name: str) -> None:
    uuid, image = "61a29874-9134-48f9-b460-f37d4bec4826", "registry.example.com:5000/team/frontend-application:v1.2.3"
    out = io.StringIO()
    row = [name, uuid, "Partly running", "2/2", image, "3 days ago", "docker"]
    print_to_terminal(PS_COLUMNS, [row], terminal_width=80, file=out)
    assert out.getvalue().splitlines()[1].startswith(f"{name}  ")
    assert uuid not in out.getvalue() and "registr" in out.getvalue()


def test_the_reason_of_an_action_is_more_than_a_word_on_a_narrow_terminal() -> None:
    row = ["3e62f4a3", "REDEPLOY", "Failed", "shop/web", "2 minutes ago", "1", "the new container of shop-web-1 failed"]
    out = io.StringIO()
    print_to_terminal(TABLES["actions"], [row], terminal_width=60, file=out)
    assert "shop/web  the new contain" in out.getvalue()


def test_columns_are_left_out_in_their_order_only_if_cutting_is_not_enough() -> None:
    columns = [Column(heading="A", min_width=4), Column(heading="B", dropped=2), Column(heading="C", dropped=1)]
    assert [fitting_columns(columns, [9, 9, 9], width) for width in (26, 25, 15, 14)] == [
        [0, 1, 2],
        [0, 1],
        [0, 1],
        [0],
    ]


def test_a_piped_table_counts_wide_characters() -> None:
    assert plain_lines([Column(heading="A"), Column(heading="B")], [["日本", "x"]]) == ["A     B", "日本  x"]


def test_a_piped_table_is_complete_and_has_no_blanks_at_the_end() -> None:
    rows = [["a" * 200, "u", "x"], ["b", "u", ""]]
    assert plain_lines(COLUMNS, rows)[1:] == [f"{'a' * 200}  u     x", f"b{' ' * 201}u"]


@pytest.mark.parametrize(
    ("date", "text"),
    [
        ("Mon, 13 Oct 2014 11:01:30 +0000", "just now"),
        ("Mon, 13 Oct 2014 11:00:30 +0000", "1 minute ago"),
        ("Mon, 13 Oct 2014 09:00:00 +0000", "2 hours ago"),
        ("Wed, 01 Oct 2014 11:00:00 +0000", "12 days ago"),
        ("Mon, 13 Oct 2014 12:00:00 +0000", "just now"),
        ("some day", "some day"),
        (None, ""),
    ],
)
def test_dates_are_shown_as_ages(date: str | None, text: str) -> None:
    assert age(date, now=datetime(2014, 10, 13, 11, 1, 40, tzinfo=UTC)) == text


def test_the_widest_usual_table_of_services_fits_80_columns() -> None:
    widest = [
        "a-very-long-service-name",
        "7e4c2add" * 4 + "0000",
        "Partly running",
        "100/100",
        "registry/team/image:v1",
    ]
    natural = [max(len(cell), len(column.heading)) for cell, column in zip(widest, PS_COLUMNS, strict=False)]
    widths = fitted_widths(PS_COLUMNS, [*natural, len("12 minutes ago"), len("docker")], 80)
    assert sum(widths) + 2 * (len(widths) - 1) <= 80
