"""What is deleted after a while: deliveries, ended actions with their lines, containers and engines that are gone."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.store.tables import LIVE, actions, client_rates, containers, deliveries, engines, microseconds

MOST_DELIVERIES = 5_000_000
"""How many deliveries are kept in all, the newest."""

ENGINE_GONE_AFTER = timedelta(days=1)
"""How long an engine instance that no worker serves is told of, unless actions wait for it."""

Old = Mapping[sa.Table, list[Any]]


def find_old(connection: sa.Connection, now: datetime, keep: timedelta, limit: int) -> Old:
    """Find the keys of rows that may go, at most so many of each table.

    Rows are numbered in the order of their time, so looking at the first ones is enough, however many there are.
    """
    before = now - keep
    waited_for = sa.select(actions.c.uuid).where(actions.c.engine == engines.c.name, LIVE).exists()
    unserved = sa.select(engines.c.name).where(engines.c.seen < now - ENGINE_GONE_AFTER, ~waited_for).limit(limit)
    received = sa.select(deliveries.c.seq, deliveries.c.received).order_by(deliveries.c.seq).limit(limit)
    newest = connection.execute(sa.select(sa.func.max(deliveries.c.seq))).scalar() or 0
    ended = sa.select(actions.c.seq, actions.c.ended).order_by(actions.c.seq).limit(limit)
    gone = sa.select(containers.c.uuid).where(sa.not_(containers.c.present), containers.c.stopped < before)
    full = sa.select(client_rates.c.address).where(client_rates.c.rate_tat < microseconds(before)).limit(limit)
    return {
        engines: list(connection.execute(unserved).scalars()),
        client_rates: list(connection.execute(full).scalars()),
        deliveries: [
            row.seq
            for row in connection.execute(received)
            if row.received < before or row.seq <= newest - MOST_DELIVERIES
        ],
        actions: [row.seq for row in connection.execute(ended) if row.ended is not None and row.ended < before],
        containers: [row.uuid for row in connection.execute(gone.limit(limit))],
    }


def delete(connection: sa.Connection, old: Old) -> int:
    """Delete rows by their keys; lines go with their actions."""
    deleted = 0
    for table, keys in old.items():
        if keys:
            (key,) = table.primary_key.columns
            deleted += connection.execute(sa.delete(table).where(key.in_(keys))).rowcount
    return deleted
