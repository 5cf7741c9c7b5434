"""The lease: which actions are due and held by nobody, and that only who holds one changes it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.errors import LeaseLostError
from tutumd.model import ActionState, Claim
from tutumd.store.tables import LIVE, actions

_AGREED = timedelta(milliseconds=50)
"""How well the clocks of processes agree at least: what is due at once is to be found at the first look."""

_SET_BACK = timedelta(seconds=1)
"""An action that was made so far in the future was made before a clock was set back: who asked waits now."""


def find_due(engine_names: Sequence[str], now: datetime, lease_now: datetime) -> sa.Select[Any]:
    """Select the oldest action that may be claimed: one that waits for its turn, or that its worker left."""
    busy = actions.alias("busy")
    service_is_free = ~(
        sa.select(busy.c.uuid)
        .where(busy.c.service_uuid == actions.c.service_uuid, busy.c.state == sa.literal_column("'In progress'"))
        .exists()
    )
    pending = sa.and_(actions.c.state == ActionState.PENDING.value, service_is_free)
    abandoned = sa.and_(actions.c.state == ActionState.IN_PROGRESS.value, is_free(lease_now))
    return (
        sa.select(actions.c.uuid, actions.c.service_uuid)
        .where(LIVE, is_due(now), actions.c.engine.in_(engine_names), sa.or_(pending, abandoned))
        .order_by(actions.c.seq)
        .limit(1)
    )


def is_due(now: datetime) -> sa.ColumnElement[bool]:
    """Say that the time of the action has come."""
    return sa.or_(actions.c.due <= now + _AGREED, actions.c.created > now + _SET_BACK)


def is_free(lease_now: datetime) -> sa.ColumnElement[bool]:
    """Say that no worker holds the action."""
    return sa.or_(actions.c.lease_until.is_(None), actions.c.lease_until < lease_now)


def end_all(connection: sa.Connection) -> None:
    """End all leases at once: nobody who holds one is alive."""
    connection.execute(
        sa.update(actions).where(LIVE, actions.c.worker.isnot(None)).values(worker=None, lease_until=None)
    )


def update_held(connection: sa.Connection, claim: Claim, **values: object) -> None:
    """Change an action that is held by this claim. Raises LeaseLostError where another claim was made."""
    updated = connection.execute(
        sa.update(actions)
        .where(
            actions.c.uuid == claim.action.uuid,
            actions.c.token == claim.token,
            actions.c.state == ActionState.IN_PROGRESS.value,
        )
        .values(**values)
    )
    if not updated.rowcount:
        raise LeaseLostError("another worker holds this action now")
