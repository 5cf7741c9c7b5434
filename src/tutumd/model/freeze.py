"""Freeze windows: recurring or single spans of time in which redeploys wait."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from operator import itemgetter
from zoneinfo import ZoneInfo, available_timezones

from tutumd.errors import InvalidInputError, Reason, about
from tutumd.model.actions import Hold, HoldKind

MAX_WINDOWS = 20
"""Maximum number for one service, one stack, and the server: of one user and the admins."""
MAX_REASON_CHARS = 500
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d"
_TIME = re.compile(rf"({'|'.join(_DAYS)}) {_CLOCK}|20\d\d-\d\d-\d\d([ T]{_CLOCK})?", re.ASCII)
_MINUTE, _WEEK = timedelta(minutes=1), timedelta(weeks=1)
_zones = cache(available_timezones)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFreezeWindow:
    """A freeze window to store: of a service, of a stack, or of the server if it names neither.

    Attributes:
        begins, ends: Both `Fri 16:00` for a weekly window, or both dates such as `2026-12-24` or `2026-12-24 18:00`.
            The window begins when the clock of `tz` reaches or passes `begins` for the first time, and ends when it
            reaches or passes `ends` for the last time.
        tz: Name in the IANA time zone database.
    """

    begins: str
    ends: str
    tz: str = "UTC"
    reason: str = ""
    service_uuid: str | None = None
    stack: str | None = None

    @property
    def subject(self) -> str:
        """The scope of the window, for people."""
        return "the service" if self.service_uuid else f"the stack {self.stack}" if self.stack else "the server"

    @property
    def is_serverwide(self) -> bool:
        """Whether it is of the server."""
        return self.service_uuid is None and self.stack is None

    @property
    def span(self) -> str:
        """When it applies, for people."""
        return f"{self.begins} to {self.ends} ({self.tz})"

    @property
    def why(self) -> Reason:
        """The reason why an action waits: when the window applies, and what its owner wrote."""
        return Reason("frozen-because", (self.span, self.reason)) if self.reason else Reason("frozen", (self.span,))


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeWindow(NewFreezeWindow):
    """A stored freeze window. It applies to services that its owner may operate: to all services if that is an admin.

    Attributes:
        owner: Name of the user who made it.
        service_name: Name of its service, with the stack; None if it has none.
        active_until: End of the present span; None if it does not apply at present.
    """

    uuid: str
    owner: str
    created: datetime
    service_name: str | None = None
    active_until: datetime | None = None


def check_window(window: NewFreezeWindow) -> NewFreezeWindow:
    """Return a window whose times are valid.

    Raises:
        InvalidInputError: A value is invalid.
    """
    begin, end = _read_field("from", window.begins), _read_field("to", window.ends)
    with about("tz"):
        if window.tz not in _zones():
            raise InvalidInputError(f"tz must be a time zone such as 'Europe/Berlin', got {window.tz[:100]!r}")
    with about("to"):
        if _is_weekly(begin) != _is_weekly(end):
            raise InvalidInputError("from and to must both be a day and a time, or both be dates")
        if begin == end or (begin > end and not _is_weekly(begin)):
            raise InvalidInputError(f"to must be after from, got {window.begins!r} and {window.ends!r}")
    return window


def frozen_until(window: NewFreezeWindow, now: datetime) -> datetime | None:
    """Return the end of the span of a window that contains `now`; None if it does not apply then."""
    return max((end for begin, end in _spans(window, now) if begin <= now < end), default=None)


def is_over(window: NewFreezeWindow, now: datetime) -> bool:
    """Return whether a window will not apply again."""
    return all(end <= now for _, end in _spans(window, now))


def find_freeze(windows: Iterable[FreezeWindow], now: datetime) -> Hold | None:
    """Return the hold that windows together cause; None if none applies at present.

    It ends with the last of the windows that follow each other without a gap. Its reason and author are those of the
    present window that ends last.
    """
    until, cause = now, None
    # Windows can cover the whole week: the end is then too early, and whoever waits for it looks again.
    for _ in range(20):
        ends = [(end, window) for window in windows if (end := frozen_until(window, until))]
        if not ends:
            break
        until, window = max(ends, key=itemgetter(0))
        cause = cause or window
    return Hold(kind=HoldKind.FREEZE, until=until, reason=cause.why, by=cause.owner) if cause else None


def _spans(window: NewFreezeWindow, now: datetime) -> list[tuple[datetime, datetime]]:
    """Return the span between two dates, or the last, present and next spans of a weekly window."""
    # This machine may have another time zone database.
    zone = ZoneInfo(window.tz if window.tz in _zones() else "UTC")
    begin, end = _read(window.begins), _read(window.ends)
    weeks = [0]
    if _is_weekly(begin):
        end += _WEEK * (end < begin)
        week = (now.astimezone(zone).replace(tzinfo=None) - begin) // _WEEK
        weeks = [week - 1, week, week + 1]
    return [(_reach(begin + _WEEK * each, zone, 0), _reach(end + _WEEK * each, zone, 1)) for each in weeks]


def _reach(wall: datetime, zone: ZoneInfo, fold: int) -> datetime:
    """Return the first moment (`fold` 0) or the last (1) at which the clock of a zone reaches or passes a time."""
    first, last = sorted(wall.replace(tzinfo=zone, fold=each).astimezone(UTC) for each in (0, 1))
    if first.astimezone(zone).replace(tzinfo=None) == wall:
        return last if fold else first
    # The clock jumps over it, between these two moments (PEP 495).
    minutes = (first + _MINUTE * each for each in range((last - first) // _MINUTE))
    return next((each for each in minutes if each.astimezone(zone).replace(tzinfo=None) > wall), last)


@lru_cache(maxsize=1_000)
def _read(text: str) -> datetime:
    """Return the time of the wall clock that a text names: of a day of the week, in the first week of all.

    Raises ValueError.
    """
    if not _TIME.fullmatch(text):
        raise ValueError
    if text[:3] in _DAYS:
        text = f"0001-01-0{1 + _DAYS.index(text[:3])}{text[3:]}"
    return datetime.fromisoformat(text)


def _is_weekly(time: datetime) -> bool:
    return time.year == 1


def _read_field(field: str, text: str) -> datetime:
    try:
        return _read(text)
    except ValueError as error:
        with about(field):
            raise InvalidInputError(
                f"{field} must be a day and a time such as 'Fri 16:00', or a date such as '2026-12-24' or"
                f" '2026-12-24 18:00', got {text[:100]!r}"
            ) from error
