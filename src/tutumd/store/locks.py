"""Row locks on services, taken before anything of theirs is queued, claimed or ended."""

from collections.abc import Iterable

import sqlalchemy as sa

from tutumd.store.compiled import execute_later
from tutumd.store.tables.services import services

_LOCK_SERVICES = sa.text("SELECT FROM services WHERE uuid = ANY(:uuids) ORDER BY uuid FOR NO KEY UPDATE")
_RAISE_REVISION = sa.text("UPDATE services SET revision = revision + 1 WHERE uuid = :uuid")


def lock_services(connection: sa.Connection, uuids: Iterable[str]) -> None:
    """Lock services until the transaction ends, in the order of their UUIDs, so that no two transactions deadlock.

    They are locked when the next statement is executed. On SQLite a transaction that writes is alone anyway.
    """
    if connection.dialect.name != "sqlite":
        execute_later(connection, _LOCK_SERVICES, uuids=list(set(uuids)))


def raise_revision(connection: sa.Connection, service_uuid: str) -> None:
    """Note that a run of a service, which is locked, begins or ends: a look at the engine before is out of date."""
    execute_later(connection, _RAISE_REVISION, uuid=service_uuid)


def lock_unlocked_services(connection: sa.Connection, uuids: Iterable[str]) -> set[str]:
    """Lock the services that no other transaction has locked, and return the others. For PostgreSQL only."""
    requested = sa.select(services.c.uuid).where(services.c.uuid.in_(list(uuids))).order_by(services.c.uuid)
    locked_now = connection.execute(requested.with_for_update(key_share=True, skip_locked=True)).scalars().all()
    return set(connection.execute(requested).scalars()) - set(locked_now)
