"""The log of deliveries: what each handler's deliveries take, and which are deleted to keep within its budget.

A handler has three logs, so that calls of a stranger, which are refused, flush nothing else: `acted` (deliveries with
an action), `skipped` (also repeated ones) and `refused`.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, groupby, islice
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from tutumd.store.objects.action_deliveries import IS_OF_ACTION
from tutumd.store.objects.row_mapping import Row
from tutumd.store.sql.database import Database
from tutumd.store.tables.actions import CHUNK_BITS, actions, deliveries, delivery_chunks, handler_logs
from tutumd.store.upkeep.call_counts import ACTED, IS_REFUSED, KIND, REFUSED, add_to_logs, read_position

_MAX_POSITIONS = 10_000
_SIZE = deliveries.c.kept_bytes.label("size")
_COUNTED = (deliveries.c.seq, deliveries.c.handler_seq, deliveries.c.action_seq, KIND, _SIZE)
_log_of = attrgetter("handler_seq", "kind")


def find_deletable(connection: sa.Connection, seqs: Sequence[int]) -> Sequence[Row]:
    """Return those of these deliveries that `delete` may delete."""
    return connection.execute(_select_deletable(connection).where(deliveries.c.seq.in_(seqs))).all()


def delete(connection: sa.Connection, rows: Sequence[Row]) -> int:
    """Delete deliveries, take them out of the logs of their handlers, and return how many there were."""
    # Without waiting for calls that mark deliveries as superseded: what they hold is deleted another time.
    free = sa.select(deliveries.c.seq).where(deliveries.c.seq.in_([row.seq for row in rows]))
    is_free = deliveries.c.seq.in_(free.with_for_update(skip_locked=True))
    gone = connection.execute(sa.delete(deliveries).where(is_free).returning(*_COUNTED)).all()
    less: list[tuple[int, str, None, int, int]] = []
    for (handler_seq, kind), of_log in groupby(sorted(gone, key=_log_of), _log_of):
        sizes = [row.size for row in of_log]
        less.append((handler_seq, kind, None, -len(sizes), -sum(sizes)))
    if less:
        add_to_logs(connection, less)
        of_handlers = handler_logs.c.handler_seq.in_([handler_seq for handler_seq, *_ in less])
        connection.execute(sa.delete(handler_logs).where(of_handlers, handler_logs.c.rows <= 0))
        oldest = sa.select(sa.func.min(deliveries.c.seq)).scalar_subquery()
        connection.execute(sa.delete(delivery_chunks).where(delivery_chunks.c.chunk < oldest // (1 << CHUNK_BITS)))
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
        oldest = _select_oldest(_select_deletable(connection), log, position)
        for row in connection.execute(oldest.limit(limit)).all():
            if rows <= 0 and size <= 0:
                return
            rows, size = rows - 1, size - row.size
            yield row


def _select_deletable(connection: sa.Connection) -> sa.Select[Any]:
    """Select the deliveries that are counted."""
    return sa.select(*_COUNTED).where(deliveries.c.seq <= read_position(connection))


def _select_exceeded(log_rows: int, log_bytes: int) -> sa.Select[Any]:
    """Select the logs that are over their budget, and what of them can be kept."""
    max_rows = sa.case((handler_logs.c.kind == REFUSED, log_rows // 10), else_=log_rows)
    kept_bytes = sa.literal(log_bytes * 9 // 10).label("kept_bytes")
    return sa.select(handler_logs, (max_rows * 9 // 10).label("kept_rows"), kept_bytes).where(
        sa.or_(handler_logs.c.rows > max_rows, handler_logs.c.bytes > log_bytes)
    )


def _select_oldest(deletable: sa.Select[Any], log: Row, position: tuple[int, int]) -> sa.Select[Any]:
    """Select the deliveries of a log behind a position (numbers of an action and of a delivery), the oldest first.

    A handler's calls join the newest action of its operation, so their order is that of the actions.
    """
    action_seq, seq = position
    oldest = deletable.where(deliveries.c.handler_seq == log.handler_seq, deliveries.c.seq > seq)
    if log.kind == ACTED:
        joined = oldest.select_from(actions).join(deliveries, IS_OF_ACTION)
        of_service = joined.where(actions.c.service_uuid == log.service_uuid, actions.c.seq >= action_seq)
        return of_service.order_by(actions.c.seq, deliveries.c.seq)
    is_kind = IS_REFUSED if log.kind == REFUSED else ~IS_REFUSED
    return oldest.where(deliveries.c.action_seq.is_(None), is_kind).order_by(deliveries.c.seq)
