"""Merged output of containers, and reads that continue where an earlier one ended."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from tutumd.engines.output import Source, merge_output, since_of
from tutumd.errors import InvalidInputError
from tutumd.model import LINES_MISSING, SINCE


def sources(**texts: str) -> list[Source]:
    return [
        Source(id=name, text="\n".join(f"2026-01-01T00:00:{line}" for line in text.split(", ")))
        for name, text in texts.items()
    ]


@pytest.mark.parametrize(
    ("texts", "limit", "merged"),
    [
        (["2026-01-01T00:00:03Z c\n2026-01-01T00:00:01Z a b\n", "2026-01-01T00:00:02Z b\n"], 10, "a b\nb\nc"),
        (["2026-01-01T00:00:03Z c\n2026-01-01T00:00:01Z a b\n", "2026-01-01T00:00:02Z b\n"], 2, "b\nc"),
        (["2026-01-01T00:00:01Z a\n"], 0, ""),
        (["2026-01-01T00:00:02Z c\n2026-01-01T00:00:01Z a\n2026-01-01T00:00:01Z b\n"], 10, "a\nb\nc"),
        (["2026-01-01T00:00:01Z from a terminal\r\n"], 10, "from a terminal"),
        (["2026-01-01T00:00:01Z fatal\nunable to retrieve container logs for containerd://0a1b"], 10, "fatal"),
        ([f"2026-01-01T00:00:01Z {'ä' * 70_000}"], 10, "ä" * (32 * 1024)),
    ],
    ids=["merged", "the last ones", "none", "same time", "terminal", "words of the engine", "64 KiB"],
)
def test_output_is_merged_in_order_of_time(texts: list[str], limit: int, merged: str) -> None:
    sources = [Source(id=str(number), text=text) for number, text in enumerate(texts)]
    assert merge_output(sources, limit).text == merged


@pytest.mark.parametrize(
    ("first", "second", "added"),
    [
        ({"a": "01.1Z x, 01.2Z y"}, {"a": "01.1Z x, 01.2Z y, 01.3Z z"}, "z"),
        ({"a": "01Z x, 01Z y"}, {"a": "01Z x, 01Z y, 01Z z, 02Z end"}, "z\nend"),
        ({"a": "01.12Z x"}, {"a": "01.12Z x, 01.123Z y"}, "y"),
        ({"a": "05Z x", "b": "01Z p"}, {"a": "05Z x", "b": "01Z p, 02Z q"}, "q"),
        ({"a": "05Z x"}, {"a": "05Z x", "b": "01Z p"}, "p"),
        ({"a": "05Z x", "b": "01Z p"}, {"b": "01Z p"}, ""),
    ],
    ids=["decimals", "times of whole seconds", "decimals without zeros", "clocks apart", "new container", "gone"],
)
def test_a_read_continues_where_the_last_one_ended(first: dict[str, str], second: dict[str, str], added: str) -> None:
    position = merge_output(sources(**first), 10).position
    read = merge_output(sources(**second), 10, position)
    assert read.text == added
    assert merge_output(sources(**second), 10, read.position).text == ""
    assert read.position.keys() == second.keys()


def test_a_read_that_could_not_keep_up_says_so() -> None:
    position = merge_output(sources(a="01Z x"), 2).position
    assert merge_output(sources(a="01Z x, 02Z y"), 2, position).text == "y"
    assert merge_output(sources(a="02Z y, 03Z z"), 2, position).text == f"{LINES_MISSING}\ny\nz"


@pytest.mark.parametrize(
    ("after", "since"),
    [
        (None, None),
        ({"c": "2026-01-01T00:05:00.5 1"}, None),
        ({SINCE: "2026-01-01T00:00:01Z"}, "00:00:01"),
        ({SINCE: "2026-01-01T00:00:01Z", "a": "2026-01-01T00:05:00.123456789 3"}, "00:05:00"),
        ({"a": "2026-01-01T00:05:00.5 1", "b": "2026-01-01T00:04:30 1"}, "00:04:30"),
        ({"a": "2026-01-01T00:05:00.5 1", "b": "2026-01-01T00:01:00 1"}, "00:04:00"),
        ({"a": "2026-01-01T02:05:00+02:00 1"}, "00:05:00"),
        ({SINCE: "0001-01-01T00:00:00+14:00"}, "1970-01-01"),
    ],
    ids=["none", "others", "a date", "both", "the earliest", "a silent one", "an offset", "before all lines"],
)
def test_an_engine_reads_from_the_last_second(after: Mapping[str, str] | None, since: str | None) -> None:
    text = f"2026-01-01T{since}" if since and len(since) == 8 else since
    expected = text and datetime.fromisoformat(text).replace(tzinfo=UTC)
    assert since_of(after, ["a", "b"]) == expected
    with pytest.raises(InvalidInputError, match="after must be `next` of an earlier response"):
        since_of({"a": "yesterday 1"}, ["a"])
