"""The spans of freeze windows: clock changes, odd zones, ends of weeks, and windows that follow each other."""

from datetime import UTC, datetime

import pytest

from tutumd.errors import InvalidInputError
from tutumd.model import Hold, HoldKind
from tutumd.model.freeze import FreezeWindow, NewFreezeWindow, check_window, find_freeze, frozen_until, is_over

# A Friday in July 2026 is the 3rd. Clocks change in Berlin on 2026-03-29 at 01:00 UTC and on 2026-10-25 at 01:00 UTC,
# on Lord Howe Island on 2026-04-04 at 15:00 UTC (back by 30 minutes) and on 2026-10-03 at 15:30 UTC (forward).
_CASES = [
    ("Fri 16:00", "Mon 06:00", "Europe/Berlin", "2026-07-03 13:59", None),
    ("Fri 16:00", "Mon 06:00", "Europe/Berlin", "2026-07-03 14:00", "2026-07-06 04:00"),
    ("Fri 16:00", "Mon 06:00", "Europe/Berlin", "2026-07-06 03:59", "2026-07-06 04:00"),
    ("Fri 16:00", "Mon 06:00", "Europe/Berlin", "2026-07-06 04:00", None),
    # Over both clock changes: the end follows the clock.
    ("Fri 16:00", "Mon 06:00", "Europe/Berlin", "2026-03-27 15:00", "2026-03-30 04:00"),
    ("Fri 16:00", "Mon 06:00", "Europe/Berlin", "2026-10-23 14:00", "2026-10-26 05:00"),
    # 02:00 to 03:00 does not exist: the window begins, or ends, with the change.
    ("Sun 02:30", "Sun 04:00", "Europe/Berlin", "2026-03-29 00:59", None),
    ("Sun 02:30", "Sun 04:00", "Europe/Berlin", "2026-03-29 01:00", "2026-03-29 02:00"),
    ("Sun 01:00", "Sun 02:30", "Europe/Berlin", "2026-03-29 00:59", "2026-03-29 01:00"),
    ("Sun 02:10", "Sun 02:50", "Europe/Berlin", "2026-03-29 01:00", None),
    # 02:00 to 03:00 exists twice: the window is the longer one.
    ("Sun 02:30", "Sun 03:30", "Europe/Berlin", "2026-10-25 00:29", None),
    ("Sun 02:30", "Sun 03:30", "Europe/Berlin", "2026-10-25 00:30", "2026-10-25 02:30"),
    ("Sun 02:10", "Sun 02:50", "Europe/Berlin", "2026-10-25 00:55", "2026-10-25 01:50"),
    ("Sun 02:10", "Sun 02:50", "Europe/Berlin", "2026-10-25 01:50", None),
    ("Sun 02:15", "Sun 03:00", "Australia/Lord_Howe", "2026-10-03 15:30", "2026-10-03 16:00"),
    ("Sun 01:45", "Sun 03:00", "Australia/Lord_Howe", "2026-04-04 14:45", "2026-04-04 16:30"),
    ("Sat 20:00", "Sun 00:00", "Asia/Kathmandu", "2026-07-04 14:15", "2026-07-04 18:15"),
    # A day that does not exist.
    ("2011-12-30 10:00", "2011-12-31 09:00", "Pacific/Apia", "2011-12-30 10:00", "2011-12-30 19:00"),
    # Over the end of the week.
    ("Sun 23:00", "Mon 01:00", "UTC", "2026-07-06 00:30", "2026-07-06 01:00"),
    ("Mon 00:00", "Sun 23:59", "UTC", "2026-07-05 23:59", None),
    ("2026-12-24", "2026-12-27 06:00", "UTC", "2026-12-23 23:59", None),
    ("2026-12-24", "2026-12-27 06:00", "America/New_York", "2026-12-24 05:00", "2026-12-27 11:00"),
    ("2026-12-24", "2026-12-27T06:00", "UTC", "2026-12-27 06:00", None),
    # Another machine knows the zone.
    ("Fri 16:00", "Mon 06:00", "Mars/Base", "2026-07-03 16:00", "2026-07-06 06:00"),
]


@pytest.mark.parametrize(("begins", "ends", "tz", "now", "until"), _CASES)
def test_a_window_applies_from_its_begin_to_its_end(
    begins: str, ends: str, tz: str, now: str, until: str | None
) -> None:
    window = NewFreezeWindow(begins=begins, ends=ends, tz=tz)

    assert frozen_until(window, _utc(now)) == (until and _utc(until))


def test_only_a_window_of_dates_is_over_at_its_end() -> None:
    dates = _window("2026-12-24", "2026-12-27 06:00")
    assert [is_over(dates, _utc(f"2026-12-27 0{hour}:00")) for hour in (5, 6, 7)] == [False, True, True]
    assert not is_over(_window("Fri 16:00", "Mon 06:00"), _utc("2026-12-22"))


def test_windows_that_follow_each_other_are_one_freeze() -> None:
    friday = _window("Fri 16:00", "Sat 00:00", owner="ada")
    saturday = _window("Sat 00:00", "Sun 12:00", owner="bob")
    inner = _window("Fri 18:00", "Fri 19:00")
    later = _window("2026-07-05 12:00", "2026-07-06")

    freeze = find_freeze([saturday, inner, later, friday], _utc("2026-07-03 18:30"))

    assert freeze == Hold(kind=HoldKind.FREEZE, until=_utc("2026-07-06 00:00"), reason=friday.why, by="ada")
    assert find_freeze([saturday, later], _utc("2026-07-03 18:30")) is None


def test_windows_that_cover_the_week_freeze_for_long() -> None:
    freeze = find_freeze([_window("Mon 00:00", "Thu 00:00"), _window("Thu 00:00", "Mon 00:00")], _utc("2026-07-03"))

    assert freeze is not None and freeze.until is not None
    assert freeze.until > _utc("2026-08-01")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("from", {"begins": "0 16 * * 5"}),
        ("from", {"begins": "Friday 16:00"}),
        ("from", {"begins": "Fri 24:00"}),
        ("from", {"begins": "2026-02-30", "ends": "2026-03-01"}),
        ("to", {"ends": "Fri ١٦:٠٠"}),
        ("to", {"ends": "Fri 16:00"}),
        ("to", {"ends": "2026-12-24"}),
        ("to", {"begins": "2026-12-24", "ends": "2026-12-24 00:00"}),
        ("to", {"begins": "2026-12-24", "ends": "2026-12-23"}),
        ("to", {"begins": "2026-12-24", "ends": "9999-12-31"}),
        ("tz", {"tz": "Berlin"}),
        ("tz", {"tz": "../UTC"}),
        ("tz", {"tz": "Europe"}),
    ],
)
def test_an_invalid_window_is_refused_by_field(field: str, values: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_window(NewFreezeWindow(**{"begins": "Fri 16:00", "ends": "Mon 06:00", **values}))

    assert caught.value.field == field


def test_a_cron_expression_is_answered_with_the_form() -> None:
    with pytest.raises(InvalidInputError, match="such as 'Fri 16:00', or a date such as '2026-12-24'"):
        check_window(NewFreezeWindow(begins="0 16 * * 5", ends="0 6 * * 1"))


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _window(begins: str, ends: str, owner: str = "ada") -> FreezeWindow:
    return FreezeWindow(begins=begins, ends=ends, uuid="", owner=owner, created=datetime(2026, 1, 1, tzinfo=UTC))
