"""Times as the engine writes them."""

from datetime import datetime


def parse_time(text: str | None) -> datetime | None:
    """Read an RFC 3339 time with up to nanoseconds; None for an absent one and for Go's zero time."""
    if not text or text.startswith("0001-01-01"):
        return None
    return datetime.fromisoformat(text)
