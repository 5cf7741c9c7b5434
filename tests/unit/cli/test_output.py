"""Tables that fit, and text that does not disturb the terminal."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from rich.cells import cell_len

from tutum.cli import actions, handler_calls, services, webhook_handlers
from tutum.cli.output import age, fit_widths, print_json, print_table, print_to_terminal

PS, ACTIONS = [*services.PS_COLUMNS], [*actions.list_columns({})]
UUID = "61a29874-9134-48f9-b460-f37d4bec4826"
NAME = "shop-production/frontend"
WIDEST = {
    "NAME": NAME,
    "SERVICE": NAME,
    "STATE": "Partly running",
    "IMAGE": "registry.example.com:5000/team/frontend-application:v1.2.3",
    "REASON": "the new container of shop-web-1 did not become healthy in time",
    "UUID": UUID,
    "FROM": "2001:db8:1234:5678::1234",
    **dict.fromkeys(("DEPLOYED", "STARTED", "RECEIVED", "CREATED", "LAST CALLED"), "12 minutes ago"),
}


def on_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, *headings: str
) -> list[str]:
    """Return the lines of a table with the widest usual cells on a terminal."""
    monkeypatch.setenv("COLUMNS", str(width))
    print_to_terminal(headings, [[WIDEST.get(heading, "日本語") for heading in headings]])
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(
    "headings",
    [
        PS,
        ACTIONS,
        webhook_handlers.LIST_HEADINGS,
        webhook_handlers.UNUSED_HEADINGS,
        [*handler_calls.DELIVERY_COLUMNS],
    ],
)
def test_every_table_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], headings: Sequence[str], width: int
) -> None:
    lines = on_terminal(monkeypatch, capsys, width, *headings)
    assert max(map(cell_len, lines)) <= width
    assert len(lines[0].split()) > 2


@pytest.mark.parametrize(
    ("headings", "natural", "shown"),
    [
        (PS, [24, 36, 14, 7, 58, 14, 6], "NAME 24, UUID 8, STATE 14, RUNNING 7, IMAGE 19"),
        (PS, [29, 36, 27, 7, 58, 14, 10], "NAME 29, UUID 8, STATE 27, RUNNING 7"),
        (PS, [90, 36, 14, 7, 12, 14, 6], "NAME 55, STATE 14, RUNNING 7"),
        (ACTIONS, [36, 8, 11, 28, 14, 5, 99], "UUID 8, ACTION 8, STATE 11, SERVICE 28, REASON 17"),
        (ACTIONS, [36, 8, 11, 34, 14, 5, 99], "UUID 8, ACTION 8, STATE 11, SERVICE 34, REASON 11"),
        (webhook_handlers.LIST_HEADINGS, [28, 23, 9, 36, 8], "SERVICE 28, NAME 23, UUID 8, STATE 8"),
        (webhook_handlers.LIST_HEADINGS, [50, 50, 9, 36, 8], "SERVICE 26, NAME 42, STATE 8"),
        (handler_calls.PAIRS, [10, 99], " 10,  68"),
    ],
)
def test_values_are_cut_first_then_columns_are_left_out_and_names_are_cut_last(
    headings: Sequence[str], natural: list[int], shown: str
) -> None:
    widths = fit_widths(headings, natural, 80)
    assert ", ".join(f"{name} {width}" for name, width in zip(headings, widths, strict=True) if width) == shown
    assert fit_widths(headings, natural, 300) == natural


def test_a_cut_value_shows_its_beginning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, row = on_terminal(monkeypatch, capsys, 80, *services.PS_COLUMNS)
    assert row.rstrip() == f"{NAME}  {UUID[:8]}  Partly running  日本語   registry.example.c…"


def test_a_reason_is_wrapped_and_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = on_terminal(monkeypatch, capsys, 100, *actions.list_columns({}))
    start = lines[0].index("REASON")
    shown = " ".join(line[-(len(lines[0]) - start) :].strip() for line in lines[1:])
    assert shown.split()[-5:] == ["not", "become", "healthy", "in", "time"]


@pytest.mark.parametrize("bad", ["\x1b", "\x9b", "\x7f", "\x07", "\u202e", "\u2066", "\ud800", "\U000e0001"])
def test_nothing_that_is_printed_disturbs_the_terminal(capsys: pytest.CaptureFixture[str], bad: str) -> None:
    print_table(["NAME"], [[f"a{bad}b"]])
    print_json({"name": f"a{bad}b", "ä": ["日本"]})
    shown = capsys.readouterr().out
    assert bad not in shown
    assert json.loads(shown.partition("{")[1] + shown.partition("{")[2]) == {"name": f"a{bad}b", "ä": ["日本"]}
    assert "日本" in shown


def test_a_piped_table_is_complete_and_has_no_blanks_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["A", "B", "C"], [["a" * 200, "u", "x"], ["b", "日本", ""]])
    assert capsys.readouterr().out.splitlines() == [
        f"A{' ' * 201}B     C",
        f"{'a' * 200}  u     x",
        f"b{' ' * 201}日本",
    ]


@pytest.mark.parametrize(
    ("date", "text"),
    [
        ("Mon, 13 Oct 2014 11:01:30 +0000", "just now"),
        ("Mon, 13 Oct 2014 11:00:30 +0000", "1 minute ago"),
        ("2014-10-13T09:00:00+00:00", "2 hours ago"),
        ("Wed, 01 Oct 2014 11:00:00 +0000", "12 days ago"),
        ("Mon, 13 Oct 2014 12:00:00 +0000", "just now"),
        (None, ""),
    ],
)
def test_dates_are_shown_as_ages(date: str | None, text: str) -> None:
    assert age(date, now=datetime(2014, 10, 13, 11, 2, tzinfo=UTC)) == text
