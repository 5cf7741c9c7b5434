"""Targets of created services: what was asked for, and what holds after an action."""

import sqlalchemy as sa

from tutumd.store.tables.actions import LIVE, actions
from tutumd.store.tables.services import services


def settle_target(connection: sa.Connection, action_uuid: str, *, success: bool) -> None:
    """Set the target that a created service has after an action: the action's, or what was asked for before it."""
    action = connection.execute(sa.select(actions).where(actions.c.uuid == action_uuid)).one()
    if action.target is None:
        return
    created = sa.update(services).where(services.c.uuid == action.service_uuid, services.c.definition.isnot(None))
    if success:
        connection.execute(created.values(target=action.target))
    elif action.target_before is not None:
        connection.execute(created.where(services.c.target == action.target).values(target=action.target_before))
        # A later SCALE would otherwise give back the number that did not come about.
        later = sa.and_(actions.c.service_uuid == action.service_uuid, actions.c.target_before == action.target)
        connection.execute(sa.update(actions).where(later, LIVE).values(target_before=action.target_before))
