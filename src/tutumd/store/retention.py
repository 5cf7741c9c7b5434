"""Retention: deletes old deliveries, ended actions with their logs, gone containers and unserved engines."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.store.tables import LIVE, actions, containers, deliveries, engines

MAX_DELIVERIES = 5_000_000
"""Deliveries kept in all; the newest stay."""

MAX_GONE = 100
"""Gone containers of a service that are kept; the newest stay."""

FORGET_ENGINE_AFTER = timedelta(days=1)
"""An engine instance without a worker for this long is deleted, unless actions wait for it."""

Keys = Mapping[sa.Table, Sequence[Any]]
"""Primary keys of rows by their table."""


def find_old(connection: sa.Connection, now: datetime, keep: timedelta, limit: int) -> Keys:
    """Return the keys of rows to delete, at most `limit` of each table.

    Deliveries and actions are numbered in the order of their time, so only the first ones are read.
    """
    before = now - keep
    is_waited_for = sa.select(actions.c.uuid).where(actions.c.engine == engines.c.name, LIVE).exists()
    unserved = sa.select(engines.c.name).where(engines.c.last_heartbeat < now - FORGET_ENGINE_AFTER, ~is_waited_for)
    first_deliveries = sa.select(deliveries.c.seq, deliveries.c.received).order_by(deliveries.c.seq).limit(limit)
    newest = connection.execute(sa.select(sa.func.max(deliveries.c.seq))).scalar() or 0
    first_actions = sa.select(actions.c.seq, actions.c.ended).where(sa.not_(actions.c.abandoned))
    first_actions = first_actions.order_by(actions.c.seq).limit(limit)
    gone = sa.select(containers.c.uuid).where(sa.not_(containers.c.present), containers.c.stopped < before)
    return {
        engines: connection.execute(unserved.limit(limit)).scalars().all(),
        deliveries: [
            row.seq
            for row in connection.execute(first_deliveries)
            if row.received < before or row.seq <= newest - MAX_DELIVERIES
        ],
        actions: [row.seq for row in connection.execute(first_actions) if row.ended is not None and row.ended < before],
        containers: [*connection.execute(gone.limit(limit)).scalars(), *_find_surplus(connection, limit)],
    }


def _find_surplus(connection: sa.Connection, limit: int) -> Sequence[str]:
    """Return gone containers beyond the newest ones of a service: a crash loop leaves one a minute."""
    gone = sa.select(containers.c.service_uuid).where(sa.not_(containers.c.present)).group_by(containers.c.service_uuid)
    crowded = connection.execute(gone.having(sa.func.count() > MAX_GONE).limit(1)).scalar()
    oldest = (
        sa.select(containers.c.uuid)
        .where(containers.c.service_uuid == crowded, sa.not_(containers.c.present))
        .order_by(containers.c.stopped.desc().nulls_last())
    )
    return connection.execute(oldest.offset(MAX_GONE).limit(limit)).scalars().all()


def delete(connection: sa.Connection, keys: Keys) -> int:
    """Delete rows by their keys, and return how many there were. Log lines go with their actions."""
    deleted = 0
    for table, values in keys.items():
        if values:
            (key,) = table.primary_key.columns
            # A container may have come back in the meantime.
            is_gone = sa.not_(containers.c.present) if table is containers else sa.true()
            deleted += connection.execute(sa.delete(table).where(key.in_(values), is_gone)).rowcount
    return deleted
