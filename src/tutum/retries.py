"""Which requests are repeated, and after which pause."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SAFE_METHODS = frozenset({"GET", "HEAD"})
RETRIED_STATUSES = frozenset({429, 502, 503, 504})
LONGEST_RETRY_AFTER_S = 30.0
_FIRST_PAUSE_S = 0.2


def pause_before_retry_s(
    *, method: str, attempt: int, retries: int, status: int | None, retry_after: str | None = None
) -> float | None:
    """Return how many seconds to wait before the request is repeated; None if it is not.

    Args:
        attempt: How many times the request was sent, from 1.
        status: Status of the response; None if there was none.
        retry_after: The header of the response: seconds, or a date.
    """
    is_temporary = status is None or status in RETRIED_STATUSES
    if method not in SAFE_METHODS or attempt > retries or not is_temporary:
        return None
    requested_s = retry_after_s(retry_after) if status in {429, 503} else None
    if requested_s is not None:
        return requested_s if requested_s <= LONGEST_RETRY_AFTER_S else None
    return _FIRST_PAUSE_S * 2.0 ** (attempt - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, hides nothing


def retry_after_s(header: str | None, *, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After header requests; None if it is absent or unreadable."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
