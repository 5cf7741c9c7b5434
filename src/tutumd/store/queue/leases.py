"""Leases: which actions a worker may claim, updates for the holder of a claim only, and abandoned actions."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tutumd.boottime import boottime_s
from tutumd.errors import ConflictError, LeaseLostError
from tutumd.model import ActionState, Claim, ReasonCode, Service
from tutumd.ports import GIVE_UP_AFTER, HEARTBEAT_TIMEOUT, Clock, Renewal
from tutumd.store.objects import action_totals
from tutumd.store.objects.action_rows import action_from, select_actions
from tutumd.store.objects.row_mapping import Row
from tutumd.store.queue import group_calls, holds, outbox
from tutumd.store.queue.snapshots import raise_revision, settle_target
from tutumd.store.sql import Database, upsert
from tutumd.store.tables import (
    EPOCH,
    LEASED,
    LIVE,
    RUNNING,
    action_lines,
    actions,
    discoveries,
    meta,
    notifications,
    services,
    storable,
    worker_slots,
)

_BOOT, _BOOT_ID = "boot", Path("/proc/sys/kernel/random/boot_id")

CLOCK_SKEW = timedelta(milliseconds=50)
"""Tolerated clock skew between processes, so that a worker finds a new action immediately."""

SET_BACK = timedelta(seconds=1)
"""An action created this far in the future was created before a clock was set back, and no debounce holds it."""
_LONGEST = timedelta(minutes=5)
"""Longer than any lease or pause. A lease that ends later dates from before PostgreSQL's clock was set back."""

PAUSES_S = (0, 10, 30, 90)
"""Pauses of an action after the first death of its worker, after the second death in a row, and so on."""
_SUSPICIOUS = 2
_MOST_APART_S = 60
"""Actions that wait after the same death resume at intervals of a second: one of them may be the cause."""


def claim_parameters(engine_names: Sequence[str], now: datetime, lease_now: datetime) -> dict[str, object]:
    """Return the parameters of the statements of a claim.

    These statements are built once: building them takes longer than SQLite needs to execute them, and calls wait while
    a claim holds its write lock.
    """
    return {
        "engines": list(engine_names),
        "now": now,
        "due_by": now + CLOCK_SKEW,
        "set_back_from": now + SET_BACK,
        "lease_now": lease_now,
        "latest_lease": lease_now + _LONGEST,
        "failing_until": lease_now - GIVE_UP_AFTER,
    }


@cache
def select_claimable(*, are_away: bool) -> sa.Select[Any]:
    """Select the oldest due action that is pending on an idle service, or in progress without a valid lease.

    Args:
        are_away: As in `Queue.claim`.
    """
    running = actions.alias("running")
    service_is_busy = (
        sa.select(running.c.uuid)
        .where(running.c.service_uuid == actions.c.service_uuid, running.c.state == sa.literal_column("'In progress'"))
        .exists()
    )
    pending = sa.and_(actions.c.state == ActionState.PENDING.value, ~service_is_busy)
    unheld = sa.and_(actions.c.state == ActionState.IN_PROGRESS.value, _UNLEASED)
    is_of_engines = actions.c.engine.in_(sa.bindparam("engines", expanding=True))
    return (
        sa.select(actions.c.uuid, actions.c.service_uuid, actions.c.worker, actions.c.engine, actions.c.verb)
        .where(LIVE, _DUE, is_of_engines, sa.or_(pending, unheld))
        .where(_CAN_END_UNASKED if are_away else sa.true())
        .order_by(actions.c.seq)
        .limit(1)
    )


@cache
def lock_claimable(*, are_away: bool, skip_locked: bool) -> sa.Select[Any]:
    """Select the action of `select_claimable`, and lock its service."""
    return (
        select_claimable(are_away=are_away)
        .add_columns(holds.MAY_BE_HELD, group_calls.IS_UNSETTLED)
        .join(services, services.c.uuid == actions.c.service_uuid)
        .with_for_update(of=services, key_share=True, skip_locked=skip_locked)
    )


_CAN_END_UNASKED = sa.and_(
    sa.cast(actions.c.journal, sa.Text) == "{}",
    sa.or_(actions.c.cancel, actions.c.failing_since <= sa.bindparam("failing_until")),
)
# The due time of an action in progress is measured by the lease clock.
_DUE = sa.or_(
    RUNNING,
    actions.c.due <= sa.bindparam("due_by"),
    sa.and_(actions.c.created > sa.bindparam("set_back_from"), ~holds.lasting_holds(sa.bindparam("now")).exists()),
)


def is_unleased(
    lease_now: Any, until: sa.ColumnElement[datetime | None] = actions.c.lease_until, latest: Any = None
) -> sa.ColumnElement[bool]:
    """Return the condition that no worker holds an action and that it does not wait for a retry.

    Args:
        lease_now: A time.
        latest: The latest end of a valid lease; None: as it follows from the time.
    """
    latest = lease_now + _LONGEST if latest is None else latest
    return sa.or_(until.is_(None), until <= lease_now, until > latest)


_UNLEASED = is_unleased(sa.bindparam("lease_now"), latest=sa.bindparam("latest_lease"))


def boot_clock(database: Database, seconds: Callable[[], float] = boottime_s) -> Clock:
    """Return the clock of leases on SQLite: all processes of a machine share it, and nobody sets it.

    The clock starts at the boot. The first process after a reboot ends all leases and pauses: no worker survived the
    reboot, and no action caused it.
    """
    boot = _BOOT_ID.read_text(encoding="ascii").strip() if _BOOT_ID.exists() else ""
    with database.write() as connection:
        if connection.scalar(sa.select(meta.c.value).where(meta.c.key == _BOOT)) != boot:
            connection.execute(sa.update(actions).where(LIVE).values(lease_until=None, worker=None, failing_since=None))
            connection.execute(sa.delete(discoveries))
            connection.execute(sa.update(notifications).where(LEASED).values(lease_until=None))
            upsert(connection, meta, ["key"], {"key": _BOOT, "value": boot})
    return lambda: EPOCH + timedelta(seconds=seconds())


def bury(connection: sa.Connection, is_dead: sa.ColumnElement[bool], lease_now: datetime) -> Sequence[Row]:
    """Release the actions of dead workers, count the deaths, and return the actions as they were.

    After several deaths in a row, an action waits before its next run, longer each time and separately from others, so
    that it harms few of them if it is the cause.
    """
    dead = connection.execute(
        sa.select(actions)
        .where(RUNNING, actions.c.worker.isnot(None), is_dead)
        .order_by(actions.c.seq)
        .with_for_update(skip_locked=True)
    ).all()
    waiting = 0
    for row in dead:
        pause_s = PAUSES_S[row.deaths] if row.deaths < len(PAUSES_S) else 0
        until = lease_now + timedelta(seconds=pause_s + min(waiting, _MOST_APART_S)) if pause_s else None
        waiting += bool(pause_s)
        connection.execute(
            sa.update(actions)
            .where(actions.c.uuid == row.uuid)
            .values(worker=None, token=row.token + 1, lease_until=until, deaths=row.deaths + 1)
        )
        action_totals.count_takeover(connection, row.engine, row.verb)
    # Otherwise, `excuse_waiting` would consider them workers that performed nothing.
    connection.execute(sa.delete(worker_slots).where(worker_slots.c.worker.in_({row.worker for row in dead})))
    return dead


def take_over(connection: sa.Connection, is_dead: sa.ColumnElement[bool], lease_now: datetime) -> None:
    """End the leases of a dead server's workers.

    If neither a single action ran, nor a single action was present at the previous two deaths, something else kills
    workers. An action that was waiting then counts at most two deaths.
    """
    dead = bury(connection, is_dead, lease_now)
    if len(dead) != 1 and sum(row.deaths >= _SUSPICIOUS for row in dead) != 1:
        waited = sa.and_(RUNNING, actions.c.uuid.not_in([row.uuid for row in dead]), actions.c.worker.is_(None))
        connection.execute(sa.update(actions).where(waited, actions.c.deaths > _SUSPICIOUS).values(deaths=_SUSPICIOUS))


def excuse_waiting(connection: sa.Connection, now: datetime, lease_now: datetime) -> None:
    """Excuse waiting actions, as `take_over` does, if a worker died that performed nothing.

    A worker counts as dead once its heartbeat is old. Its last heartbeat must be newer than the pause of an action,
    because an action may kill other workers, too.
    """
    c, busy = worker_slots.c, sa.select(actions.c.worker).where(RUNNING, actions.c.worker.isnot(None))
    silent = (
        sa.select(c.worker, c.engine)
        .where(c.last_heartbeat < now - HEARTBEAT_TIMEOUT, c.worker.not_in(busy))
        .with_for_update(skip_locked=True)
    )
    dead = sa.delete(worker_slots).where(sa.tuple_(c.worker, c.engine).in_(silent))
    beats = connection.scalars(dead.returning(c.last_heartbeat)).all()
    if beats:
        died = lease_now - (now - max(beats))
        waited = sa.or_(
            *(
                sa.and_(actions.c.deaths == n, actions.c.lease_until < died + timedelta(seconds=PAUSES_S[n - 1]))
                for n in range(_SUSPICIOUS + 1, len(PAUSES_S) + 1)
            )
        )
        held = (
            sa.select(actions.c.seq)
            .where(RUNNING, actions.c.worker.is_(None), waited)
            .with_for_update(skip_locked=True)
        )
        connection.execute(sa.update(actions).where(actions.c.seq.in_(held)).values(deaths=_SUSPICIOUS))


@cache
def claim_oldest(*, are_away: bool) -> sa.UpdateBase:
    """Claim the oldest action of a locked service, and return its UUID; no row if it is already claimed."""
    oldest = (
        select_claimable(are_away=are_away)
        .where(actions.c.service_uuid == sa.bindparam("claimed_service"))
        .with_only_columns(actions.c.uuid)
        .correlate(None)
        .scalar_subquery()
    )
    return (
        sa.update(actions)
        # The holder may renew the lease at the same time, because a renewal locks no service.
        .where(actions.c.uuid == oldest, LIVE, _DUE, _UNLEASED)
        .values(
            state=ActionState.IN_PROGRESS.value,
            open=False,
            worker=sa.bindparam("claiming_worker"),
            token=actions.c.token + 1,
            lease_until=sa.bindparam("leased_until"),
            started=sa.func.coalesce(actions.c.started, sa.bindparam("now", type_=actions.c.started.type)),
        )
        .returning(actions.c.uuid)
    )


def update_claimed(connection: sa.Connection, claim: Claim, **values: object) -> None:
    """Update the action of a claim.

    Raises:
        LeaseLostError: Another claim has been made since, or the action has ended; nothing was updated.
    """
    computed = {name: value for name, value in values.items() if isinstance(value, sa.ClauseElement)}
    stored = {name: value for name, value in values.items() if name not in computed}
    update = _update_claimed(tuple(stored))
    parameters: dict[str, object] = {f"new_{name}": value for name, value in stored.items()}
    parameters |= {"claimed_action": claim.action.uuid, "claim_token": claim.token}
    if not connection.execute(update.values(computed) if computed else update, parameters).rowcount:
        raise LeaseLostError("another worker holds this action now")


@cache
def _update_claimed(names: tuple[str, ...]) -> sa.Update:
    is_held = sa.and_(
        actions.c.uuid == sa.bindparam("claimed_action"), actions.c.token == sa.bindparam("claim_token"), RUNNING
    )
    return (
        sa.update(actions)
        .where(is_held)
        .values({name: sa.bindparam(f"new_{name}", type_=actions.c[name].type) for name in names})
    )


def renew_claims(
    connection: sa.Connection, claims: Sequence[tuple[Claim, bool]], lease_until: datetime
) -> Sequence[Renewal]:
    """Extend the leases of claims in one statement, and return the result of each. `claims` are as in `Queue.renew`.

    An action that is locked by a transaction, perhaps of a stopped process, does not delay other leases.
    """
    keys = [(claim.action.uuid, claim.token) for claim, _ in claims]
    held = sa.and_(
        sa.tuple_(actions.c.uuid, actions.c.token).in_(keys),
        actions.c.state == ActionState.IN_PROGRESS.value,
        actions.c.worker.isnot(None),  # otherwise a late renewal would extend the pause before another try
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
    return [results.get(key, Renewal.LOST) for key in keys]


_LAST_LINES = 5


def abandon(connection: sa.Connection, uuid: str, admin: str, now: datetime) -> set[str]:
    """End an action in progress whose service is locked, and return the topics to publish. Its holder can store nothing
    afterwards.

    Raises:
        ConflictError: The action has ended, or has not begun.
    """
    row = connection.execute(select_actions().where(actions.c.uuid == uuid)).one()
    # The holder may save its journal until this update, which reads the newest journal.
    updated = connection.execute(
        sa.update(actions)
        .where(actions.c.uuid == uuid, RUNNING)
        .values(
            state=ActionState.FAILED.value,
            ended=now,
            reason=storable(_describe(connection, row, admin)),
            reason_code=ReasonCode.ABANDONED.value,
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
    return action_totals.count_ended(connection, [uuid])


def _describe(connection: sa.Connection, row: Row, admin: str) -> str:
    """Return a description of what is known about a run."""
    lines = connection.scalars(
        sa.select(action_lines.c.line)
        .where(action_lines.c.action_uuid == row.uuid)
        .order_by(action_lines.c.seq.desc())
        .limit(_LAST_LINES)
    ).all()
    phase = row.journal.get("phase") or row.journal.get("stage")
    facts = {
        "abandoned by": admin,
        "phase:": phase if row.journal else "it had saved nothing that it was about to change",
        "last steps:": ", ".join(reversed(lines)),
        "last error:": row.last_error or row.engine_error,
    }
    return "left half done: " + "; ".join(f"{name} {fact}" for name, fact in facts.items() if fact)


_left = actions.alias("leftovers")
_leftover = sa.select(_left.c.uuid).where(_left.c.service_uuid == actions.c.service_uuid, _left.c.abandoned).limit(1)
SELECT_WITH_LEFTOVER = (
    select_actions(counts_deliveries=False)
    .add_columns(_leftover.scalar_subquery().label("leftover"), outbox.HAS_FORGES.label("has_forges"))
    .where(actions.c.uuid == sa.bindparam("action_uuid"))
)
"""Selects an action to claim, without columns about deliveries, with its service's abandoned action and whether anybody
is told of its start.
"""


def claim_from(row: Row, service: Service, leftover: Claim | None, lease_now: datetime) -> Claim:
    """Return the claim on the action of a row of `SELECT_WITH_LEFTOVER`."""
    return Claim(
        action=action_from(row),
        service=service,
        token=row.token,
        attempts=row.attempts,
        journal=row.journal,
        is_cancel_requested=row.cancel,
        deaths=row.deaths,
        is_given_up=row.failing_since is not None and row.failing_since <= lease_now - GIVE_UP_AFTER,
        leftover=leftover,
    )


def read_leftover(connection: sa.Connection, row: Row, service: Service) -> Claim | None:
    """Return the action to clean up before the claimed action of a row of `SELECT_WITH_LEFTOVER`."""
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
