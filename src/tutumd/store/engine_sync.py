"""The sync of the store with an engine's services: new, changed, missing and forgotten ones."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tutumd.model import EngineInfo, ServiceSnapshot
from tutumd.store import snapshots as snapshot_rows
from tutumd.store.database import StorePart
from tutumd.store.locks import lock_services
from tutumd.store.row_mapping import Row
from tutumd.store.tables import LIVE, actions, engines, handlers, meta, services

SYNC_BATCH = 50
"""Services stored in one transaction. A long transaction would hold up calls."""

FORGET_AFTER = timedelta(days=1)
"""A service without handlers that its engine has not shown for this long is deleted."""


class SqlEngineSync(StorePart):
    """The part of Queue in ports.py that is about services of engines."""

    def sync(
        self,
        engine: EngineInfo,
        snapshots: Sequence[ServiceSnapshot],
        *,
        is_unreadable: Callable[[str], bool] = lambda selector: False,
    ) -> None:
        by_selector = {snapshot.selector: snapshot for snapshot in snapshots}
        forget_before = self._clock() - FORGET_AFTER
        with self._database.read() as connection:
            stored = _rows_by_selector(connection, engine.name)
            forgettable = _find_forgettable(connection, engine.name, forget_before)
        changed = [s for _, s in sorted(by_selector.items()) if not _is_current(stored.get(s.selector), s)]
        absent = [row for row in stored.values() if row.unbound is None and row.selector not in by_selector]
        missing = [row.uuid for row in absent if not is_unreadable(row.selector)]
        for start in range(0, len(changed), SYNC_BATCH):
            self._store_batch(engine, changed[start : start + SYNC_BATCH])
        if not missing and not forgettable:
            return
        with self._database.write() as connection:
            if missing:
                lock_services(connection, missing)
                snapshot_rows.unbind(connection, missing, self._clock())
            if forgettable:
                _forget(connection, engine.name, forgettable, forget_before)

    def _store_batch(self, engine: EngineInfo, snapshots: Sequence[ServiceSnapshot]) -> None:
        now = self._clock()
        with self._database.write() as connection:
            # Locked, so that two workers that discover a new service at the same time do not both insert it.
            connection.execute(sa.select(engines.c.name).where(engines.c.name == engine.name).with_for_update()).all()
            stored = _rows_by_selector(connection, engine.name)
            lock_services(connection, [stored[s.selector].uuid for s in snapshots if s.selector in stored])
            for snapshot in snapshots:
                row = stored.get(snapshot.selector)
                uuid = row.uuid if row else _insert_service(connection, engine, snapshot, now)
                snapshot_rows.store_snapshot(connection, uuid, snapshot, now=now, final=False)


def _rows_by_selector(connection: sa.Connection, engine: str) -> dict[str, Row]:
    columns = (services.c.uuid, services.c.selector, services.c.fingerprint, services.c.unbound)
    present: sa.Select[Any] = sa.select(*columns).where(services.c.engine == engine, sa.not_(services.c.terminated))
    return {row.selector: row for row in connection.execute(present)}


def _is_current(row: Row | None, snapshot: ServiceSnapshot) -> bool:
    return row is not None and row.unbound is None and row.fingerprint == snapshot_rows.fingerprint(snapshot)


def _find_forgettable(connection: sa.Connection, engine: str, before: datetime) -> Sequence[str]:
    has_handler = sa.select(handlers.c.uuid).where(handlers.c.service_uuid == services.c.uuid).exists()
    is_busy = sa.select(actions.c.uuid).where(actions.c.service_uuid == services.c.uuid, LIVE).exists()
    uuids = connection.execute(
        sa.select(services.c.uuid).where(
            services.c.engine == engine,
            services.c.unbound < before,
            services.c.definition.is_(None),
            ~has_handler,
            ~is_busy,
        )
    )
    return uuids.scalars().all()


def _forget(connection: sa.Connection, engine: str, uuids: Sequence[str], before: datetime) -> None:
    # Lock first, so that a new handler or action waits, then check again.
    locked = sa.select(services.c.uuid).where(services.c.uuid.in_(uuids)).order_by(services.c.uuid)
    connection.execute(locked.with_for_update()).all()
    still_forgettable = set(_find_forgettable(connection, engine, before)) & set(uuids)
    connection.execute(sa.delete(services).where(services.c.uuid.in_(still_forgettable)))


def _insert_service(connection: sa.Connection, engine: EngineInfo, snapshot: ServiceSnapshot, now: datetime) -> str:
    """Insert a service and return its UUID, derived from its selector: the same even after the row was deleted."""
    key = f"{_installation_id(connection)}\0{engine.name}\0{snapshot.selector}"
    uuid = str(UUID(bytes=hashlib.sha256(key.encode()).digest()[:16], version=4))
    snapshot_rows.insert_service(
        connection,
        uuid=uuid,
        engine=engine.name,
        engine_kind=engine.kind,
        selector=snapshot.selector,
        name=snapshot.name,
        stack=snapshot.stack,
        state=snapshot.state.value,
        target=snapshot.target,
        image_name=snapshot.image_name,
        run_command=snapshot.run_command,
        created=now,
    )
    return uuid


def _installation_id(connection: sa.Connection) -> str:
    """Return the random ID of this database, which is made at the first call."""
    stored = connection.execute(sa.select(meta.c.value).where(meta.c.key == "installation")).scalar()
    if stored is None:
        stored = secrets.token_hex(16)
        connection.execute(sa.insert(meta).values(key="installation", value=stored))
    return str(stored)
