"""Dates as the API writes them."""

from datetime import UTC, datetime


def write_date(value: datetime | None, timespec: str = "seconds") -> str | None:
    """Return a date in ISO 8601 and UTC, such as `2026-10-13T11:01:43Z`. `timespec` is as for `isoformat`."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
