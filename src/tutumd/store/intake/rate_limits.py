"""Rate limits as token buckets, each stored as one number (GCRA): for operations, and for stored content."""

MAX_HANDLERS = 10_000
"""Handlers whose spending is kept in memory, about 100 bytes each."""

# Stored instead of the content. `is_cut`: the delivery cannot be redelivered.
REFUSED_CONTENT = '{"is_cut": true, "left_out": ["headers, query and body: the call was refused"]}'
EXCESS_CONTENT = '{"is_cut": true, "left_out": ["headers, query and body: the handler got too much in a minute"]}'

_SECOND_US = 1_000_000


def take_token(full_at: int, now: int, count: int, seconds: int, taken: int = 1) -> tuple[int, int]:
    """Take one token, or `taken` tokens, of `count` tokens that refill evenly within `seconds`.

    Args:
        full_at: When the bucket is full again, in microseconds since 1970 ("theoretical arrival time").
        now: The current time in the same unit.

    Returns:
        The new `full_at`, and the microseconds until the tokens are available; 0 if this call got them.
    """
    period = seconds * _SECOND_US
    if full_at - now > 2 * period:
        full_at = now  # unreachable for any call: the clock was set back, or the limit was changed
    next_full_at = max(full_at, now) + period * taken // count
    wait = next_full_at - now - period
    return (full_at, wait) if wait > 0 else (next_full_at, 0)


class ContentBudget:
    """Bytes stored of each handler's calls within a minute, counted in the memory of this process.

    The budget keeps the calls of one URL from filling the disk.
    """

    def __init__(self, bytes_per_minute: int) -> None:
        self._bytes_per_minute = bytes_per_minute
        self._full_at: dict[str, int] = {}

    def spend(self, handler_uuid: str, size: int, now_us: int) -> bool:
        """Spend bytes of a handler's budget, which refills evenly; return False if too few are left."""
        full_at = self._full_at.get(handler_uuid, 0)
        full_at, wait_us = take_token(full_at, now_us, self._bytes_per_minute, 60, size)
        if len(self._full_at) >= MAX_HANDLERS:
            self._full_at.clear()
        self._full_at[handler_uuid] = full_at
        return not wait_us
