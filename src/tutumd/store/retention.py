"""What is deleted after a while: deliveries, ended actions with their lines, containers that are gone."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.store.tables import ENDED, actions, containers, deliveries

MOST_DELIVERIES = 10_000
"""How many deliveries of one handler are kept, the newest."""

Old = Mapping[sa.Table, list[Any]]


def find_old(connection: sa.Connection, before: datetime, most: int) -> Old:
    """Find the keys of rows that may go, at most so many of each table."""
    ended = sa.select(actions.c.seq).where(ENDED, actions.c.ended < before)
    gone = sa.select(containers.c.uuid).where(sa.not_(containers.c.present), containers.c.stopped < before)
    received = sa.select(deliveries.c.seq).where(deliveries.c.received < before)
    old: dict[sa.Table, list[Any]] = {
        deliveries: _keys(connection, received.order_by(deliveries.c.seq), most),
        actions: _keys(connection, ended.order_by(actions.c.seq), most),
        containers: _keys(connection, gone, most),
    }
    if not old[deliveries]:
        old[deliveries] = _too_many(connection, most)
    return old


def delete(connection: sa.Connection, old: Old) -> int:
    """Delete rows by their keys; lines go with their actions."""
    deleted = 0
    for table, keys in old.items():
        if keys:
            key = table.c.uuid if table is containers else table.c.seq
            deleted += connection.execute(sa.delete(table).where(key.in_(keys))).rowcount
    return deleted


def _keys(connection: sa.Connection, statement: sa.Select[Any], most: int) -> list[Any]:
    return [row[0] for row in connection.execute(statement.limit(most))]


def _too_many(connection: sa.Connection, most: int) -> list[Any]:
    counted = (
        sa.select(deliveries.c.handler_uuid)
        .group_by(deliveries.c.handler_uuid)
        .having(sa.func.count() > MOST_DELIVERIES)
        .limit(1)
    )
    handler = connection.execute(counted).scalar()
    if handler is None:
        return []
    newest = (
        sa.select(deliveries.c.seq)
        .where(deliveries.c.handler_uuid == handler)
        .order_by(deliveries.c.seq.desc())
        .offset(MOST_DELIVERIES)
    )
    return _keys(connection, newest, most)
