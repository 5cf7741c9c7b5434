"""How often handlers were called, and when last.

To count in a handler's row with each call would change a page for each handler of a batch. So deliveries are counted
afterwards, many at once; what is not counted yet is looked up where it is asked for.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from tutumd.store.tables import deliveries, handlers, meta

LAG = timedelta(minutes=1)
"""Longer than a transaction can last: on PostgreSQL a lower number may be committed after a higher one. SQLite has one
writer, and needs no such time."""

PART = 2_000
"""So few that calls, which wait meanwhile on SQLite, do so for some milliseconds only."""

KEY = "counted"
"""In `meta`: up to which number deliveries were counted."""


def counted(connection: sa.Connection) -> int:
    """Read up to which number deliveries were counted."""
    found = connection.execute(sa.select(meta.c.value).where(meta.c.key == KEY)).scalar()
    return int(found or 0)


def not_counted(connection: sa.Connection, handler_seqs: Sequence[int]) -> dict[int, tuple[int, datetime | None]]:
    """Count what handlers received since; answers the number and the time of the last."""
    if not handler_seqs:
        return {}
    rows = connection.execute(
        sa.select(deliveries.c.handler_seq, sa.func.count(), sa.func.max(deliveries.c.received))
        .where(deliveries.c.seq > counted(connection), deliveries.c.handler_seq.in_(handler_seqs))
        .group_by(deliveries.c.handler_seq)
    )
    return {seq: (number, last) for seq, number, last in rows}


def count(connection: sa.Connection, now: datetime) -> bool:
    """Count deliveries that are old enough, at most so many; answers whether there may be more."""
    locked = connection.execute(sa.select(meta.c.value).where(meta.c.key == KEY).with_for_update()).scalar()
    if locked is None:
        connection.execute(sa.insert(meta).values(key=KEY, value="0"))
    start = int(locked or 0)
    part = (
        sa.select(deliveries.c.seq, deliveries.c.handler_seq, deliveries.c.received)
        .where(deliveries.c.seq > start)
        .order_by(deliveries.c.seq)
        .limit(PART)
        .subquery()
    )
    newest = sa.select(sa.func.max(part.c.seq))
    if connection.dialect.name == "postgresql":
        newest = newest.where(part.c.received < now - LAG)
    end = connection.execute(newest).scalar()
    if end is None:
        return False
    sums = (
        sa.select(part.c.handler_seq, sa.func.count().label("number"), sa.func.max(part.c.received).label("last"))
        .where(part.c.seq <= end)
        .group_by(part.c.handler_seq)
        .subquery()
    )
    # In the order in which the intake locks handlers, or the two could wait for each other.
    if connection.dialect.name == "postgresql":
        called = sa.select(handlers.c.seq).where(handlers.c.seq.in_(sa.select(sums.c.handler_seq)))
        connection.execute(called.order_by(handlers.c.uuid).with_for_update(key_share=True)).all()
    connection.execute(
        sa.update(handlers)
        .where(handlers.c.seq == sums.c.handler_seq)
        .values(calls=handlers.c.calls + sums.c.number, last_called=sums.c.last)
    )
    connection.execute(sa.update(meta).where(meta.c.key == KEY).values(value=str(end)))
    return bool(end - start >= PART)
