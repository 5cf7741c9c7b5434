"""Times as the engine writes them."""

from datetime import datetime


def parse_time(text: str | None) -> datetime | None:
    """Return an RFC 3339 time with up to nanoseconds; None for Go's zero time and for no text."""
    if not text or text.startswith("0001-01-01"):
        return None
    return datetime.fromisoformat(text)
