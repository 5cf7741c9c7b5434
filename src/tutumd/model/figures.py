"""Figures about engines and actions, for monitoring."""

from collections.abc import Sequence
from dataclasses import dataclass

DURATION_BOUNDS_S = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""Upper bounds of the buckets that count ended actions by their duration. A further bucket has no bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFigures:
    """Current work of an engine instance.

    Attributes:
        is_up: Whether a worker serves it and it responds to that worker.
        slots: Maximum number of actions that its live workers perform on it in parallel; 0 if there is no live worker.
        runs: Number of actions that a worker performs now.
        pending: Number of due or held actions that no worker performs, including actions that wait for a retry.
        oldest_pending_s: Age in seconds of the oldest due action, from the time it was due; 0 if none is due.
    """

    name: str
    is_up: bool
    slots: int
    runs: int
    pending: int
    oldest_pending_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTotal:
    """Number of actions of one kind since the database was created.

    Attributes:
        verb: Such as `REDEPLOY`.
        event: `Success`, `Failed` or `Canceled`, the state in which they ended; or `takeover`: their worker lost its
            lease to another worker.
        bound_s: Upper bound of the bucket of their duration; None: above all bounds.
        has_run: Whether they began before they ended. Only such actions have a duration.
        seconds: Sum of their durations.
    """

    engine: str
    verb: str
    event: str
    bound_s: int | None
    has_run: bool
    number: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationFigures:
    """Notifications to targets of one kind.

    Attributes:
        sent, dead: Numbers since the database was created, without tests of targets.
        pending: Number of notifications that wait for an attempt.
    """

    kind: str
    sent: int
    dead: int
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of the database about the work of all its servers. Every server reads the same values.

    Attributes:
        delivery_log_bytes: Size of the stored deliveries, as far as they are counted.
        notification_delay_s: For how many seconds the next notification of an idle target has been due; 0 if none is.
        wal_bytes: Size of SQLite's write-ahead log; 0 on PostgreSQL.
    """

    engines: Sequence[EngineFigures]
    totals: Sequence[ActionTotal]
    delivery_log_bytes: int
    notifications: Sequence[NotificationFigures] = ()
    notification_delay_s: float = 0.0
    wal_bytes: int = 0
