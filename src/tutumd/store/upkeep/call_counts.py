"""Counts of the deliveries of handlers, made later: how many there were, when the last one was, and what they take.

Counting with each call would change a page per handler of a batch. Instead, a worker counts many deliveries at once
later, and a reader of a count adds the deliveries since. Only counted deliveries are deleted, so that `handler_logs`
matches the deliveries that exist.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.model import DeliveryOutcome
from tutumd.store.objects.row_mapping import Row
from tutumd.store.sql.compiled import json_rows
from tutumd.store.sql.database import Database
from tutumd.store.sql.dialect import dialect_of
from tutumd.store.tables.actions import actions, deliveries
from tutumd.store.tables.schema import meta, microseconds
from tutumd.store.tables.services import handlers

LAG = timedelta(minutes=1)
"""Only older deliveries are counted on PostgreSQL, where a lower `seq` may be committed after a higher one.

It is longer than any transaction lasts. SQLite has one writer, and needs no lag.
"""

BATCH = 20_000
"""Deliveries counted at once. They are read while calls are stored; calls on SQLite wait only for what is written."""

KEY = "counted"
"""Key in `meta` of the `seq` up to which deliveries are counted."""

ACTED, SKIPPED, REFUSED = "acted", "skipped", "refused"
IS_REFUSED = deliveries.c.outcome == DeliveryOutcome.REFUSED.value
KIND = sa.case((deliveries.c.action_seq.isnot(None), ACTED), (IS_REFUSED, REFUSED), else_=SKIPPED).label("kind")
"""Of the logs of its handler, the one that a delivery belongs to."""

_MAX_SEQ = 2**63 - 1
_MOVE = sa.text(
    "INSERT INTO meta (key, value) VALUES (:key, :end) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE meta.value = :start"
)
_ADD_CALLS = sa.text(
    "UPDATE handlers SET calls = calls + CAST(value ->> 1 AS BIGINT), last_called = CAST(value ->> 2 AS BIGINT) "
    "FROM json_each(:rows) WHERE seq = CAST(value ->> 0 AS BIGINT)"
)
_ADD_TO_LOGS = sa.text(
    'INSERT INTO handler_logs (handler_seq, kind, service_uuid, "rows", bytes) '
    "SELECT CAST(value ->> 0 AS BIGINT), value ->> 1, value ->> 2, CAST(value ->> 3 AS BIGINT), "
    "CAST(value ->> 4 AS BIGINT) FROM json_each(:rows) WHERE true ON CONFLICT (handler_seq, kind) "
    'DO UPDATE SET "rows" = handler_logs."rows" + excluded."rows", bytes = handler_logs.bytes + excluded.bytes, '
    "service_uuid = COALESCE(excluded.service_uuid, handler_logs.service_uuid)"
)


def read_position(connection: sa.Connection) -> int:
    """Return the `seq` up to which deliveries are counted."""
    return int(connection.execute(sa.select(meta.c.value).where(meta.c.key == KEY)).scalar() or 0)


def is_uncounted(connection: sa.Connection) -> sa.ColumnElement[bool]:
    """Return the condition that a delivery is not counted yet."""
    # PostgreSQL takes an open range of a table that it has not analyzed for a third of it, and would read it whole.
    return deliveries.c.seq.between(read_position(connection) + 1, _MAX_SEQ)


def recent_calls(connection: sa.Connection, handler_seqs: Sequence[int]) -> dict[int, tuple[int, datetime | None]]:
    """Return the number of handlers' deliveries that are not counted yet, and the time of the last, by handler."""
    if not handler_seqs:
        return {}
    rows = connection.execute(
        sa.select(deliveries.c.handler_seq, sa.func.count(), sa.func.max(deliveries.c.received))
        .where(is_uncounted(connection), deliveries.c.handler_seq.in_(handler_seqs))
        .group_by(deliveries.c.handler_seq)
    )
    return {seq: (calls, last) for seq, calls, last in rows}


def count(database: Database, now: datetime) -> bool:
    """Count one batch of deliveries, and return whether there may be more."""
    with database.read() as connection:  # calls do not wait meanwhile
        start, end = find_batch(connection, now)
        sums = _read_sums(connection, start, end)
    if sums:
        with database.write() as connection:
            if claim_batch(connection, start, end):
                _add(connection, sums)
    return end - start >= BATCH


def find_batch(connection: sa.Connection, now: datetime) -> tuple[int, int]:
    """Return the numbers of the deliveries after which, and up to which, to count next; twice the same if none."""
    start = read_position(connection)
    batch = (
        sa.select(deliveries.c.seq, deliveries.c.received)
        .where(deliveries.c.seq > start)
        .order_by(deliveries.c.seq)
        .limit(BATCH)
        .subquery()
    )
    last = sa.select(sa.func.max(batch.c.seq))
    if not dialect_of(connection).single_writer:
        last = last.where(batch.c.received < now - LAG)
    return start, connection.execute(last).scalar() or start


def claim_batch(connection: sa.Connection, start: int, end: int) -> bool:
    """Move the position and lock it until the transaction ends; return False if another worker has moved it."""
    return connection.execute(_MOVE, {"key": KEY, "start": str(start), "end": str(end)}).rowcount > 0


def add_to_logs(connection: sa.Connection, rows: Sequence[tuple[int, str, str | None, int, int]]) -> None:
    """Add to the logs of handlers: number of the handler, kind of the log, service, rows and bytes."""
    connection.execute(_ADD_TO_LOGS, {"rows": json_rows(sorted(rows))})


def _read_sums(connection: sa.Connection, start: int, end: int) -> Sequence[Row]:
    """Read how many deliveries there are in a batch, what they take, and when the last was, by handler and kind."""
    by_log: tuple[sa.ColumnElement[Any], ...] = (deliveries.c.handler_seq, KIND)
    sums = sa.select(
        *by_log,
        sa.func.max(deliveries.c.action_seq).label("action_seq"),
        sa.func.count().label("rows"),
        sa.func.sum(deliveries.c.kept_bytes).label("bytes"),
        sa.func.max(deliveries.c.received).label("last"),
    )
    summed = sums.where(deliveries.c.seq > start, deliveries.c.seq <= end).group_by(*by_log).subquery()
    with_service = summed.outerjoin(actions, actions.c.seq == summed.c.action_seq)
    return connection.execute(sa.select(summed, actions.c.service_uuid).select_from(with_service)).all()


def _add(connection: sa.Connection, sums: Sequence[Row]) -> None:
    add_to_logs(connection, [(row.handler_seq, row.kind, row.service_uuid, row.rows, row.bytes) for row in sums])
    calls: dict[int, tuple[int, int]] = {}
    for row in sums:
        number, last = calls.get(row.handler_seq, (0, 0))
        calls[row.handler_seq] = number + row.rows, max(last, microseconds(row.last))
    if not dialect_of(connection).single_writer:
        # In the order in which the intake locks handlers: otherwise the two could deadlock.
        called = sa.select(handlers.c.seq).where(handlers.c.seq.in_(calls))
        connection.execute(called.order_by(handlers.c.uuid).with_for_update(key_share=True)).all()
    rows = [(seq, *of_handler) for seq, of_handler in sorted(calls.items())]
    connection.execute(_ADD_CALLS, {"rows": json_rows(rows)})
