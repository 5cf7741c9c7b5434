"""When a message that was not sent is sent again."""

from datetime import datetime, timedelta

from tutumd.model.notifications import SendResult

_HOUR = 3600
DELAYS_S = (0, 5, 300, 1800, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR)
"""Delay in seconds before each attempt, as Standard Webhooks recommends."""

JITTER = 0.1
MAX_RETRY_AFTER_S = 24 * _HOUR


def next_attempt(attempts: int, result: SendResult, now: datetime, chance: float) -> datetime | None:
    """Return the time of the next attempt; None: there is none.

    Args:
        attempts: Number of attempts, with the one that has this result.
        chance: Random number from 0 to 1, which moves the time by up to 10 %.
    """
    if result.sent or result.is_final or result.is_gone or attempts >= len(DELAYS_S):
        return None
    delay_s = DELAYS_S[attempts] * (1 - JITTER + 2 * JITTER * chance)
    return now + timedelta(seconds=max(delay_s, min(result.retry_after_s or 0.0, MAX_RETRY_AFTER_S)))
