"""Row locks on services, taken before an action of the service is queued, claimed or ended, and changes that need such
a lock.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from tutumd.store.sql.dialect import dialect_of
from tutumd.store.tables.actions import LIVE, actions
from tutumd.store.tables.services import services

_LOCK_SERVICES = sa.text("SELECT FROM services WHERE uuid = ANY(:uuids) ORDER BY uuid FOR NO KEY UPDATE")
_RAISE_REVISION = sa.text("UPDATE services SET revision = revision + 1 WHERE uuid = :uuid")


def lock_services(connection: sa.Connection, uuids: Iterable[str]) -> None:
    """Lock services until the transaction ends, in the order of their UUIDs, so that no two transactions deadlock.

    The rows are locked when the next statement is executed. On SQLite a writing transaction is alone anyway.
    """
    if not dialect_of(connection).single_writer:
        dialect_of(connection).execute_later(connection, _LOCK_SERVICES, {"uuids": list(set(uuids))})


def raise_revision(connection: sa.Connection, service_uuid: str) -> None:
    """Record the begin or end of a run of a locked service: earlier looks at the engine are then out of date."""
    dialect_of(connection).execute_later(connection, _RAISE_REVISION, {"uuid": service_uuid})


def lock_unlocked_services(connection: sa.Connection, uuids: Iterable[str]) -> set[str]:
    """Lock the services that no other transaction has locked, and return the others. For PostgreSQL only."""
    requested = sa.select(services.c.uuid).where(services.c.uuid.in_(list(uuids))).order_by(services.c.uuid)
    locked_now = connection.scalars(requested.with_for_update(key_share=True, skip_locked=True)).all()
    return set(connection.scalars(requested)).difference(locked_now)


_TARGETS = sa.select(actions.c.service_uuid, actions.c.target, actions.c.target_before).where(
    actions.c.uuid == sa.bindparam("action_uuid")
)


def settle_target(connection: sa.Connection, action_uuid: str, *, success: bool) -> None:
    """Set the target of a created service after an action: the action's target, or the target before it."""
    action = connection.execute(_TARGETS, {"action_uuid": action_uuid}).one()
    if action.target is None:
        return
    created = sa.update(services).where(services.c.uuid == action.service_uuid, services.c.definition.isnot(None))
    if success:
        connection.execute(created.values(target=action.target))
    elif action.target_before is not None:
        connection.execute(created.where(services.c.target == action.target).values(target=action.target_before))
        # A later SCALE would otherwise restore the number that was not reached.
        connection.execute(
            sa.update(actions)
            .where(actions.c.service_uuid == action.service_uuid, actions.c.target_before == action.target, LIVE)
            .values(target_before=action.target_before)
        )
