"""Figures about engines and actions for monitoring, and what `tutumd doctor` finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

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
        keys_age_s: Age of the keys of each issuer of identity tokens, by URL; infinite: they were never fetched.
    """

    engines: Sequence[EngineFigures]
    totals: Sequence[ActionTotal]
    delivery_log_bytes: int
    notifications: Sequence[NotificationFigures] = ()
    notification_delay_s: float = 0.0
    wal_bytes: int = 0
    keys_age_s: Mapping[str, float] = field(default_factory=dict)


class Level(StrEnum):
    """How much a finding matters. A WARNING works, but may not do what was meant."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A finding about one subject.

    Attributes:
        subject: Subject in a word or two: `database`, `engine prod`.
        text: The finding, in one line. Never a secret.
        mend: What to do about it; empty if nothing.
    """

    subject: str
    level: Level
    text: str
    mend: str = ""


def ok(subject: str, text: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(subject=subject, level=Level.OK, text=text)


def warning(subject: str, text: str, mend: str) -> Finding:
    """Return a finding about something that works but may not behave as intended."""
    return Finding(subject=subject, level=Level.WARNING, text=text, mend=mend)


def wrong(subject: str, text: str, mend: str) -> Finding:
    """Return a finding about something that does not work."""
    return Finding(subject=subject, level=Level.WRONG, text=text, mend=mend)


_TOLERATED_S = 2.0


def compare_clocks(subject: str, there: float, before: float, after: float) -> list[Finding]:
    """Compare a reading of another clock with readings of this machine's clock before and after it. All values are
    seconds since 1970.
    """
    skew_s = there - after if there > after else before - there if there < before else 0.0
    if skew_s > _TOLERATED_S:
        direction = "ahead of" if there > after else "behind"
        return [
            warning(
                subject,
                f"its clock is {skew_s:,.0f} s {direction} that of this machine",
                "synchronize both clocks: timedatectl set-ntp true, or chrony",
            )
        ]
    return [ok(subject, "its clock and that of this machine agree")]
