"""Counts of the calls that handlers received, and the time of the last one.

Counting with each call would change a page per handler of a batch. Instead, a worker counts many deliveries at once
later, and a reader of a count adds the deliveries since.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from tutumd.store.tables import deliveries, handlers, meta
from tutumd.store.upsert import insert_missing

LAG = timedelta(minutes=1)
"""Only older deliveries are counted on PostgreSQL, where a lower `seq` may be committed after a higher one.

It is longer than any transaction lasts. SQLite has one writer, and needs no lag.
"""

BATCH = 2_000
"""Deliveries counted at once: few enough that calls, which wait for it on SQLite, wait some milliseconds."""

KEY = "counted"
"""Key in `meta` of the `seq` up to which deliveries are counted."""

_select_counted = sa.select(meta.c.value).where(meta.c.key == KEY)


def counted_up_to(connection: sa.Connection) -> int:
    """Return the `seq` up to which deliveries are counted."""
    return int(connection.execute(_select_counted).scalar() or 0)


def recent_calls(connection: sa.Connection, handler_seqs: Sequence[int]) -> dict[int, tuple[int, datetime | None]]:
    """Return the number of handlers' deliveries that are not counted yet, and the time of the last, by handler."""
    if not handler_seqs:
        return {}
    rows = connection.execute(
        sa.select(deliveries.c.handler_seq, sa.func.count(), sa.func.max(deliveries.c.received))
        .where(deliveries.c.seq > counted_up_to(connection), deliveries.c.handler_seq.in_(handler_seqs))
        .group_by(deliveries.c.handler_seq)
    )
    return {seq: (calls, last) for seq, calls, last in rows}


def count(connection: sa.Connection, now: datetime) -> bool:
    """Count one batch of deliveries, and return whether there may be more."""
    if connection.execute(_select_counted).scalar() is None:
        insert_missing(connection, meta, key=KEY, value="0")
    start = int(connection.execute(_select_counted.with_for_update()).scalar_one())
    batch = (
        sa.select(deliveries.c.seq, deliveries.c.handler_seq, deliveries.c.received)
        .where(deliveries.c.seq > start)
        .order_by(deliveries.c.seq)
        .limit(BATCH)
        .subquery()
    )
    last = sa.select(sa.func.max(batch.c.seq))
    is_postgres = connection.dialect.name == "postgresql"
    if is_postgres:
        last = last.where(batch.c.received < now - LAG)
    end = connection.execute(last).scalar()
    if end is None:
        return False
    sums = (
        sa.select(batch.c.handler_seq, sa.func.count().label("calls"), sa.func.max(batch.c.received).label("last"))
        .where(batch.c.seq <= end)
        .group_by(batch.c.handler_seq)
        .subquery()
    )
    if is_postgres:
        # In the order in which the intake locks handlers: otherwise the two could deadlock.
        called = sa.select(handlers.c.seq).where(handlers.c.seq.in_(sa.select(sums.c.handler_seq)))
        connection.execute(called.order_by(handlers.c.uuid).with_for_update(key_share=True)).all()
    connection.execute(
        sa.update(handlers)
        .where(handlers.c.seq == sums.c.handler_seq)
        .values(calls=handlers.c.calls + sums.c.calls, last_called=sums.c.last)
    )
    connection.execute(sa.update(meta).where(meta.c.key == KEY).values(value=str(end)))
    return bool(end - start >= BATCH)
