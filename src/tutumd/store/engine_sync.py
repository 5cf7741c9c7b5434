"""What engines show, as rows: services that are new, changed, missing, or forgotten."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.model import EngineInfo, ServiceSnapshot
from tutumd.ports import Clock
from tutumd.store import snapshots as snapshot_rows
from tutumd.store.database import Database
from tutumd.store.row_mapping import Row, lock_services
from tutumd.store.tables import LIVE, actions, engines, handlers, meta, services

SYNC_BATCH = 50
FORGET_AFTER = timedelta(days=1)
"""How long a service that its engine no longer shows, and that has no handler, stays listed."""


class SqlShown:
    """The part of Queue of ports.py that is about what engines show."""

    _database: Database
    _clock: Clock

    def sync(
        self,
        engine: EngineInfo,
        snapshots: Sequence[ServiceSnapshot],
        *,
        is_unreadable: Callable[[str], bool] = lambda selector: False,
    ) -> None:
        """See ports.py."""
        shown = {snapshot.selector: snapshot for snapshot in snapshots}
        with self._database.read() as connection:
            known = _rows_of(connection, engine.name)
            forgettable = _forgettable(connection, engine.name, self._clock() - FORGET_AFTER)
        changed = [s for s in shown.values() if not _is_current(known.get(s.selector), s)]
        absent = [row for row in known.values() if row.unbound is None and row.selector not in shown]
        missing = [row.uuid for row in absent if not is_unreadable(row.selector)]
        if not changed and not missing and not forgettable:
            return
        for part in batched(sorted(changed, key=lambda snapshot: snapshot.selector), SYNC_BATCH):
            self._sync_part(engine, part)
        with self._database.write() as connection:
            if missing:
                lock_services(connection, missing)
                snapshot_rows.unbind(connection, missing, self._clock())
            if forgettable:
                _forget(connection, engine.name, forgettable, self._clock() - FORGET_AFTER)

    def _sync_part(self, engine: EngineInfo, snapshots: Sequence[ServiceSnapshot]) -> None:
        now = self._clock()
        with self._database.write() as connection:
            # Two workers that see a new service at once would both store it.
            connection.execute(sa.select(engines.c.name).where(engines.c.name == engine.name).with_for_update()).all()
            known = _rows_of(connection, engine.name)
            present = [known[s.selector].uuid for s in snapshots if s.selector in known]
            lock_services(connection, present)
            for snapshot in snapshots:
                row = known.get(snapshot.selector)
                uuid = row.uuid if row else _new_service(connection, engine, snapshot, now)
                snapshot_rows.store_snapshot(connection, uuid, snapshot, now=now, final=False)


def batched(items: Sequence[ServiceSnapshot], size: int) -> Iterator[Sequence[ServiceSnapshot]]:
    """Cut a list into parts: a transaction that is long holds up calls."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _rows_of(connection: sa.Connection, engine: str) -> dict[str, sa.Row[Any]]:
    columns = (
        services.c.uuid,
        services.c.selector,
        services.c.fingerprint,
        services.c.unbound,
        services.c.terminated,
    )
    statement: sa.Select[Any] = sa.select(*columns).where(services.c.engine == engine, sa.not_(services.c.terminated))
    rows = connection.execute(statement).all()
    return {row.selector: row for row in rows}


def _is_current(row: Row | None, snapshot: ServiceSnapshot) -> bool:
    return row is not None and row.unbound is None and row.fingerprint == snapshot_rows.fingerprint(snapshot)


def _forgettable(connection: sa.Connection, engine: str, before: datetime) -> list[str]:
    has_handler = sa.select(handlers.c.uuid).where(handlers.c.service_uuid == services.c.uuid).exists()
    is_busy = sa.select(actions.c.uuid).where(actions.c.service_uuid == services.c.uuid, LIVE).exists()
    rows = connection.execute(
        sa.select(services.c.uuid).where(
            services.c.engine == engine,
            services.c.unbound < before,
            services.c.definition.is_(None),
            ~has_handler,
            ~is_busy,
        )
    )
    return [row.uuid for row in rows]


def _forget(connection: sa.Connection, engine: str, uuids: Sequence[str], before: datetime) -> None:
    # Locked for good, so that a handler or an action that comes now waits; then looked at once more.
    locked = sa.select(services.c.uuid).where(services.c.uuid.in_(uuids)).order_by(services.c.uuid)
    connection.execute(locked.with_for_update()).all()
    still = set(_forgettable(connection, engine, before)) & set(uuids)
    connection.execute(sa.delete(services).where(services.c.uuid.in_(still)))


def _new_service(connection: sa.Connection, engine: EngineInfo, snapshot: ServiceSnapshot, now: datetime) -> str:
    uuid = snapshot_rows.service_uuid(_installation(connection), engine.name, snapshot.selector)
    snapshot_rows.insert_service(connection, uuid, engine, snapshot, now)
    return uuid


def _installation(connection: sa.Connection) -> str:
    found = connection.execute(sa.select(meta.c.value).where(meta.c.key == "installation")).scalar()
    if found is None:
        found = secrets.token_hex(16)
        connection.execute(sa.insert(meta).values(key="installation", value=found))
    return str(found)
