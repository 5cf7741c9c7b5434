"""Leases: which actions a worker may claim, and updates that only the holder of a claim can make."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.errors import LeaseLostError
from tutumd.model import ActionState, Claim
from tutumd.ports.queue import Renewal
from tutumd.store.tables.actions import LIVE, actions
from tutumd.store.tables.engines import discoveries

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
        sa.select(actions.c.uuid, actions.c.service_uuid, actions.c.worker, actions.c.engine, actions.c.verb)
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


def claim_one(
    connection: sa.Connection,
    oldest: sa.Select[Any],
    worker: str,
    now: datetime,
    lease_now: datetime,
    lease: timedelta,
) -> str | None:
    """Claim the action that `oldest` selects, whose service is locked; return its UUID, or None if it is claimed."""
    claimed = connection.execute(
        sa.update(actions)
        # The holder may renew the lease at the same time: renewing locks no service.
        .where(actions.c.uuid == oldest.correlate(None).scalar_subquery(), LIVE, is_due(now), is_unleased(lease_now))
        .values(
            state=ActionState.IN_PROGRESS.value,
            open=False,
            worker=worker,
            token=actions.c.token + 1,
            lease_until=lease_now + lease,
            # A holder that released it left no name. One of the same name lives: its lease ran out.
            deaths=sa.case((actions.c.worker != worker, actions.c.deaths + 1), else_=actions.c.deaths),
            started=sa.func.coalesce(actions.c.started, sa.literal(now, actions.c.started.type)),
        )
        .returning(actions.c.uuid)
    )
    return claimed.scalar()


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


def renew_claims(
    connection: sa.Connection, claims: Sequence[tuple[Claim, bool]], lease_until: datetime
) -> Sequence[Renewal]:
    """Extend the leases of claims in one statement, and return what became of each. `claims` are as of `Queue.renew`.

    An action that a transaction holds, perhaps of a process that was stopped, holds up no other lease.
    """
    held = sa.and_(
        sa.tuple_(actions.c.uuid, actions.c.token).in_([_key(claim) for claim, _ in claims]),
        actions.c.state == ActionState.IN_PROGRESS.value,
    )
    survivors = [claim.action.uuid for claim, has_survived in claims if has_survived]
    unlocked = sa.select(actions.c.seq).where(held).with_for_update(key_share=True, skip_locked=True)
    renewed = connection.execute(
        sa.update(actions)
        .where(actions.c.seq.in_(unlocked), held)
        .values(lease_until=lease_until, deaths=sa.case((actions.c.uuid.in_(survivors), 0), else_=actions.c.deaths))
        .returning(actions.c.uuid, actions.c.token, actions.c.cancel)
    )
    results = {(row.uuid, row.token): Renewal.CANCEL_REQUESTED if row.cancel else Renewal.RENEWED for row in renewed}
    if len(results) < len(claims):
        for uuid, token in connection.execute(sa.select(actions.c.uuid, actions.c.token).where(held)):
            results.setdefault((uuid, token), Renewal.BUSY)
    return [results.get(_key(claim), Renewal.LOST) for claim, _ in claims]


def _key(claim: Claim) -> tuple[str, int]:
    return claim.action.uuid, claim.token
