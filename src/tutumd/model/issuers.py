"""Issuers of identity tokens and their keys."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

MAX_KEYS_AGE = timedelta(hours=24)
"""Older keys verify no token."""

REFETCH_AFTER = timedelta(minutes=1)
"""Pause between two fetches that a missing key causes."""

FETCH_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerKeys:
    """The keys of an issuer as they were fetched last.

    Attributes:
        keys: JSON Web Key Set; empty: they were never fetched.
        fetched, tried: Times of the last success and of the last attempt.
        error: Why the last attempt failed, without secrets; empty: it did not.
    """

    url: str
    keys: str = field(repr=False)
    fetched: datetime | None
    tried: datetime | None
    error: str
