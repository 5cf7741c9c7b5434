"""The sync of the store with an engine's services: new, changed, missing and removed services."""

import hashlib
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.errors import LockedError
from tutumd.model import EngineInfo, ImageFacts, ServiceSnapshot
from tutumd.store.objects import image_rows
from tutumd.store.objects.row_mapping import Row
from tutumd.store.queue import snapshots as snapshot_rows
from tutumd.store.sql import StorePart, insert_missing
from tutumd.store.tables import LIVE, actions, derived_uuid, discoveries, handlers, meta, pulled_images, services

SYNC_BATCH = 5
"""Services stored in one transaction. A long transaction would delay calls and the discovery of other workers.

On a busy machine, a transaction of 20 services held the write lock of SQLite for 78 ms, ten times as long as a batch of
calls.
"""

_INSTALLATION = sa.select(meta.c.value).where(meta.c.key == "installation")

FORGET_AFTER = timedelta(days=1)
"""A service without handlers is deleted if its engine has not reported it for this long."""


class SqlEngineSync(StorePart):
    """The services part of Queue in tutumd.ports."""

    def revisions(self, engine_name: str) -> Mapping[str, int]:
        return {row.selector: row.revision for row in self._database.fetch(_select_rows(engine_name))}

    def installation(self) -> str:
        with self._database.write() as connection:
            _installation_id(connection)
            return read_installation(connection)

    def pulled_images(self, engine_name: str) -> frozenset[str]:
        c = pulled_images.c
        return frozenset(row.image for row in self._database.fetch(sa.select(c.image).where(c.engine == engine_name)))

    def image_history(self, service_uuid: str) -> Sequence[ImageFacts]:
        with self._database.read() as connection:
            return tuple(image_rows.read_history(connection, service_uuid).values())

    def update_pulled(self, engine_name: str, *, added: Collection[str] = (), removed: Collection[str] = ()) -> None:
        c = pulled_images.c
        with self._database.write() as connection:
            for image in sorted(added):  # so that no two workers deadlock
                insert_missing(connection, pulled_images, engine=engine_name, image=image)
            connection.execute(sa.delete(pulled_images).where(c.engine == engine_name, c.image.in_(removed)))

    def sync(
        self,
        engine: EngineInfo,
        snapshots: Sequence[ServiceSnapshot],
        *,
        revisions: Mapping[str, int],
        is_unreadable: Callable[[str], bool] = lambda selector: False,
        worker: str = "",
    ) -> bool:
        now = self._clock()
        shown = {snapshot.selector: snapshot for snapshot in snapshots}
        with self._database.read() as connection:
            stored = {row.selector: row for row in connection.execute(_select_rows(engine.name))}
            forgettable = _find_forgettable(connection, engine.name, now - FORGET_AFTER)
        known = shown.keys() | {selector for selector in stored if not is_unreadable(selector)}
        changed = sorted(each for each in known if not _is_current(stored.get(each), shown.get(each)))
        is_complete = True
        for start in range(0, len(changed), SYNC_BATCH):
            batch = {selector: shown.get(selector) for selector in changed[start : start + SYNC_BATCH]}
            try:
                with self._database.write() as connection:
                    is_complete &= _store(connection, engine, batch, revisions, now, worker)
            except LockedError:  # another process, which may be stopped, holds one of the services
                is_complete = False
        if forgettable:
            with self._database.write() as connection:
                these = services.c.uuid.in_(forgettable)
                # Lock first, so that a new handler or action waits, then check again.
                connection.execute(
                    sa.select(services.c.uuid).where(these).order_by(services.c.uuid).with_for_update()
                ).all()
                still = _find_forgettable(connection, engine.name, now - FORGET_AFTER)
                connection.execute(sa.delete(services).where(these, services.c.uuid.in_(still)))
        return is_complete


def _store(
    connection: sa.Connection,
    engine: EngineInfo,
    batch: Mapping[str, ServiceSnapshot | None],
    revisions: Mapping[str, int],
    now: datetime,
    worker: str,
) -> bool:
    """Store services, and unbind those without a snapshot; return False if the revisions of some have changed.

    If another worker discovers the engine, store nothing: its look may be newer, and no look increases a revision.
    """
    # Unlike `lock_services`, this returns the rows as they are after locking.
    these = _select_rows(engine.name).where(services.c.selector.in_(batch)).order_by(services.c.uuid)
    rows = {row.selector: row for row in connection.execute(these.with_for_update(key_share=True))}
    # Read only after locking: the other worker cannot have stored them since.
    leased_by = connection.scalar(sa.select(discoveries.c.worker).where(discoveries.c.engine == engine.name))
    if worker and leased_by not in (worker, None):
        return False
    held = 0
    for selector, snapshot in batch.items():
        row = rows.get(selector)
        uuid = row.uuid if row else None
        if (row.revision if row else None) == revisions.get(selector):
            if snapshot is None:
                snapshot_rows.unbind(connection, uuid, now)
            elif uuid := uuid or _insert_service(connection, engine, snapshot, now):
                if row and row.terminated:  # the row was removed: it is now a new service
                    connection.execute(
                        sa.update(services).where(services.c.uuid == uuid).values(terminated=False, created=now)
                    )
                snapshot_rows.store_snapshot(connection, uuid, snapshot, now=now, final=False)
                image_rows.record_seen(connection, uuid, snapshot, now)
            held += uuid is not None
    return held == len(batch)


def _select_rows(engine: str) -> sa.Select[Any]:
    c = services.c
    return sa.select(
        c.uuid,
        c.selector,
        c.fingerprint,
        c.unbound,
        c.terminated,
        c.revision,
        c.definition.isnot(None).label("was_created"),
        snapshot_rows.is_changing(c.uuid).label("is_changing"),
    ).where(c.engine == engine)


def _is_current(row: Row | None, snapshot: ServiceSnapshot | None) -> bool:
    """Return whether there is nothing to store. A service that was created and terminated is not stored again."""
    if row is None or snapshot is None or (row.terminated and row.was_created):
        return row is not None and (row.terminated or row.unbound is not None)
    is_stored = row.fingerprint == snapshot_rows.fingerprint(snapshot) or (
        row.is_changing and row.fingerprint == snapshot_rows.fingerprint(snapshot, is_changing=True)
    )
    return row.unbound is None and is_stored


def _find_forgettable(connection: sa.Connection, engine: str, before: datetime) -> Sequence[str]:
    is_of_service = sa.and_(handlers.c.service_uuid == services.c.uuid, handlers.c.group_seq.is_(None))
    has_handler = sa.select(handlers.c.uuid).where(is_of_service).exists()
    is_busy = sa.select(actions.c.uuid).where(actions.c.service_uuid == services.c.uuid, LIVE).exists()
    return connection.scalars(
        sa.select(services.c.uuid).where(
            services.c.engine == engine,
            services.c.unbound < before,
            sa.not_(services.c.terminated),  # these are deleted with their last action
            services.c.definition.is_(None),
            ~has_handler,
            ~is_busy,
        )
    ).all()


def _insert_service(
    connection: sa.Connection, engine: EngineInfo, snapshot: ServiceSnapshot, now: datetime
) -> str | None:
    """Insert a service and return its UUID; None if another worker has just inserted it.

    The UUID is derived from the selector, so that it is the same even after the row was deleted.
    """
    uuid = derived_uuid(f"{_installation_id(connection)}\0{engine.name}\0{snapshot.selector}")
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


def read_installation(connection: sa.Connection) -> str:
    """Return `Queue.installation`, a hash of the random ID; empty if there is no ID yet."""
    stored = connection.execute(_INSTALLATION).scalar()
    return hashlib.sha256(stored.encode()).hexdigest()[:16] if stored else ""


def _installation_id(connection: sa.Connection) -> str:
    """Return the random ID of this database, which the first call generates."""
    insert_missing(connection, meta, key="installation", value=secrets.token_hex(16))
    return str(connection.execute(_INSTALLATION).scalar_one())
