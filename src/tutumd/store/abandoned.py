"""Abandoned actions: ended half done, with a journal that the next run of the service clears up."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.errors import ConflictError
from tutumd.model import ActionState, Claim, Service
from tutumd.store import action_totals
from tutumd.store.leases import update_claimed
from tutumd.store.locks import raise_revision
from tutumd.store.row_mapping import Row, action_from, select_actions
from tutumd.store.tables.actions import RUNNING, action_lines, actions
from tutumd.store.tables.columns import storable
from tutumd.store.targets import settle_target

_LAST_LINES = 5


def abandon(connection: sa.Connection, uuid: str, admin: str, now: datetime) -> None:
    """End an action in progress whose service is locked. Its holder can store nothing any more.

    Raises:
        ConflictError: It has ended, or has not begun.
    """
    row = connection.execute(select_actions().where(actions.c.uuid == uuid)).one()
    # The holder may save its journal until this update, which reads the newest.
    updated = connection.execute(
        sa.update(actions)
        .where(actions.c.uuid == uuid, RUNNING)
        .values(
            state=ActionState.FAILED.value,
            ended=now,
            reason=storable(_describe(connection, row, admin)),
            token=actions.c.token + 1,
            worker=None,
            lease_until=None,
            abandoned=sa.cast(actions.c.journal, sa.Text) != "{}",
        )
    )
    if not updated.rowcount:
        raise ConflictError(f"the action is {row.state}: only a running one can be abandoned; a pending one, canceled")
    settle_target(connection, uuid, success=False)
    raise_revision(connection, row.service_uuid)
    action_totals.count_ended(connection, [uuid])


def _describe(connection: sa.Connection, row: Row, admin: str) -> str:
    """Return what is known of a run, in words."""
    newest = sa.select(action_lines.c.line).where(action_lines.c.action_uuid == row.uuid)
    lines = connection.execute(newest.order_by(action_lines.c.seq.desc()).limit(_LAST_LINES)).scalars().all()
    phase = row.journal.get("phase") or row.journal.get("stage")
    facts = {
        "abandoned by": admin,
        "phase:": phase if row.journal else "it had saved nothing that it was about to change",
        "last steps:": ", ".join(reversed(lines)),
        "last error:": row.reason.removeprefix("waiting for another try: ") or row.engine_error,
    }
    return "left half done: " + "; ".join(f"{name} {fact}" for name, fact in facts.items() if fact)


def select_with_leftover() -> sa.Select[Any]:
    """Select actions to be claimed, whose deliveries no worker needs, each with its service's abandoned action."""
    leftovers = actions.alias("leftovers")
    uuid = sa.select(leftovers.c.uuid).where(leftovers.c.service_uuid == actions.c.service_uuid, leftovers.c.abandoned)
    return select_actions(counts_deliveries=False).add_columns(uuid.limit(1).scalar_subquery().label("leftover"))


def read_leftover(connection: sa.Connection, row: Row, service: Service) -> Claim | None:
    """Return what is to be cleared up before the claimed action of a row of `select_with_leftover`."""
    if row.leftover is None:
        return None
    left = connection.execute(select_actions(counts_deliveries=False).where(actions.c.uuid == row.leftover)).one()
    return Claim(
        action=action_from(left),
        service=service,
        token=row.token,
        attempts=0,
        journal=left.journal,
        is_cancel_requested=True,
    )


def save_leftover(connection: sa.Connection, claim: Claim, journal: Mapping[str, object]) -> None:
    """Implement `Queue.save_leftover`."""
    if claim.leftover is None:
        return
    update_claimed(connection, claim, token=claim.token)  # only raises LeaseLostError, or keeps others out
    connection.execute(
        sa.update(actions)
        .where(actions.c.uuid == claim.leftover.action.uuid)
        .values(journal=dict(journal), abandoned=bool(journal))
    )
