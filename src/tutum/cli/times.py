"""Times on the command line: the age of a date, and spans such as 90s, 15m, 12h or 30d."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import typer

_SPAN = re.compile(r"([0-9]{1,9})([smhd]?)", re.ASCII)
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_AGES_S = {"day": 86400, "hour": 3600, "minute": 60}


def parse_date(text: str) -> datetime:
    """Return a date of the API: ISO 8601, or RFC 2822 in what clients of 2015 read. Raises ValueError if it is none."""
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


def seconds_of(option: str, text: str) -> int:
    """Return the seconds of a span; a number without a unit is seconds.

    Raises:
        typer.BadParameter: It is not a span.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{option} must be seconds, or a span such as 15m, 12h or 30d, got {text!r}")
    return int(match[1]) * _UNITS_S[match[2]]


def moment_of(text: str, *, now: datetime | None = None) -> str:
    """Return the date a span from now, in ISO 8601. Any other text is returned as it is."""
    match = _SPAN.fullmatch(text.strip())
    if match is None or not match[2]:
        return text
    try:
        moment = (now or datetime.now(UTC)) + timedelta(seconds=int(match[1]) * _UNITS_S[match[2]])
    except OverflowError as error:
        raise typer.BadParameter(f"{text} from now is too far away") from error
    return moment.isoformat(timespec="seconds")
