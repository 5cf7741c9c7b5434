"""Freeze windows that are active."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from tutumd.errors import Reason

ANY = "false"
"""The condition, in the SQL of both databases, that there is any freeze window, active or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveFreeze:
    """The freeze of a service.

    Attributes:
        until: End of the windows that are active now and touch one another.
        reason: Reason of the window that ends last.
        by: Who made that window.
    """

    until: datetime
    reason: Reason
    by: str


def read_active(connection: sa.Connection, service_uuids: Collection[str], now: datetime) -> Mapping[str, ActiveFreeze]:
    """Return the freezes that hold services now, by service."""
    return {}
