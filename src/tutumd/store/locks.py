"""Row locks on services, taken before anything of theirs is queued, claimed or ended."""

from collections.abc import Iterable

import sqlalchemy as sa

from tutumd.store.tables import services

_LOCK_SERVICES = (
    sa.select(services.c.uuid)
    .where(services.c.uuid.in_(sa.bindparam("uuids", expanding=True)))
    .order_by(services.c.uuid)
    .with_for_update(key_share=True)
)


def lock_services(connection: sa.Connection, uuids: Iterable[str]) -> None:
    """Lock services until the transaction ends, in the order of their UUIDs, so that no two transactions deadlock.

    On SQLite a transaction that writes is alone anyway.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(_LOCK_SERVICES, {"uuids": list(set(uuids))}).all()


def raise_revision(connection: sa.Connection, service_uuid: str) -> None:
    """Note that a run of a service, which is locked, begins or ends: a look at the engine before is out of date."""
    this_service = sa.update(services).where(services.c.uuid == service_uuid)
    connection.execute(this_service.values(revision=services.c.revision + 1))


def lock_unlocked_services(connection: sa.Connection, uuids: Iterable[str]) -> set[str]:
    """Lock the services that no other transaction has locked, and return the others. For PostgreSQL only."""
    requested = sa.select(services.c.uuid).where(services.c.uuid.in_(list(uuids))).order_by(services.c.uuid)
    locked_now = connection.execute(requested.with_for_update(key_share=True, skip_locked=True)).scalars().all()
    return set(connection.execute(requested).scalars()) - set(locked_now)
