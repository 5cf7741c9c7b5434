"""Reads the API's dates, and says how long ago they were."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_STEPS = ((86400, "day"), (3600, "hour"), (60, "minute"))


def age(date: str | None, *, now: datetime | None = None) -> str:
    """Return how long ago an RFC 2822 date was; empty for None, the text itself if it is no such date."""
    if not date:
        return ""
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return date
    seconds = ((now or datetime.now(UTC)) - moment.replace(tzinfo=moment.tzinfo or UTC)).total_seconds()
    for length, noun in _STEPS:
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {noun}{'s' if count > 1 else ''} ago"
    return "just now"
