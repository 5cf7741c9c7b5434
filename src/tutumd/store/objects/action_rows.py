"""Rows of actions, and actions read from them, including what they wait for."""

from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from tutumd.model import Action, ActionState, Verb
from tutumd.ports.queue import HEARTBEAT_TIMEOUT
from tutumd.store.objects import action_deliveries
from tutumd.store.objects.row_mapping import Row, value_from
from tutumd.store.tables.actions import actions
from tutumd.store.tables.services import engines, services

_running = actions.alias("running")


@cache
def select_actions(*, counts_deliveries: bool = True) -> sa.Select[Any]:
    """Select actions, each with its number of deliveries, its service's name, and the reasons for a wait."""
    heartbeat = sa.select(engines.c.last_heartbeat).where(engines.c.name == actions.c.engine)
    error = sa.select(sa.case((engines.c.away, engines.c.error), else_="")).where(engines.c.name == actions.c.engine)
    is_busy = sa.select(_running.c.seq).where(
        _running.c.service_uuid == actions.c.service_uuid, _running.c.state == sa.literal_column("'In progress'")
    )
    return sa.select(
        actions,
        (action_deliveries.count() if counts_deliveries else sa.literal(0)).label("delivery_count"),
        services.c.full_name.label("service_name"),
        heartbeat.scalar_subquery().label("last_heartbeat"),
        error.scalar_subquery().label("engine_error"),
        is_busy.exists().label("service_is_busy"),
    ).join(services, services.c.uuid == actions.c.service_uuid)


def read_action(connection: sa.Connection, uuid: str, now: datetime | None = None) -> Action:
    """Return an existing action. `now` is as in `action_from`."""
    return action_from(connection.execute(select_actions().where(actions.c.uuid == uuid)).one(), now)


def action_from(row: Row, now: datetime | None = None) -> Action:
    """Return the action of a row of `select_actions`.

    Args:
        now: The time for which the action describes its wait; None: no description.
    """
    of_engine, waits_for, is_held = "", "", False
    if now is not None and row.ended is None and row.worker is None:
        of_engine = _describe_engine(row, now)
        waits_for = of_engine or _describe_wait(row, now)
        is_held = row.state == ActionState.PENDING.value and row.due > now and not of_engine
    return value_from(
        row,
        Action,
        number=row.seq,
        verb=Verb(row.verb),
        # The value of `cancel` shows that someone requested the end of the action.
        state=ActionState.CANCELING if row.cancel and row.state == "In progress" else ActionState(row.state),
        deliveries=row.delivery_count,
        reason=of_engine or row.reason,
        waits_for=waits_for,
        held_until=row.due if is_held else None,
        containers_before=tuple(row.containers_before),
        containers_after=tuple(row.containers_after),
    )


def _describe_engine(row: Row, now: datetime) -> str:
    """Return why an action without a worker waits for its engine; empty if it does not."""
    if row.last_heartbeat is None or abs(now - row.last_heartbeat) > HEARTBEAT_TIMEOUT:
        no_worker = f"waiting: no worker serves engine {row.engine!r} now; it begins when one does"
        return no_worker if row.state == ActionState.PENDING.value else ""
    if not row.engine_error:
        return ""
    way_out = "; it is half done: it ends when the engine is back, or when an admin abandons it"
    return f"waiting for the engine: {row.engine_error}{way_out if row.journal else ''}"


def _describe_wait(row: Row, now: datetime) -> str:
    """Return why an action without a worker waits, apart from its engine."""
    is_pending = row.state == ActionState.PENDING.value
    if row.due > now:
        return "waiting for more calls: the debounce of a handler is not over" if is_pending else str(row.reason)
    if is_pending and row.service_is_busy:
        return "waiting for the action that runs on its service"
    return f"waiting for its turn on engine {row.engine!r}"
