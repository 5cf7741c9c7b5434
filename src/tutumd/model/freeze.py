"""Freeze windows: recurring or single spans of time in which redeploys wait."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from tutumd.errors import InvalidInputError, Reason, about
from tutumd.model.actions import Hold, HoldKind

MAX_WINDOWS = 20
"""Maximum number for one service, for one stack and owner, and for the server."""
MAX_REASON_CHARS = 500
MAX_ZONE_CHARS = 64
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WEEKLY = re.compile(rf"({'|'.join(_DAYS)}) ([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_DATE = re.compile(r"20\d\d-\d\d-\d\d([ T]([01]\d|2[0-3]):[0-5]\d)?", re.ASCII)
_FORMS = "a day and a time such as 'Fri 16:00', or a date such as '2026-12-24' or '2026-12-24 18:00'"
_WEEK = timedelta(weeks=1)
_MONDAY = datetime(2024, 1, 1)  # noqa: DTZ001  # a wall clock without a zone
_MOST_MERGED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFreezeWindow:
    """A freeze window to store: of a service, of a stack on an engine, or of the server if it names neither.

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
    engine: str | None = None
    stack: str | None = None

    @property
    def is_weekly(self) -> bool:
        """Whether it recurs each week."""
        return _WEEKLY.fullmatch(self.begins) is not None

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
    for field, text in (("from", window.begins), ("to", window.ends)):
        if not _WEEKLY.fullmatch(text) and not _DATE.fullmatch(text):
            with about(field):
                raise InvalidInputError(f"{field} must be {_FORMS}, got {text[:100]!r}")
    with about("tz"):
        if len(window.tz) > MAX_ZONE_CHARS or _zone(window.tz) is None:
            raise InvalidInputError(f"tz must be a time zone such as 'Europe/Berlin', got {window.tz[:100]!r}")
    with about("to"):
        if bool(_WEEKLY.fullmatch(window.ends)) != window.is_weekly:
            raise InvalidInputError("from and to must both be a day and a time, or both be dates")
        begin, end = (_read_field(field, text) for field, text in (("from", window.begins), ("to", window.ends)))
        if begin == end or (begin > end and not window.is_weekly):
            raise InvalidInputError(f"to must be after from, got {window.begins!r} and {window.ends!r}")
    with about("reason"):
        if len(window.reason) > MAX_REASON_CHARS:
            raise InvalidInputError(f"reason must have at most {MAX_REASON_CHARS} characters, got {len(window.reason)}")
    return window


def frozen_until(window: NewFreezeWindow, now: datetime) -> datetime | None:
    """Return the end of the span of a window that contains `now`; None if it does not apply then."""
    zone = _zone(window.tz) or ZoneInfo("UTC")  # this machine may have another time zone database
    begin, end = _read(window.begins), _read(window.ends)
    spans = [(begin, end)]
    if window.is_weekly:
        end += _WEEK if end < begin else timedelta()
        weeks = (now.astimezone(zone).replace(tzinfo=None) - _MONDAY) // _WEEK
        spans = [(begin + _WEEK * week, end + _WEEK * week) for week in (weeks - 1, weeks)]
    moments = ((_reach(begin, zone, fold=0), _reach(end, zone, fold=1)) for begin, end in spans)
    return max((end for begin, end in moments if begin <= now < end), default=None)


def find_freeze(windows: Collection[FreezeWindow], now: datetime) -> Hold | None:
    """Return the hold that windows together cause; None if none applies at present.

    It ends with the last of the windows that follow each other without a gap. Its reason and author are those of the
    present window that ends last.
    """
    first = _latest(windows, now)
    if first is None:
        return None
    until, window = first
    # Windows can cover the whole week: the end is then too early, and whoever waits for it looks again.
    for _ in range(_MOST_MERGED):
        following = _latest(windows, until)
        if following is None:
            break
        until = following[0]
    return Hold(kind=HoldKind.FREEZE, until=until, reason=window.why, by=window.owner)


def _latest(windows: Collection[FreezeWindow], now: datetime) -> tuple[datetime, FreezeWindow] | None:
    ends = ((frozen_until(window, now), window) for window in windows)
    return max(((end, window) for end, window in ends if end), key=lambda each: each[0], default=None)


def _reach(wall: datetime, zone: ZoneInfo, fold: int) -> datetime:
    """Return the first moment (`fold` 0) or the last (1) at which the clock of a zone reaches or passes a time."""
    moment = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    # The clock jumps over it. PEP 495: with fold=1, the moment is before the jump, with fold=0 it is not.
    before, after = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // 2
        if middle.astimezone(zone).replace(tzinfo=None) < wall:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


@lru_cache(maxsize=1_000)
def _read(text: str) -> datetime:
    """Return the time of the wall clock that a text names: of a day of the week, in the first week."""
    if weekly := _WEEKLY.fullmatch(text):
        return _MONDAY + timedelta(days=_DAYS.index(weekly[1]), hours=int(weekly[2]), minutes=int(weekly[3]))
    return datetime.fromisoformat(text)


def _read_field(field: str, text: str) -> datetime:
    try:
        return _read(text)
    except ValueError as error:
        with about(field):
            raise InvalidInputError(f"{field}: there is no such date: {text!r}") from error


def _zone(name: str) -> ZoneInfo | None:
    """Return a zone; None if the time zone database of this machine lacks it."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return None
