"""The store's lists of actions for the dashboard, each with its service and what it waits for."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.model import ActionState, ActionSummary, User, Verb, full_name
from tutumd.store.objects.row_mapping import (
    Row,
    action_state,
    engine_columns,
    read_one,
    value_from,
    visible_to,
    waiting_reason,
)
from tutumd.store.sql.database import StorePart
from tutumd.store.tables.actions import LIVE, RUNNING, actions
from tutumd.store.tables.services import services

_running = actions.alias("running")
_NAMES = (
    *("seq", "uuid", "service_uuid", "engine", "verb", "state", "open", "cancel", "target", "tag", "created", "due"),
    *("started", "ended", "address", "reason", "rolled_back", "image_before", "image_after", "worker"),
)
_COLUMNS = (
    *(actions.c[name] for name in _NAMES),
    (sa.cast(actions.c.journal, sa.Text) != "{}").label("journal"),
    *(services.c[name] for name in ("engine_kind", "selector", "name", "stack")),
)


class SqlActionLists(StorePart):
    """The part of Dashboard in tutumd.ports that is about actions."""

    def unfinished_actions(self, viewer: User, limit: int = 4) -> tuple[ActionSummary, ...]:
        now = self._clock()
        with self._database.read() as connection:
            running = read_running(connection, viewer, now, limit)
            return running + read_waiting(connection, viewer, now, limit - len(running))

    def action_summary(self, viewer: User, uuid: str) -> ActionSummary:
        action = select_summaries().where(actions.c.uuid == uuid, visible_to(viewer))
        with self._database.read() as connection:
            return summary_from(read_one(connection, action), self._clock())

    def service_actions(
        self, viewer: User, service_uuid: str, *, before: int | None = None, limit: int = 20
    ) -> tuple[ActionSummary, ...]:
        service = sa.select(services.c.uuid).where(services.c.uuid == service_uuid, visible_to(viewer))
        of_service = select_summaries().where(actions.c.service_uuid == service_uuid)
        if before is not None:
            of_service = of_service.where(actions.c.seq < before)
        with self._database.read() as connection:
            read_one(connection, service.where(sa.not_(services.c.terminated)))
            rows = connection.execute(of_service.order_by(actions.c.seq.desc()).limit(limit))
            return tuple(summary_from(row, self._clock()) for row in rows)


def select_summaries() -> sa.Select[Any]:
    """Select actions with what `summary_from` needs."""
    is_busy = sa.select(_running.c.seq).where(
        _running.c.service_uuid == actions.c.service_uuid, _running.c.state == sa.literal_column("'In progress'")
    )
    return sa.select(*_COLUMNS, *engine_columns(), is_busy.exists().label("service_is_busy")).join(
        services, services.c.uuid == actions.c.service_uuid
    )


def summary_from(row: Row, now: datetime) -> ActionSummary:
    """Return the summary of a row of `select_summaries`."""
    return value_from(
        row,
        ActionSummary,
        number=row.seq,
        service_name=full_name(row.engine_kind, row.selector, row.name, row.stack),
        verb=Verb(row.verb),
        state=action_state(row),
        waits_for=_waits_for(row, now),
        held_until=row.due if _is_held(row, now) else None,
    )


def _is_held(row: Row, now: datetime) -> bool:
    """Return whether an action waits for the end of a debounce, and for nothing else."""
    is_pending = row.state == ActionState.PENDING.value and row.ended is None and row.worker is None
    return is_pending and row.due > now and not waiting_reason(row, now)


def _waits_for(row: Row, now: datetime) -> str:
    if row.ended is not None or row.worker is not None:
        return ""
    if reason := waiting_reason(row, now):
        return reason
    is_pending = row.state == ActionState.PENDING.value
    if row.due > now:
        return "waiting for more calls: the debounce of a handler is not over" if is_pending else str(row.reason)
    if is_pending and row.service_is_busy:
        return "waiting for the action that runs on its service"
    return f"waiting for its turn on engine {row.engine!r}"


def read_running(connection: sa.Connection, viewer: User, now: datetime, limit: int) -> tuple[ActionSummary, ...]:
    """Return actions in progress, newest first."""
    # Sorted here: by an index of all live actions, the database would read all that wait.
    rows = connection.execute(select_summaries().where(RUNNING, visible_to(viewer))).all()
    newest_first = sorted(rows, key=lambda row: row.seq, reverse=True)
    return tuple(summary_from(row, now) for row in newest_first[:limit])


def read_waiting(connection: sa.Connection, viewer: User, now: datetime, limit: int) -> tuple[ActionSummary, ...]:
    """Return pending actions, oldest first."""
    is_pending = actions.c.state == ActionState.PENDING.value
    waiting = select_summaries().where(LIVE, is_pending, visible_to(viewer)).order_by(actions.c.seq).limit(limit)
    return tuple(summary_from(row, now) for row in connection.execute(waiting))
