"""The sync of the store with an engine's services: new, changed, missing and forgotten ones."""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tutumd.errors import LockedError
from tutumd.model import EngineInfo, ServiceSnapshot
from tutumd.store import snapshots as snapshot_rows
from tutumd.store.database import StorePart
from tutumd.store.revisions import read_revisions
from tutumd.store.row_mapping import Row
from tutumd.store.tables import LIVE, actions, handlers, meta, services
from tutumd.store.upsert import insert_missing

SYNC_BATCH = 20
"""Services stored in one transaction. A long transaction would hold up calls, and other workers' discovery."""

FORGET_AFTER = timedelta(days=1)
"""A service without handlers that its engine has not shown for this long is deleted."""


class SqlEngineSync(StorePart):
    """The part of Queue in ports.py that is about services of engines."""

    def revisions(self, engine_name: str) -> Mapping[str, int]:
        with self._database.read() as connection:
            return read_revisions(connection, engine_name)

    def sync(
        self,
        engine: EngineInfo,
        snapshots: Sequence[ServiceSnapshot],
        *,
        revisions: Mapping[str, int],
        is_unreadable: Callable[[str], bool] = lambda selector: False,
    ) -> bool:
        by_selector = {snapshot.selector: snapshot for snapshot in snapshots}
        now = self._clock()
        with self._database.read() as connection:
            stored = _by_selector(connection, _select_rows(engine.name))
            forgettable = _find_forgettable(connection, engine.name, now - FORGET_AFTER)
        changed = [s for _, s in sorted(by_selector.items()) if not _is_current(stored.get(s.selector), s)]
        absent = [row for row in stored.values() if row.unbound is None and row.selector not in by_selector]
        missing = sorted(row.selector for row in absent if not (row.terminated or is_unreadable(row.selector)))
        is_complete = True
        for start in range(0, len(changed), SYNC_BATCH):
            batch = changed[start : start + SYNC_BATCH]
            is_complete &= self._try(partial(_store, engine=engine, snapshots=batch, revisions=revisions, now=now))
        for start in range(0, len(missing), SYNC_BATCH):
            gone = missing[start : start + SYNC_BATCH]
            is_complete &= self._try(partial(_unbind, engine=engine, selectors=gone, revisions=revisions, now=now))
        if forgettable:
            with self._database.write() as connection:
                _forget(connection, engine.name, forgettable, now - FORGET_AFTER)
        return is_complete

    def _try(self, store: Callable[[sa.Connection], bool]) -> bool:
        """Return what `store` returns; False if another process, which may be stopped, holds what it needs."""
        try:
            with self._database.write() as connection:
                return store(connection)
        except LockedError:
            return False


def _store(
    connection: sa.Connection,
    engine: EngineInfo,
    snapshots: Sequence[ServiceSnapshot],
    revisions: Mapping[str, int],
    now: datetime,
) -> bool:
    """Store the services whose revision holds, and return whether those are all."""
    rows = _lock_rows(connection, engine.name, [snapshot.selector for snapshot in snapshots])
    is_complete = True
    for snapshot in snapshots:
        row, uuid = rows.get(snapshot.selector), None
        if _holds(row, revisions.get(snapshot.selector)):
            uuid = row.uuid if row else _insert_service(connection, engine, snapshot, now)
        if uuid is None:
            is_complete = False
        else:
            snapshot_rows.store_snapshot(connection, uuid, snapshot, now=now, final=False)
    return is_complete


def _unbind(
    connection: sa.Connection, engine: EngineInfo, selectors: Sequence[str], revisions: Mapping[str, int], now: datetime
) -> bool:
    """Unbind the services whose revision holds, and return whether those are all."""
    rows = _lock_rows(connection, engine.name, selectors).values()
    uuids = [row.uuid for row in rows if _holds(row, revisions.get(row.selector))]
    snapshot_rows.unbind(connection, uuids, now)
    return len(uuids) == len(rows)


def _holds(row: Row | None, revision: int | None) -> bool:
    """Return whether a service is what it was before the look: as yet unknown, or without a run since."""
    return (row.revision if row else None) == revision


def _select_rows(engine: str) -> sa.Select[Any]:
    c = services.c
    return sa.select(c.uuid, c.selector, c.fingerprint, c.unbound, c.terminated, c.revision).where(c.engine == engine)


def _lock_rows(connection: sa.Connection, engine: str, selectors: Sequence[str]) -> dict[str, Row]:
    """Lock services as `lock_services` does, and return their rows as they are then."""
    these = _select_rows(engine).where(services.c.selector.in_(selectors)).order_by(services.c.uuid)
    return _by_selector(connection, these.with_for_update(key_share=True))


def _by_selector(connection: sa.Connection, statement: sa.Select[Any]) -> dict[str, Row]:
    return {row.selector: row for row in connection.execute(statement)}


def _is_current(row: Row | None, snapshot: ServiceSnapshot) -> bool:
    """Return whether there is nothing to store. A terminated service does not come back."""
    if row is None or row.terminated:
        return row is not None
    return row.unbound is None and bool(row.fingerprint == snapshot_rows.fingerprint(snapshot))


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


def _insert_service(
    connection: sa.Connection, engine: EngineInfo, snapshot: ServiceSnapshot, now: datetime
) -> str | None:
    """Insert a service and return its UUID; None if another worker has just inserted it.

    The UUID is derived from the selector: it is the same even after the row was deleted.
    """
    key = f"{_installation_id(connection)}\0{engine.name}\0{snapshot.selector}"
    uuid = str(UUID(bytes=hashlib.sha256(key.encode()).digest()[:16], version=4))
    is_new = snapshot_rows.insert_service(
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
    return uuid if is_new else None


def _installation_id(connection: sa.Connection) -> str:
    """Return the random ID of this database, which is made at the first call."""
    stored = sa.select(meta.c.value).where(meta.c.key == "installation")
    if connection.execute(stored).scalar() is None:
        insert_missing(connection, meta, key="installation", value=secrets.token_hex(16))
    return str(connection.execute(stored).scalar_one())
