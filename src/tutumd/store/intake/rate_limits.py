"""Rate limits as token buckets, each stored as one number (GCRA)."""

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
