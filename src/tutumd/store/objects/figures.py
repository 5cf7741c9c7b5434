"""Figures for monitoring, read in one short transaction."""

import math
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.model import EngineFigures, Figures, NotificationFigures, NotificationState, TargetKind
from tutumd.ports import HEARTBEAT_TIMEOUT
from tutumd.store.objects import action_totals
from tutumd.store.objects.row_mapping import Row
from tutumd.store.queue.leases import is_unleased
from tutumd.store.queue.notifier_queue import is_tried, select_next
from tutumd.store.sql import StorePart
from tutumd.store.tables import (
    LIVE,
    PENDING,
    RUNNING,
    actions,
    engines,
    handler_logs,
    issuers,
    notification_totals,
    notifications,
    targets,
    worker_slots,
)


class SqlFigures(StorePart):
    """Reads the figures for monitoring."""

    def read(self) -> Figures:
        """Return the current figures. Raises UnavailableError."""
        with self._database.read() as connection:
            return Figures(
                engines=self._read_engines(connection),
                totals=action_totals.read(connection),
                delivery_log_bytes=int(connection.scalar(sa.select(sa.func.sum(handler_logs.c.bytes))) or 0),
                notifications=_read_notifications(connection),
                notification_delay_s=read_delay_s(connection, self._clock(), self._lease_clock()),
                wal_bytes=self._database.dialect.wal_bytes(),
                keys_age_s={
                    row.url: (self._clock() - row.fetched).total_seconds() if row.fetched else math.inf
                    for row in connection.execute(sa.select(issuers).order_by(issuers.c.url))
                },
            )

    def notification_delay_s(self) -> float:
        """Return `Figures.notification_delay_s`. Raises UnavailableError."""
        with self._database.read() as connection:
            return read_delay_s(connection, self._clock(), self._lease_clock())

    def _read_engines(self, connection: sa.Connection) -> list[EngineFigures]:
        now = self._clock()

        def is_alive(row: Row) -> bool:
            return bool(abs(now - row.last_heartbeat) <= HEARTBEAT_TIMEOUT)  # each clock may have been set

        is_up = {row.name: is_alive(row) and not row.away for row in connection.execute(sa.select(engines))}
        slots: Counter[str] = Counter()
        for row in filter(is_alive, connection.execute(sa.select(worker_slots))):
            slots[row.engine] += row.slots
        waiting = {row.engine: row for row in connection.execute(select_waiting(self._lease_clock()))}
        figures = []
        for name in sorted({*is_up, *waiting}):
            work = waiting.get(name)
            figures.append(
                EngineFigures(
                    name=name,
                    is_up=is_up.get(name, False),
                    slots=slots[name],
                    runs=work.runs if work else 0,
                    pending=work.live - work.runs if work else 0,
                    oldest_pending_s=max(0.0, (now - work.first).total_seconds()) if work and work.first else 0.0,
                )
            )
        return figures


def _read_notifications(connection: sa.Connection) -> list[NotificationFigures]:
    columns = (targets.c.kind, notifications.c.state, sa.func.count().label("number"))
    pending = sa.select(*columns).select_from(notifications.join(targets)).where(PENDING).group_by(*columns[:2])
    counted = sa.union_all(sa.select(notification_totals), pending)
    numbers = {(kind, state): number for kind, state, number in connection.execute(counted)}
    return [
        NotificationFigures(kind=kind, **{state.value: numbers.get((kind, state), 0) for state in NotificationState})
        for kind in TargetKind
    ]


def read_delay_s(connection: sa.Connection, now: datetime, lease_now: datetime) -> float:
    """Return for how many seconds the next notification of a target that nobody tries has been due; 0 if none is."""
    c = notifications.c  # tests of targets are stored as due long before
    since = sa.case((c.created > c.due, c.created), else_=c.due).label("since")
    waiting = select_next(lease_now).where(~is_tried(lease_now, timedelta(minutes=1))).add_columns(since).subquery()
    first = connection.scalar(sa.select(sa.func.min(waiting.c.since)))
    return max(0.0, (now - first).total_seconds()) if first else 0.0


def select_waiting(lease_now: datetime) -> sa.Select[Any]:
    """Select unfinished actions, by engine. Grouped in the order of an index: other groups take twice as long."""
    is_run = sa.and_(RUNNING, actions.c.worker.isnot(None), ~is_unleased(lease_now))
    # An action that waits for a retry was due when it began.
    since = sa.case((~is_run, sa.func.coalesce(actions.c.started, actions.c.due)), else_=None)
    return (
        sa.select(
            actions.c.engine,
            sa.func.count().label("live"),
            sa.func.sum(sa.case((is_run, 1), else_=0)).label("runs"),
            sa.func.min(since, type_=actions.c.due.type).label("first"),
        )
        .where(LIVE)
        .group_by(actions.c.engine)
    )
