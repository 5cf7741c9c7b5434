"""Filters, pages and single parameters are read strictly."""

from datetime import UTC, datetime

import pytest

from tutumd.application.calls import parse_amount
from tutumd.application.queries import (
    ACTION_FILTERS,
    HANDLER_FILTERS,
    parse_logs_query,
    parse_number,
    parse_query,
    parse_until,
)
from tutumd.errors import InvalidInputError
from tutumd.model import Query


def test_no_parameters_mean_the_first_page() -> None:
    assert parse_query([], HANDLER_FILTERS) == Query(filters={}, limit=25, offset=0)


@pytest.mark.parametrize(
    "text", ["2015-10-13T11:01:43Z", "Tue, 13 Oct 2015 11:01:43 +0000", "2015-10-13T13:01:43+02:00"]
)
def test_dates_are_accepted_in_both_forms(text: str) -> None:
    query = parse_query([("start_date__gte", text)], ACTION_FILTERS)
    assert query.filters["start_date__gte"][:19] in ("2015-10-13T11:01:43", "2015-10-13T13:01:43")


def test_logs_since_the_end_of_time() -> None:
    for date in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        assert parse_logs_query([("since", date)]) == (1000, date, "")


def test_an_object_may_be_a_uri() -> None:
    assert parse_query([("object", "/api/v1/service/abc/")], ACTION_FILTERS).filters == {"object": "abc"}


@pytest.mark.parametrize("amount", [1, 9, 10, 100])
def test_amounts(amount: int) -> None:
    assert parse_amount(str(amount)) == amount


def test_a_single_number() -> None:
    assert parse_number([], "tail", 1, 10_000, default=300) == 300
    assert parse_number([("tail", "5")], "tail", 1, 10_000, default=300) == 5
    for texts in (["0"], ["10001"], ["000005"], [""], ["x"], ["5", "5"]):
        with pytest.raises(InvalidInputError, match="tail"):
            parse_number([("tail", text) for text in texts], "tail", 1, 10_000, default=300)
    with pytest.raises(InvalidInputError, match="unknown filter 'lines'"):
        parse_number([("lines", "5")], "tail", 1, 10_000, default=300)


NOW = datetime(2026, 12, 1, 20, tzinfo=UTC)


def test_the_end_of_a_hold_is_a_span_or_a_date_in_the_future() -> None:
    assert parse_until("until", None, NOW) is parse_until("until", "", NOW) is None
    for text in ("4h", "2026-12-02", "2026-12-02T01:00+01:00"):
        assert str(parse_until("until", text, NOW)) == "2026-12-02 00:00:00+00:00"
    for text in ("0s", "2026-12-01T20:00:00Z", "999999999d", "9999-12-31T23:59:59-14:00", "3000-01-01", "4 h", "soon"):
        with pytest.raises(InvalidInputError, match="until must be"):
            parse_until("until", text, NOW)
    with pytest.raises(InvalidInputError, match=r"must be a span such as 4h, or a date such as 2015.*got 'banana'"):
        parse_until("until", "banana", NOW)
