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


def read_position(connection: sa.Connection, key: str = KEY) -> int:
    """Return the `seq` up to which deliveries are counted."""
    return int(connection.execute(sa.select(meta.c.value).where(meta.c.key == key)).scalar() or 0)


def recent_calls(connection: sa.Connection, handler_seqs: Sequence[int]) -> dict[int, tuple[int, datetime | None]]:
    """Return the number of handlers' deliveries that are not counted yet, and the time of the last, by handler."""
    if not handler_seqs:
        return {}
    rows = connection.execute(
        sa.select(deliveries.c.handler_seq, sa.func.count(), sa.func.max(deliveries.c.received))
        .where(deliveries.c.seq > read_position(connection), deliveries.c.handler_seq.in_(handler_seqs))
        .group_by(deliveries.c.handler_seq)
    )
    return {seq: (calls, last) for seq, calls, last in rows}


def next_batch(connection: sa.Connection, key: str, now: datetime) -> tuple[int, int]:
    """Lock the position of a count in `meta`, and return the numbers after and up to which to count next."""
    stored = sa.select(meta.c.value).where(meta.c.key == key)
    if connection.execute(stored).scalar() is None:
        insert_missing(connection, meta, key=key, value="0")
    start = int(connection.execute(stored.with_for_update()).scalar_one())
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


def end_batch(connection: sa.Connection, key: str, start: int, end: int) -> bool:
    """Store the new position of a count, and return whether there may be more to count."""
    if end > start:
        connection.execute(sa.update(meta).where(meta.c.key == key).values(value=str(end)))
    return end - start >= BATCH


def count(connection: sa.Connection, now: datetime) -> bool:
    """Count one batch of deliveries, and return whether there may be more."""
    start, end = next_batch(connection, KEY, now)
    if end == start:
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
    return end_batch(connection, KEY, start, end)
