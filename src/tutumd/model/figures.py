"""Figures about engines and actions, for monitoring."""

from collections.abc import Sequence
from dataclasses import dataclass

DURATION_BOUNDS_S = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""Upper bounds of the buckets in which ended actions are counted by their duration. Above is one more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFigures:
    """What an engine instance has to do now.

    Attributes:
        is_up: A worker serves it, and it answers that worker.
        slots: Actions that its live workers perform on it at once, at most; 0 if there is no live worker.
        runs: Actions that a worker performs now.
        pending: Actions that are due or held and that no worker performs, including those that wait for another try.
        oldest_pending_s: For how long the one of these that was due first has been due; 0 if none is due.
    """

    name: str
    is_up: bool
    slots: int
    runs: int
    pending: int
    oldest_pending_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTotal:
    """Actions of one kind, counted since the database exists.

    Attributes:
        verb: Such as `REDEPLOY`.
        event: `Success`, `Failed` or `Canceled`, in which they ended; or `takeover`: their worker lost its lease to
            another one.
        bound_s: Of the bucket of their duration; None: above all bounds.
        has_run: Whether they began before they ended. Only then do they have a duration.
        seconds: Their durations added up.
    """

    engine: str
    verb: str
    event: str
    bound_s: int | None
    has_run: bool
    number: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the database knows about the work of all servers on it. Every server reads the same.

    Attributes:
        delivery_log_bytes: What the kept deliveries take, as far as they are counted.
        wal_bytes: Size of SQLite's write-ahead log; 0 on PostgreSQL.
    """

    engines: Sequence[EngineFigures]
    totals: Sequence[ActionTotal]
    delivery_log_bytes: int
    wal_bytes: int = 0
