"""Retention: deletes old deliveries, ended actions with their parts, gone containers, old entries of the audit log, and
what nobody refers to.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.store.intake.sender_keys import select_dead
from tutumd.store.objects.audit import select_old
from tutumd.store.objects.row_mapping import Row
from tutumd.store.sql.database import Database
from tutumd.store.tables.accounts import api_keys, audit, login_links, sessions
from tutumd.store.tables.actions import LIVE, action_lines, action_totals, actions, deliveries, key_counts, sender_keys
from tutumd.store.tables.services import (
    containers,
    discoveries,
    engines,
    pulled_images,
    requests,
    services,
    worker_slots,
)
from tutumd.store.upkeep import delivery_log

FORGET_ENGINE_AFTER = timedelta(days=1)
"""An engine instance without a worker for this long is deleted, unless actions wait for it."""

FORGET_WORKER_AFTER = timedelta(minutes=10)
"""The slots of a worker without a heartbeat for this long are deleted."""

MAX_REQUEST_AGE = timedelta(minutes=1)
"""A request to a worker, or its response, that nobody has read after this long is deleted."""

MAX_GONE_CONTAINERS = 100
"""Containers kept of a service that are gone; the newest stay. A crash loop makes 1,440 a day."""

Keys = Mapping[sa.Table, Sequence[Any]]
"""Primary keys of rows, each as a tuple, by their table."""


class Retention:
    """Deletes what is old, wherever it stands.

    Deliveries and actions are numbered in the order of their time. Each batch reads on from where the last one ended,
    past rows that stay, such as actions of a retired host; after the last old row, it begins again with the first one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._positions: dict[sa.Table, int] = {}

    def prune(self, now: datetime, keep: timedelta, limit: int, keep_audit: timedelta) -> bool:
        """Delete a batch of at most `limit` rows of each table, and return whether there may be more."""
        before = now - keep
        with self._database.read() as connection:
            read_deliveries = self._read_next(connection, deliveries, deliveries.c.received, limit)
            aged = [row.seq for row in read_deliveries if row.time < before]
            old_deliveries = delivery_log.find_deletable(connection, aged)
            read_actions = self._read_next(connection, actions, actions.c.created, limit)
            aged_actions = [row.seq for row in read_actions if row.time < before]
            # The journal of an abandoned action is what the next run of its service clears up.
            is_old = sa.and_(actions.c.seq.in_(aged_actions), actions.c.ended < before, ~actions.c.abandoned)
            old_actions = connection.execute(sa.select(actions.c.seq, actions.c.uuid).where(is_old)).all()
            # Their lines go first: there may be many. Their amounts go with them: a retry reads all or none.
            lines = sa.select(action_lines.c.seq).where(
                action_lines.c.action_uuid.in_([row.uuid for row in old_actions])
            )
            old_lines = connection.execute(lines.limit(limit)).all()
            is_complete = len(old_lines) < limit
            whole = {actions: [(row.seq,) for row in old_actions]} if is_complete else {}
            unused = _find_unused(connection, now, before, limit)
            old_entries = connection.execute(select_old(now - keep_audit, limit)).all()
            keys: Keys = {action_lines: old_lines, audit: old_entries, **whole, **unused}
        if old_deliveries or any(keys.values()):
            with self._database.write() as connection:
                delivery_log.delete(connection, old_deliveries)
                delete(connection, keys)
        positions = {deliveries: _end_of(read_deliveries, before, limit)}
        positions[actions] = _end_of(read_actions, before, limit) if is_complete else self._positions.get(actions, 0)
        self._positions = positions
        return bool(old_deliveries) or any(keys.values()) or any(positions.values())

    def _read_next(
        self, connection: sa.Connection, table: sa.Table, time: sa.ColumnElement[datetime], limit: int
    ) -> Sequence[Row]:
        """Return number and time of the next rows of a table."""
        behind = table.c.seq > self._positions.get(table, 0)
        statement = sa.select(table.c.seq, time.label("time")).where(behind).order_by(table.c.seq).limit(limit)
        return connection.execute(statement).all()


def _end_of(rows: Sequence[Row], before: datetime, limit: int) -> int:
    """Return the number of the last row if more old ones may follow, else 0."""
    return int(rows[-1].seq) if len(rows) == limit and rows[-1].time < before else 0


def _find_unused(connection: sa.Connection, now: datetime, before: datetime, limit: int) -> Keys:
    """Return the keys of rows that need no order, or have none."""
    is_waited_for = sa.select(actions.c.uuid).where(actions.c.engine == engines.c.name, LIVE).exists()
    has_action = sa.select(actions.c.uuid).where(actions.c.service_uuid == services.c.uuid).exists()
    has_container = sa.select(containers.c.uuid).where(containers.c.service_uuid == services.c.uuid).exists()
    is_gone = sa.not_(containers.c.present)
    statements: dict[sa.Table, sa.Select[Any]] = {
        engines: sa.select(engines.c.name).where(engines.c.last_heartbeat < now - FORGET_ENGINE_AFTER, ~is_waited_for),
        discoveries: sa.select(discoveries.c.engine).where(discoveries.c.engine.not_in(sa.select(engines.c.name))),
        worker_slots: sa.select(worker_slots.c.worker, worker_slots.c.engine).where(
            worker_slots.c.last_heartbeat < now - FORGET_WORKER_AFTER
        ),
        action_totals: sa.select(*action_totals.primary_key.columns).where(
            action_totals.c.engine.not_in(sa.select(engines.c.name))
        ),
        pulled_images: sa.select(pulled_images).where(pulled_images.c.engine.not_in(sa.select(engines.c.name))),
        services: sa.select(services.c.uuid).where(services.c.terminated, ~has_action, ~has_container),
        containers: sa.select(containers.c.uuid).where(is_gone, containers.c.stopped < before),
        requests: sa.select(requests.c.seq).where(requests.c.created < now - MAX_REQUEST_AGE),
        sessions: sa.select(sessions.c.seq).where(sessions.c.expires <= now),
        api_keys: sa.select(api_keys.c.key_sha256).where(api_keys.c.expires < before),
        login_links: sa.select(login_links.c.token_sha256).where(login_links.c.expires <= now),
        **{table: select_dead(table, now) for table in (sender_keys, key_counts)},
    }
    found = {table: list(connection.execute(select.limit(limit))) for table, select in statements.items()}
    for service in connection.execute(_select_crowded().limit(limit)).scalars():
        surplus = sa.select(containers.c.uuid).where(is_gone, containers.c.service_uuid == service)
        newest_first = surplus.order_by(containers.c.stopped.desc()).offset(MAX_GONE_CONTAINERS)
        found[containers] += connection.execute(newest_first.limit(max(0, limit - len(found[containers]))))
    return found


def _select_crowded() -> sa.Select[Any]:
    """Select the services with more gone containers than are kept."""
    of_service = (
        sa.select(containers.c.service_uuid).where(sa.not_(containers.c.present)).group_by(containers.c.service_uuid)
    )
    return of_service.having(sa.func.count() > MAX_GONE_CONTAINERS)


def delete(connection: sa.Connection, keys: Keys) -> None:
    """Delete rows by their keys, but no service or container that came back in the meantime."""
    is_gone = {services: services.c.terminated, containers: sa.not_(containers.c.present)}
    for table, values in keys.items():
        if values:
            key = sa.tuple_(*table.primary_key.columns)
            connection.execute(sa.delete(table).where(key.in_(values), is_gone.get(table, sa.true())))
