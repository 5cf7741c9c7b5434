"""The log of deliveries: the calls that each handler received, and the deletion of deliveries beyond its budget.

Counting with each call would change one page per handler of a batch. Instead, a worker counts many deliveries together
later, and a reader of a count adds the deliveries since then. Only counted deliveries are deleted, so that
`handler_logs` matches the existing deliveries.

A handler has three logs, so that refused calls of a stranger displace nothing else: `acted` (deliveries with an
action), `skipped` (also repeated deliveries) and `refused`.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain, groupby, islice
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from tutumd.model import DeliveryOutcome
from tutumd.store.objects.action_rows import IS_OF_ACTION
from tutumd.store.objects.row_mapping import Row
from tutumd.store.sql import StorePart, dialect_of, json_rows
from tutumd.store.tables import (
    CHUNK_BITS,
    actions,
    deliveries,
    delivery_chunks,
    handler_logs,
    handlers,
    meta,
    microseconds,
)

LAG = timedelta(minutes=1)
"""Only older deliveries are counted on PostgreSQL, where a lower `seq` may be committed after a higher one.

The lag is longer than any transaction. SQLite has one writer, and needs no lag.
"""

BATCH = 20_000
"""Number of deliveries in one batch. Deliveries are read while calls are stored; calls on SQLite wait only for the
writes.
"""

KEY = "counted"
"""Key in `meta` of the `seq` up to which deliveries are counted."""

ACTED, SKIPPED, REFUSED = "acted", "skipped", "refused"
IS_REFUSED = deliveries.c.outcome == DeliveryOutcome.REFUSED.value
KIND = sa.case((deliveries.c.action_seq.isnot(None), ACTED), (IS_REFUSED, REFUSED), else_=SKIPPED).label("kind")
"""The log of the handler to which a delivery belongs."""

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
    # PostgreSQL estimates an open range of a table without statistics at a third of the table, and would read the whole
    # table.
    return deliveries.c.seq.between(read_position(connection) + 1, _MAX_SEQ)


def recent_calls(connection: sa.Connection, handler_seqs: Sequence[int]) -> dict[int, tuple[int, datetime | None]]:
    """Return the number of uncounted deliveries and the time of the last delivery, by handler."""
    rows = connection.execute(
        sa.select(deliveries.c.handler_seq, sa.func.count(), sa.func.max(deliveries.c.received))
        .where(is_uncounted(connection), deliveries.c.handler_seq.in_(handler_seqs))
        .group_by(deliveries.c.handler_seq)
    )
    return {seq: (calls, last) for seq, calls, last in rows}


class SqlDeliveryLog(StorePart):
    """The part of Queue in tutumd.ports that counts and files deliveries."""

    def count_calls(self) -> bool:
        with self._database.read() as connection:  # calls do not wait in the meantime
            start, end = find_batch(connection, self._clock())
            sums = _read_sums(connection, start, end)
        if sums:
            with self._database.write() as connection:
                if claim_batch(connection, start, end):
                    _add(connection, sums)
        return end - start >= BATCH

    def trim_logs(self, limit: int, *, log_rows: int, log_bytes: int) -> bool:
        with self._database.read() as connection:
            exceeded = connection.execute(_select_exceeded(log_rows, log_bytes)).all()
            rows = list(islice(chain.from_iterable(_find_excess(connection, log, limit) for log in exceeded), limit))
        if rows:
            with self._database.write() as connection:
                delete(connection, rows)
        return bool(rows)


def find_batch(connection: sa.Connection, now: datetime) -> tuple[int, int]:
    """Return the range of deliveries to count next: the number before the first, and the last number; both are equal if
    there is none.
    """
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
    """Advance the position and lock it until the transaction ends; return False if another worker has advanced it."""
    return connection.execute(_MOVE, {"key": KEY, "start": str(start), "end": str(end)}).rowcount > 0


def add_to_logs(connection: sa.Connection, rows: Sequence[tuple[int, str, str | None, int, int]]) -> None:
    """Add sums to the logs of handlers. Each has: number of the handler, kind of the log, service, rows and bytes."""
    connection.execute(_ADD_TO_LOGS, {"rows": json_rows(sorted(rows))})


def _read_sums(connection: sa.Connection, start: int, end: int) -> Sequence[Row]:
    """Read the number and size of a batch's deliveries and the time of the last, by handler and kind."""
    by_log: tuple[sa.ColumnElement[Any], ...] = (deliveries.c.handler_seq, KIND)
    sums = sa.select(
        *by_log,
        sa.func.max(deliveries.c.action_seq).label("action_seq"),
        sa.func.count().label("rows"),
        sa.func.sum(deliveries.c.kept_bytes).label("bytes"),
        sa.func.max(deliveries.c.received).label("last"),
    )
    summed = sums.where(deliveries.c.seq > start, deliveries.c.seq <= end).group_by(*by_log).subquery()
    return connection.execute(
        sa.select(summed, actions.c.service_uuid).outerjoin_from(summed, actions, actions.c.seq == summed.c.action_seq)
    ).all()


def _add(connection: sa.Connection, sums: Sequence[Row]) -> None:
    add_to_logs(connection, [(row.handler_seq, row.kind, row.service_uuid, row.rows, row.bytes) for row in sums])
    calls: dict[int, tuple[int, int]] = {}
    for row in sums:
        number, last = calls.get(row.handler_seq, (0, 0))
        calls[row.handler_seq] = number + row.rows, max(last, microseconds(row.last))
    if not dialect_of(connection).single_writer:
        # In the order in which the intake changes handlers, because the two could deadlock otherwise.
        connection.execute(
            sa.select(handlers.c.seq)
            .where(handlers.c.seq.in_(calls))
            .order_by(handlers.c.seq)
            .with_for_update(key_share=True)
        ).all()
    connection.execute(_ADD_CALLS, {"rows": json_rows((seq, *called) for seq, called in sorted(calls.items()))})


_COUNTED = (deliveries.c.seq, deliveries.c.handler_seq, deliveries.c.action_seq, KIND, deliveries.c.kept_bytes)
_log_of = attrgetter("handler_seq", "kind")


def delete(connection: sa.Connection, rows: Sequence[Row]) -> None:
    """Delete deliveries, and subtract them from the logs of their handlers."""
    # Do not wait for calls that mark deliveries as superseded: locked deliveries are deleted later.
    free = (
        sa.select(deliveries.c.seq)
        .where(deliveries.c.seq.in_([row.seq for row in rows]))
        .with_for_update(skip_locked=True)
    )
    gone = connection.execute(sa.delete(deliveries).where(deliveries.c.seq.in_(free)).returning(*_COUNTED)).all()
    less: list[tuple[int, str, None, int, int]] = []
    for (handler_seq, kind), of_log in groupby(sorted(gone, key=_log_of), _log_of):
        sizes = [row.kept_bytes for row in of_log]
        less.append((handler_seq, kind, None, -len(sizes), -sum(sizes)))
    if less:
        add_to_logs(connection, less)
        connection.execute(
            sa.delete(handler_logs).where(
                handler_logs.c.handler_seq.in_([handler_seq for handler_seq, *_ in less]), handler_logs.c.rows <= 0
            )
        )
        oldest = sa.select(sa.func.min(deliveries.c.seq)).scalar_subquery()
        connection.execute(sa.delete(delivery_chunks).where(delivery_chunks.c.chunk < oldest // (1 << CHUNK_BITS)))


def _find_excess(connection: sa.Connection, log: Row, limit: int) -> Iterator[Row]:
    rows, size = log.rows - log.kept_rows, log.bytes - log.kept_bytes
    for row in connection.execute(_select_oldest(select_deletable(connection), log).limit(limit)).all():
        if rows <= 0 and size <= 0:
            return
        rows, size = rows - 1, size - row.kept_bytes
        yield row


def select_deletable(connection: sa.Connection) -> sa.Select[Any]:
    """Select the deliveries that `delete` may delete: those that are counted."""
    return sa.select(*_COUNTED).where(deliveries.c.seq <= read_position(connection))


def _select_exceeded(log_rows: int, log_bytes: int) -> sa.Select[Any]:
    """Select the logs beyond their budget, and how much of each can be kept."""
    max_rows = sa.case((handler_logs.c.kind == REFUSED, log_rows // 10), else_=log_rows)
    return sa.select(
        handler_logs,
        (max_rows * 9 // 10).label("kept_rows"),
        sa.literal(log_bytes * 9 // 10).label("kept_bytes"),
    ).where(sa.or_(handler_logs.c.rows > max_rows, handler_logs.c.bytes > log_bytes))


def _select_oldest(deletable: sa.Select[Any], log: Row) -> sa.Select[Any]:
    """Select the deliveries of a log, the oldest first.

    A handler's calls join the newest action of its operation, so the calls have the order of the actions.
    """
    oldest = deletable.where(deliveries.c.handler_seq == log.handler_seq)
    if log.kind == ACTED:
        return (
            oldest.select_from(actions)
            .join(deliveries, IS_OF_ACTION)
            .where(actions.c.service_uuid == log.service_uuid)
            .order_by(actions.c.seq, deliveries.c.seq)
        )
    is_kind = IS_REFUSED if log.kind == REFUSED else ~IS_REFUSED
    return oldest.where(deliveries.c.action_seq.is_(None), is_kind).order_by(deliveries.c.seq)
