"""Leases: which actions a worker may claim, and updates that only the holder of a claim can make."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.errors import LeaseLostError
from tutumd.model import ActionState, Claim
from tutumd.store.tables import LIVE, actions, discoveries

_CLOCK_SKEW = timedelta(milliseconds=50)
"""Tolerated clock skew between processes, so that a worker finds a new action at its first look."""

_SET_BACK = timedelta(seconds=1)
"""An action created this far in the future dates from before a clock was set back, and is due."""


def find_claimable(
    engine_names: Sequence[str], now: datetime, lease_now: datetime, given_up_before: datetime | None = None
) -> sa.Select[Any]:
    """Select the oldest due action that is pending on an idle service, or in progress without a valid lease.

    Args:
        given_up_before: As in `Queue.claim`.
    """
    running = actions.alias("running")
    service_is_busy = (
        sa.select(running.c.uuid)
        .where(running.c.service_uuid == actions.c.service_uuid, running.c.state == sa.literal_column("'In progress'"))
        .exists()
    )
    pending = sa.and_(actions.c.state == ActionState.PENDING.value, ~service_is_busy)
    unheld = sa.and_(actions.c.state == ActionState.IN_PROGRESS.value, is_unleased(lease_now))
    return (
        sa.select(actions.c.uuid, actions.c.service_uuid)
        .where(LIVE, is_due(now), actions.c.engine.in_(engine_names), sa.or_(pending, unheld))
        .where(_can_end_unasked(given_up_before) if given_up_before else sa.true())
        .order_by(actions.c.seq)
        .limit(1)
    )


def _can_end_unasked(given_up_before: datetime) -> sa.ColumnElement[bool]:
    has_changed_nothing = sa.cast(actions.c.journal, sa.Text) == "{}"
    return sa.and_(has_changed_nothing, sa.or_(actions.c.cancel, actions.c.started < given_up_before))


def is_due(now: datetime) -> sa.ColumnElement[bool]:
    """Return the condition that an action's time has come."""
    return sa.or_(actions.c.due <= now + _CLOCK_SKEW, actions.c.created > now + _SET_BACK)


def is_unleased(lease_now: datetime) -> sa.ColumnElement[bool]:
    """Return the condition that no worker holds an action."""
    return sa.or_(actions.c.lease_until.is_(None), actions.c.lease_until < lease_now)


def end_leases(connection: sa.Connection, workers: Sequence[str] | None = None) -> None:
    """End the leases of dead workers at once, by default of all. Only valid when none of them is alive.

    `actions.worker` stays: the next claim counts its death.
    """
    acts = actions.c.worker.isnot(None) if workers is None else actions.c.worker.in_(workers)
    connection.execute(sa.update(actions).where(LIVE, acts).values(lease_until=None))
    discovers = sa.true() if workers is None else discoveries.c.worker.in_(workers)
    connection.execute(sa.delete(discoveries).where(discovers))


def update_claimed(connection: sa.Connection, claim: Claim, **values: object) -> None:
    """Update the action of a claim.

    Raises:
        LeaseLostError: Another claim was made since, or the action ended; nothing was updated.
    """
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
