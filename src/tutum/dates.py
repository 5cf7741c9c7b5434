"""Dates of the API: most are in ISO 8601, and those that clients of 2015 read in RFC 2822."""

from datetime import datetime
from email.utils import parsedate_to_datetime


def parse_date(text: str) -> datetime:
    """Return a date of the API. Raises ValueError if it is none."""
    return datetime.fromisoformat(text) if text[:4].isdecimal() else parsedate_to_datetime(text)
