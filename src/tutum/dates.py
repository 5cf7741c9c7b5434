"""Dates of the API: most are in ISO 8601, and those that clients of 2015 read in RFC 2822."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def parse_date(text: str) -> datetime:
    """Return a date of the API, in UTC if it names no zone. Raises ValueError if it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = parsedate_to_datetime(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
