"""The queue of the notifier: claims, leases and results of notifications."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.model import (
    MAX_ERROR_CHARS,
    AuditEvent,
    ClaimedNotification,
    Event,
    NotificationState,
    SendResult,
)
from tutumd.ports import NotificationQueue
from tutumd.store.objects import audit
from tutumd.store.objects.issuers import IS_NAMED, must_fetch
from tutumd.store.objects.notifications import IS_REPLACED, notification_from, select_targets, target_from
from tutumd.store.objects.row_mapping import Row
from tutumd.store.queue import outbox
from tutumd.store.queue.leases import CLOCK_SKEW, SET_BACK, is_unleased
from tutumd.store.queue.payloads import read_payload
from tutumd.store.sql import NOTIFICATIONS, StorePart
from tutumd.store.tables import EPOCH, LEASED, PENDING, UtcTime, issuers, notifications, storable, targets

MAX_DEATHS = 10
"""Dead notifications in a row that disable a target."""
MAX_FAILING = 4
"""Notifications that a notifier sends at the same time to targets whose last attempt failed: the others stay prompt."""
# Minimum time between attempts to reach a target that has failed `outbox.PATIENCE` times in a row.
PAUSE = timedelta(seconds=1)

_ACTION_DELETED = "the action was deleted before the notification could be sent"
_LONGEST_WAIT = timedelta(hours=27)
"""Longer than any pause between attempts. An attempt that is due later was planned before a clock was set back."""

_other = notifications.alias("other")


class SqlNotificationQueue(StorePart, NotificationQueue):
    """NotificationQueue of tutumd.ports."""

    _seen = 0

    def claim_notifications(self, notifier: str, limit: int, lease: timedelta) -> Sequence[ClaimedNotification]:
        now, lease_now = self._clock(), self._lease_clock()
        due = select_next(lease_now).where(_is_due(now), ~is_tried(lease_now, PAUSE))
        if self._database.dialect.single_writer and not self._database.fetch(due.limit(1)):
            return ()
        with self._database.write() as connection:
            chosen = _lock_targets(connection, due, notifier, limit, lease_now)
            # Now that the targets are locked, nobody else can claim their notifications.
            found = sa.select(due.where(targets.c.seq.in_(chosen)).subquery().c.seq)
            values = {"notifier": notifier, "token": notifications.c.token + 1, "lease_until": lease_now + lease}
            claimed = sa.update(notifications).where(notifications.c.seq.in_(found)).values(values)
            rows = connection.execute(claimed.returning(notifications)).all()
            taken = [row.target_seq for row in rows]
            connection.execute(sa.update(targets).where(targets.c.seq.in_(taken)).values(claimed=lease_now))
            owned = connection.execute(select_targets(counts=False).where(targets.c.seq.in_(taken)))
            target_rows = {row.seq: row for row in owned}
            held = [_claimed_from(connection, row, target_rows[row.target_seq], now) for row in rows]
        return [each for each in held if each is not None]

    def finish_notification(
        self, claimed: ClaimedNotification, result: SendResult, next_attempt: datetime | None
    ) -> None:
        now, uuid = self._clock(), claimed.notification.uuid
        with self._wakeup.write(self._database) as (connection, woken):
            of_target = select_targets(counts=False).where(targets.c.uuid == claimed.target.uuid)
            target = connection.execute(of_target.with_for_update(of=targets, key_share=True)).first()
            held = sa.and_(notifications.c.uuid == uuid, notifications.c.token == claimed.token, PENDING, LEASED)
            if target is None:
                return
            event = claimed.notification.event
            if not result.sent and _is_replaced(connection, held):
                connection.execute(sa.delete(notifications).where(held))
                return
            is_over = next_attempt is None
            state = NotificationState.DEAD if is_over else NotificationState.PENDING
            state = NotificationState.SENT if result.sent else state
            values = {
                "state": state.value,
                "due": next_attempt or notifications.c.due,
                "ended": None if state is NotificationState.PENDING else now,
                "attempts": notifications.c.attempts + 1,
                "last_status": result.status,
                "error": storable(result.error)[:MAX_ERROR_CHARS],
                "lease_until": None,
            }
            if not connection.execute(sa.update(notifications).where(held).values(values)).rowcount:
                return
            deaths = target.deaths + (is_over and event is not Event.TEST)
            counts = {"failures": 0 if result.sent else target.failures + 1, "deaths": 0 if result.sent else deaths}
            connection.execute(sa.update(targets).where(targets.c.seq == target.seq).values(counts))
            if target.enabled and not result.sent and (result.is_gone or deaths >= MAX_DEATHS):
                woken |= _disable(connection, target, result, now)
            if state is not NotificationState.PENDING and event is not Event.TEST:
                outbox.count(connection, claimed.target.kind.value, state)

    def take_over(self, notifier: str) -> None:
        """End the leases of a dead notifier immediately."""
        held = sa.and_(notifications.c.notifier == notifier, LEASED)
        with self._database.write() as connection:
            connection.execute(sa.update(notifications).where(held).values(lease_until=None))

    def is_needed(self) -> bool:
        return bool(self._database.fetch(sa.union_all(sa.select(targets.c.uuid), sa.select(issuers.c.url)).limit(1)))

    def claim_issuer(self) -> str | None:
        now = self._clock()
        due = self._database.fetch(sa.select(issuers.c.url).where(must_fetch(now)).limit(1))
        if not due:
            return None
        this = issuers.c.url == due[0].url
        with self._database.write() as connection:
            connection.execute(sa.delete(issuers).where(this, ~IS_NAMED))
            claimed = sa.update(issuers).where(this, must_fetch(now)).values(tried=now, wanted=False)
            is_claimed = connection.execute(claimed).rowcount
        return str(due[0].url) if is_claimed else self.claim_issuer()

    def save_keys(self, url: str, keys: str, error: str) -> None:
        values = {"error": storable(error)} if error else {"error": "", "keys": keys, "fetched": self._clock()}
        with self._database.write() as connection:
            connection.execute(sa.update(issuers).where(issuers.c.url == url).values(values))

    def next_due(self) -> datetime | None:
        now, lease_now = self._clock(), self._lease_clock()
        soon, at_once = sa.literal(now + PAUSE, UtcTime), sa.literal(now, UtcTime)
        due = sa.case((is_tried(lease_now, PAUSE), soon), (_is_due(now), at_once), else_=notifications.c.due)
        free = sa.select(sa.func.min(select_next(lease_now).add_columns(due.label("when")).subquery().c.when))
        leased = sa.select(sa.func.min(notifications.c.lease_until)).where(LEASED)
        # In one statement: between two of them, a notification could be claimed or stored.
        (row,) = self._database.fetch(
            sa.select(free.scalar_subquery().label("first"), leased.scalar_subquery().label("lease_until"))
        )
        end = row.lease_until and now + max(timedelta(0), row.lease_until - lease_now)
        return min(filter(None, (end, row.first)), default=None)

    def wait(self, timeout_s: float) -> None:
        self._wakeup.topics.add(NOTIFICATIONS)
        self._seen = self._wakeup.wait(self._seen, timeout_s)

    def wake(self) -> None:
        self._wakeup.notify()


def select_next(lease_now: datetime) -> sa.Select[Any]:
    """Select the next notification of each target that is enabled, or tested, and has no claimed notification."""
    pending = sa.select(_other.c.seq).where(
        _other.c.target_seq == targets.c.seq, _other.c.state == sa.literal_column("'pending'")
    )
    first = pending.order_by(_other.c.due, _other.c.seq).limit(1).scalar_subquery()
    held = sa.and_(_other.c.target_seq == targets.c.seq, ~is_unleased(lease_now, _other.c.lease_until))
    is_busy = sa.exists().where(held, _other.c.lease_until.isnot(None))
    return (
        sa.select(notifications.c.seq, targets.c.seq.label("target_seq"))
        .select_from(targets.join(notifications, notifications.c.seq == first))
        # Tests are due first.
        .where(sa.or_(targets.c.enabled, notifications.c.event == Event.TEST.value), ~is_busy)
    )


def _is_due(now: datetime) -> sa.ColumnElement[bool]:
    c = notifications.c
    return sa.or_(c.due <= now + CLOCK_SKEW, c.created > now + SET_BACK, c.due > now + _LONGEST_WAIT)


def is_tried(lease_now: datetime, within: timedelta) -> sa.ColumnElement[bool]:
    """Return the condition that a target fails again and again, and was tried within this time."""
    was_tried = targets.c.claimed.between(lease_now - within, lease_now)
    return sa.and_(targets.c.failures >= outbox.PATIENCE, was_tried)


def _lock_targets(
    connection: sa.Connection, due: sa.Select[Any], notifier: str, limit: int, lease_now: datetime
) -> list[int]:
    """Lock the targets whose turn it is, and return their numbers.

    Targets whose last attempt failed come last, and get a part of the notifier's capacity only.
    """
    fails = targets.c.failures > 0
    held = sa.and_(notifications.c.notifier == notifier, LEASED, ~is_unleased(lease_now, notifications.c.lease_until))
    failing = sa.select(sa.func.count()).select_from(notifications.join(targets)).where(held, fails)
    in_turn = due.order_by(sa.func.coalesce(targets.c.claimed, sa.literal(EPOCH, UtcTime)), targets.c.seq)
    locked = in_turn.with_for_update(of=targets, key_share=True, skip_locked=True)
    healthy = connection.execute(locked.where(~fails).limit(limit)).all()
    room = min(limit - len(healthy), MAX_FAILING - (connection.scalar(failing) or 0))
    others = connection.execute(locked.where(fails).limit(room)).all() if room > 0 else []
    return [row.target_seq for row in (*healthy, *others)]


def _claimed_from(connection: sa.Connection, row: Row, target_row: Row, now: datetime) -> ClaimedNotification | None:
    """Return a claimed notification. The first claim stores its payload, so that each attempt sends the same."""
    target, this_one = target_from(target_row), sa.update(notifications).where(notifications.c.seq == row.seq)
    payload = row.payload or read_payload(connection, row, include_log=target.include_log)
    if payload is None:
        values = {"state": NotificationState.DEAD.value, "ended": now, "lease_until": None, "error": _ACTION_DELETED}
        connection.execute(this_one.values(values))
        outbox.count(connection, target.kind.value, NotificationState.DEAD)
        return None
    if row.payload is None:
        connection.execute(this_one.values(payload=payload))
    notification = replace(notification_from(row, target), payload=payload)
    return ClaimedNotification(notification=notification, target=target, token=row.token)


def _is_replaced(connection: sa.Connection, held: sa.ColumnElement[bool]) -> bool:
    this = sa.select(notifications.c.seq).where(held)
    # Locked first: either this transaction sees the newer status, or that of the newer one removes this one.
    connection.execute(this.with_for_update()).all()
    return connection.execute(this.where(IS_REPLACED)).first() is not None


def _disable(connection: sa.Connection, target: Row, result: SendResult, now: datetime) -> set[str]:
    """Disable a target, and return the topics to publish."""
    code, text = "gone", result.error
    if not result.is_gone:
        code, text = "unreachable", f"{MAX_DEATHS} notifications in a row could not be sent; the last: {result.error}"
    text = storable(text)
    disabled = sa.update(targets).where(targets.c.seq == target.seq)
    connection.execute(disabled.values(enabled=False, disabled_reason=text))
    details = f"{target.name} ({target.kind}) of {target.owner}: {text}"
    audit.record(connection, None, AuditEvent.TARGET_DISABLED, now, details=details)
    return outbox.add_disabled(connection, target, code, text, now)
