"""The log of deliveries: what each handler's deliveries take, and which are deleted to keep within its budget.

A handler has three logs, so that calls of a stranger, which are refused, flush nothing else: `acted` (deliveries with
an action), `skipped` (also repeated ones) and `refused`.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain, groupby, islice
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from tutumd.model import DeliveryOutcome
from tutumd.store import call_counts
from tutumd.store.database import Database
from tutumd.store.row_mapping import Row
from tutumd.store.tables.actions import action_deliveries, actions, deliveries, handler_logs

KEY = "logged"
"""Key in `meta` of the `seq` up to which deliveries are part of `handler_logs`."""

_MAX_POSITIONS = 10_000
_ACTED, _SKIPPED, _REFUSED = "acted", "skipped", "refused"
_IS_REFUSED = deliveries.c.outcome == DeliveryOutcome.REFUSED.value
_KIND = sa.case((deliveries.c.action_seq.isnot(None), _ACTED), (_IS_REFUSED, _REFUSED), else_=_SKIPPED).label("kind")
_SIZE = deliveries.c.kept_bytes.label("size")
_COUNTED = (deliveries.c.seq, deliveries.c.handler_seq, deliveries.c.action_seq, _KIND, _SIZE)
_log_of = attrgetter("handler_seq", "kind")

_ADD = sa.text(
    'INSERT INTO handler_logs (handler_seq, kind, service_uuid, "rows", bytes) '
    "VALUES (:handler_seq, :kind, :service_uuid, :rows, :bytes) ON CONFLICT (handler_seq, kind) "
    'DO UPDATE SET "rows" = handler_logs."rows" + excluded."rows", bytes = handler_logs.bytes + excluded.bytes, '
    "service_uuid = COALESCE(excluded.service_uuid, handler_logs.service_uuid)"
)


def count(database: Database, now: datetime) -> bool:
    """Add one batch of deliveries to the logs of their handlers, and return whether there may be more."""
    with database.read() as connection:  # calls do not wait while it reads content, of which it needs the length
        start, end = call_counts.find_batch(connection, KEY, now)
        sums = connection.execute(
            sa.select(
                deliveries.c.handler_seq,
                _KIND,
                sa.func.max(actions.c.service_uuid).label("service_uuid"),
                sa.func.count().label("rows"),
                sa.func.sum(_SIZE).label("bytes"),
            )
            .outerjoin(actions, actions.c.seq == deliveries.c.action_seq)
            .where(deliveries.c.seq > start, deliveries.c.seq <= end)
            .group_by(deliveries.c.handler_seq, _KIND)
            .order_by(deliveries.c.handler_seq, _KIND)
        ).all()
    if sums:
        with database.write() as connection:
            if call_counts.claim_batch(connection, KEY, start, end):
                connection.execute(_ADD, [row._asdict() for row in sums])
    return end - start >= call_counts.BATCH


def find_deletable(connection: sa.Connection, seqs: Sequence[int]) -> Sequence[Row]:
    """Return those of these deliveries that `delete` may delete."""
    return connection.execute(_select_deletable(connection).where(deliveries.c.seq.in_(seqs))).all()


def delete(connection: sa.Connection, rows: Sequence[Row]) -> int:
    """Delete deliveries, take them out of the logs of their handlers, and return how many there were."""
    # Without waiting for calls that mark deliveries as superseded: what they hold is deleted another time.
    free = sa.select(deliveries.c.seq).where(deliveries.c.seq.in_([row.seq for row in rows]))
    is_free = deliveries.c.seq.in_(free.with_for_update(skip_locked=True))
    gone = connection.execute(sa.delete(deliveries).where(is_free).returning(*_COUNTED)).all()
    if connection.dialect.name == "sqlite" and gone:
        pairs = sa.tuple_(*action_deliveries.primary_key.columns).in_([(row.action_seq, row.seq) for row in gone])
        connection.execute(sa.delete(action_deliveries).where(pairs))
    less = []
    for (handler_seq, kind), of_log in groupby(sorted(gone, key=_log_of), _log_of):
        sizes = [row.size for row in of_log]
        less.append({"handler_seq": handler_seq, "kind": kind, "rows": -len(sizes), "bytes": -sum(sizes)})
    if less:
        connection.execute(_ADD, [{**log, "service_uuid": None} for log in less])
        of_handlers = handler_logs.c.handler_seq.in_([log["handler_seq"] for log in less])
        connection.execute(sa.delete(handler_logs).where(of_handlers, handler_logs.c.rows <= 0))
    return len(gone)


class LogTrimmer:
    """Deletes what is beyond the budgets. Remembers how far it got in each log, so as not to read again what stays."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._positions: dict[tuple[int, str], tuple[int, int]] = {}

    def trim(self, limit: int, *, log_rows: int, log_bytes: int) -> bool:
        """Delete the oldest deliveries of logs that are over their budget, at most `limit`; as Queue.trim_logs."""
        with self._database.read() as connection:
            exceeded = connection.execute(_select_exceeded(log_rows, log_bytes)).all()
            rows = list(
                islice(chain.from_iterable(self._find_excess(connection, log, limit) for log in exceeded), limit)
            )
        if rows:
            with self._database.write() as connection:
                deleted = delete(connection, rows)
            if deleted == len(rows) and len(self._positions) < _MAX_POSITIONS:
                self._positions |= {(row.handler_seq, row.kind): (row.action_seq or 0, row.seq) for row in rows}
        return bool(rows)

    def _find_excess(self, connection: sa.Connection, log: Row, limit: int) -> Iterator[Row]:
        rows, size = log.rows - log.kept_rows, log.bytes - log.kept_bytes
        position = self._positions.pop((log.handler_seq, log.kind), (0, 0))
        oldest = _select_oldest(connection, _select_deletable(connection), log, position)
        for row in connection.execute(oldest.limit(limit)).all():
            if rows <= 0 and size <= 0:
                return
            rows, size = rows - 1, size - row.size
            yield row


def _select_deletable(connection: sa.Connection) -> sa.Select[Any]:
    """Select the deliveries that are counted."""
    counted_to = min(call_counts.read_position(connection, key) for key in (call_counts.KEY, KEY))
    return sa.select(*_COUNTED).where(deliveries.c.seq <= counted_to)


def _select_exceeded(log_rows: int, log_bytes: int) -> sa.Select[Any]:
    """Select the logs that are over their budget, and what of them can be kept."""
    max_rows = sa.case((handler_logs.c.kind == _REFUSED, log_rows // 10), else_=log_rows)
    kept_bytes = sa.literal(log_bytes * 9 // 10).label("kept_bytes")
    return sa.select(handler_logs, (max_rows * 9 // 10).label("kept_rows"), kept_bytes).where(
        sa.or_(handler_logs.c.rows > max_rows, handler_logs.c.bytes > log_bytes)
    )


def _select_oldest(
    connection: sa.Connection, deletable: sa.Select[Any], log: Row, position: tuple[int, int]
) -> sa.Select[Any]:
    """Select the deliveries of a log behind a position (numbers of an action and of a delivery), the oldest first.

    A handler's calls join the newest action of its operation, so their order is that of the actions.
    """
    action_seq, seq = position
    oldest = deletable.where(deliveries.c.handler_seq == log.handler_seq, deliveries.c.seq > seq)
    if log.kind == _ACTED:
        filed = deliveries
        if connection.dialect.name == "sqlite":
            filed = action_deliveries
            oldest = oldest.join(filed, filed.c.seq == deliveries.c.seq)
        joined = oldest.join(actions, actions.c.seq == filed.c.action_seq)
        of_service = joined.where(actions.c.service_uuid == log.service_uuid, actions.c.seq >= action_seq)
        return of_service.order_by(actions.c.seq, filed.c.seq)
    is_kind = _IS_REFUSED if log.kind == _REFUSED else ~_IS_REFUSED
    return oldest.where(deliveries.c.action_seq.is_(None), is_kind).order_by(deliveries.c.seq)
