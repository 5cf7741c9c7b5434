"""Counts of the calls that handlers received, and the time of the last one.

Counting with each call would change a page per handler of a batch. Instead, a worker counts many deliveries at once
later, and a reader of a count adds the deliveries since.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from tutumd.store.tables.actions import deliveries
from tutumd.store.tables.schema import meta
from tutumd.store.tables.services import handlers

LAG = timedelta(minutes=1)
"""Only older deliveries are counted on PostgreSQL, where a lower `seq` may be committed after a higher one.

It is longer than any transaction lasts. SQLite has one writer, and needs no lag.
"""

BATCH = 2_000
"""Deliveries counted at once: few enough that calls, which wait for it on SQLite, wait some milliseconds."""

KEY = "counted"
"""Key in `meta` of the `seq` up to which deliveries are counted."""

_MAX_SEQ = 2**63 - 1
_MOVE = sa.text(
    "INSERT INTO meta (key, value) VALUES (:key, :end) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE meta.value = :start"
)


def read_position(connection: sa.Connection, key: str = KEY) -> int:
    """Return the `seq` up to which deliveries are counted."""
    return int(connection.execute(sa.select(meta.c.value).where(meta.c.key == key)).scalar() or 0)


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


def find_batch(connection: sa.Connection, key: str, now: datetime) -> tuple[int, int]:
    """Return the numbers of the deliveries after which, and up to which, to count next; the same one if there are none.

    Args:
        key: Of the position, in `meta`.
    """
    start = read_position(connection, key)
    batch = (
        sa.select(deliveries.c.seq, deliveries.c.received)
        .where(deliveries.c.seq > start)
        .order_by(deliveries.c.seq)
        .limit(BATCH)
        .subquery()
    )
    last = sa.select(sa.func.max(batch.c.seq))
    if connection.dialect.name == "postgresql":
        last = last.where(batch.c.received < now - LAG)
    return start, connection.execute(last).scalar() or start


def claim_batch(connection: sa.Connection, key: str, start: int, end: int) -> bool:
    """Move a position and lock it until the transaction ends; return False if another worker has moved it."""
    return connection.execute(_MOVE, {"key": key, "start": str(start), "end": str(end)}).rowcount > 0


def count(connection: sa.Connection, now: datetime) -> bool:
    """Count one batch of deliveries, and return whether there may be more."""
    start, end = find_batch(connection, KEY, now)
    if end == start or not claim_batch(connection, KEY, start, end):
        return False
    sums = (
        sa.select(
            deliveries.c.handler_seq,
            sa.func.count().label("calls"),
            sa.func.max(deliveries.c.received).label("last"),
        )
        .where(deliveries.c.seq > start, deliveries.c.seq <= end)
        .group_by(deliveries.c.handler_seq)
        .subquery()
    )
    if connection.dialect.name == "postgresql":
        # In the order in which the intake locks handlers: otherwise the two could deadlock.
        called = sa.select(handlers.c.seq).where(handlers.c.seq.in_(sa.select(sums.c.handler_seq)))
        connection.execute(called.order_by(handlers.c.uuid).with_for_update(key_share=True)).all()
    connection.execute(
        sa.update(handlers)
        .where(handlers.c.seq == sums.c.handler_seq)
        .values(calls=handlers.c.calls + sums.c.calls, last_called=sums.c.last)
    )
    return end - start >= BATCH
