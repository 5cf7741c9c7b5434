"""Weekly freeze windows, compared with a walk through the minutes of a week."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.budget import budget
from tutumd.model.freeze import NewFreezeWindow, frozen_until

_MINUTE = timedelta(minutes=1)
_WEEK = 10_080
_MONDAY = datetime(1994, 1, 3)  # noqa: DTZ001  # a wall clock without a zone
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@budget(200)
@given(
    tz=st.sampled_from(
        ["Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Asia/Kathmandu", "America/St_Johns"]
    ),
    times=st.tuples(st.integers(0, 10_079), st.integers(0, 10_079)).filter(lambda times: times[0] != times[1]),
    day=st.sampled_from([(1994, 4, 3), (1994, 10, 30), (2026, 3, 8), (2026, 3, 29), (2026, 4, 5), (2026, 10, 4)]),
    minutes=st.integers(-3_000, 3_000),
)
def test_a_weekly_window_applies_while_the_clock_is_within_it(
    tz: str, times: tuple[int, int], day: tuple[int, int, int], minutes: int
) -> None:
    begin, end = times
    window = NewFreezeWindow(begins=_text(begin), ends=_text(end), tz=tz)
    now = datetime(*day, tzinfo=UTC) + minutes * _MINUTE

    until = frozen_until(window, now)

    assert (until is not None) == _is_within(now, tz, begin, end)
    if until is not None:
        assert now < until <= now + timedelta(weeks=1, hours=2)
        assert _is_within(until - _MINUTE, tz, begin, end)
        assert (_clock(until, tz, forward=True) - end) % _WEEK <= 120  # the clock may have jumped over the end


def _text(minute: int) -> str:
    day, minute = divmod(minute, 1440)
    return f"{_DAYS[day]} {minute // 60:02}:{minute % 60:02}"


def _is_within(now: datetime, tz: str, begin: int, end: int) -> bool:
    """Return whether the clock has reached the begin, and will show a time before the end."""
    latest, earliest = _clock(now, tz, forward=False), _clock(now, tz, forward=True)
    end += _WEEK if end < begin else 0
    return any(begin + week <= latest and earliest < end + week for week in range(0, latest + _WEEK, _WEEK))


def _clock(now: datetime, tz: str, *, forward: bool) -> int:
    """Walk through the minutes of some hours; return the latest minute that the clock has shown, or the earliest that
    it will show, since a Monday.
    """
    zone = ZoneInfo(tz)
    choose, sign = (min, 1) if forward else (max, -1)
    clock = choose((now + sign * each * _MINUTE).astimezone(zone).replace(tzinfo=None) for each in range(180))
    return (clock - _MONDAY) // _MINUTE
