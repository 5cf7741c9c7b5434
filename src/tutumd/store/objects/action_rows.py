"""Rows of actions with what they wait for, their logs and deliveries, and recent actions.

PostgreSQL has an index of deliveries by action. On SQLite, with one writer, each call of a batch would change another
page of such an index, which costs a third of the calls per second once there are many rows. There, the index is by
chunk and action, so that it grows at its end. A row of `actions` has the range of numbers of its deliveries, and
`delivery_chunks` has the chunks. Triggers write both.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from tutumd.model import Action, ActionState, Hold, Phase, Requester, User, Verb, read_wanted
from tutumd.ports import HEARTBEAT_TIMEOUT
from tutumd.store.objects import audit
from tutumd.store.objects.row_mapping import IS_GROUP, Row, join_shown_handlers, read_one, value_from, visible_to
from tutumd.store.queue import holds
from tutumd.store.sql import IndexHint, StorePart
from tutumd.store.tables import (
    CHUNK_BITS,
    FAILED,
    action_lines,
    actions,
    deliveries,
    engines,
    handlers,
    services,
    storable,
)

_NEWEST = "(SELECT coalesce(max(seq), 0) FROM deliveries)"
TRIGGERS = (
    f"CREATE TRIGGER actions_queued AFTER INSERT ON actions BEGIN UPDATE actions SET first_delivery = {_NEWEST},"  # noqa: S608 (a constant)
    f" last_delivery = CASE WHEN NEW.open THEN NULL ELSE {_NEWEST} END WHERE seq = NEW.seq; END",
    "CREATE TRIGGER actions_closed AFTER UPDATE OF open ON actions WHEN OLD.open AND NOT NEW.open"  # noqa: S608
    f" BEGIN UPDATE actions SET last_delivery = {_NEWEST} WHERE seq = NEW.seq; END",
    f"CREATE TRIGGER chunks_begun AFTER INSERT ON deliveries WHEN NEW.seq % {1 << CHUNK_BITS} = 0 OR NEW.seq = 1"  # noqa: S608 (a constant)
    f" BEGIN INSERT OR IGNORE INTO delivery_chunks VALUES (NEW.seq >> {CHUNK_BITS}); END",
)


# `+`: otherwise both sides are compared as integers, and SQLite has no index of the left one as an integer.
IS_OF_ACTION = sa.and_(
    deliveries.c.action_seq == actions.c.seq,
    IndexHint(
        sa.text(
            f"(deliveries.seq >> {CHUNK_BITS}) IN (SELECT +chunk FROM delivery_chunks WHERE chunk BETWEEN"  # noqa: S608
            f" actions.first_delivery >> {CHUNK_BITS} AND coalesce(actions.last_delivery, {2**63 - 1}) >> {CHUNK_BITS})"
        )
    ),
)
"""The condition that a row of `deliveries` belongs to one of `actions`."""


def seqs(action_seq: int) -> sa.Select[Any]:
    """Select the numbers of an action's deliveries."""
    return (
        sa.select(deliveries.c.seq)
        .select_from(actions)
        .join(deliveries, IS_OF_ACTION)
        .where(actions.c.seq == action_seq)
    )


def count() -> sa.ScalarSelect[int]:
    """Return how many deliveries an action of the surrounding query has."""
    return sa.select(sa.func.count()).select_from(deliveries).where(IS_OF_ACTION).correlate(actions).scalar_subquery()


_IS_NEAR_START = IndexHint(
    sa.text(
        f"(deliveries.seq >> {CHUNK_BITS}) IN (SELECT +chunk FROM delivery_chunks WHERE chunk BETWEEN"  # noqa: S608
        f" actions.first_delivery >> {CHUNK_BITS} AND (actions.first_delivery >> {CHUNK_BITS}) + 1)"
    )
)
"""The action and the call that created it are stored together, with at most 255 other calls."""


def first_handler() -> sa.ScalarSelect[int]:
    """Return the number of the handler whose call created an action of the surrounding query; NULL without a call."""
    return (
        sa.select(deliveries.c.handler_seq)
        .where(deliveries.c.action_seq == actions.c.seq, _IS_NEAR_START)
        .order_by(deliveries.c.seq)
        .limit(1)
        .correlate(actions)
        .scalar_subquery()
    )


MAX_LINES = 1_000
"""Maximum number of log lines of an action: the first 100, and the newest."""

MAX_LENGTH = 4_000
LEFT_OUT = "… lines were left out here: an action keeps its first and its newest lines"

_FIRST = 100
_AT_ONCE = 100

_INSERT_LINE = sa.insert(action_lines).inline()
_LINES_OF_ACTION = (
    sa.select(action_lines.c.seq)
    .where(action_lines.c.action_uuid == sa.bindparam("action_uuid"))
    .order_by(action_lines.c.seq)
)


def add_line(connection: sa.Connection, action_uuid: str, at: datetime, text: str, phase: Phase | None = None) -> None:
    """Add a line to the log of an action. Beyond `MAX_LINES`, lines in the middle are deleted, and one line reports the
    deletion.
    """
    connection.execute(
        _INSERT_LINE,
        {"action_uuid": action_uuid, "at": at, "line": storable(text)[:MAX_LENGTH], "phase": phase and phase.value},
    )
    lines = connection.execute(_LINES_OF_ACTION, {"action_uuid": action_uuid}).scalars().all()
    if len(lines) > MAX_LINES:
        left_out, *deleted = lines[_FIRST : _FIRST + _AT_ONCE]
        connection.execute(
            sa.update(action_lines).where(action_lines.c.seq == left_out).values(line=LEFT_OUT, phase=None)
        )
        connection.execute(sa.delete(action_lines).where(action_lines.c.seq.in_(deleted)))


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
        (count() if counts_deliveries else sa.literal(0)).label("delivery_count"),
        services.c.full_name.label("service_name"),
        heartbeat.scalar_subquery().label("last_heartbeat"),
        error.scalar_subquery().label("engine_error"),
        is_busy.exists().label("service_is_busy"),
    ).join(services, services.c.uuid == actions.c.service_uuid)


def read_action(
    connection: sa.Connection, uuid: str, now: datetime | None = None, viewer: User | None = None
) -> Action:
    """Return an action. `now` is as in `action_from`. Raises NotFoundError, also if the viewer may not see it."""
    row = read_one(connection, select_actions().where(actions.c.uuid == uuid, visible_to(viewer)))
    return actions_from(connection, [row], now)[0]


def actions_from(connection: sa.Connection, rows: Iterable[Row], now: datetime | None) -> tuple[Action, ...]:
    """Return the actions of rows of `select_actions`, with what holds them. `now` is as in `action_from`."""
    found = list(rows)
    held = [row.seq for row in found if now and row.state == ActionState.PENDING.value and row.due > now]
    holds_by_seq = holds.read(connection, held, now) if held and now else {}
    return tuple(action_from(row, now, holds_by_seq.get(row.seq, ())) for row in found)


def action_from(row: Row, now: datetime | None = None, held_by: tuple[Hold, ...] = ()) -> Action:
    """Return the action of a row of `select_actions`.

    Args:
        now: The time for which the action describes its wait; None: no description.
        held_by: What holds it then.
    """
    of_engine, waits_for = "", ""
    if now is not None and row.ended is None and row.worker is None:
        of_engine = _describe_engine(row, now)
        waits_for = of_engine or ("" if held_by else _describe_wait(row, now))
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
        held_until=row.due if held_by and row.due < holds.NEVER else None,
        holds=held_by,
        image=None if row.image is None else read_wanted(row.image),
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
    if row.due > now and not is_pending:
        return str(row.reason)
    if is_pending and row.service_is_busy:
        return "waiting for the action that runs on its service"
    return f"waiting for its turn on engine {row.engine!r}"


MAX_FAILURE_AGE = timedelta(days=7)
"""Older failures are not listed."""

_MAX_FAILED = 10


class SqlRecentActions(StorePart):
    """The part of Store in tutumd.ports that lists the newest actions."""

    def newest_actions(self, viewer: User, service_uuids: Sequence[str]) -> Mapping[str, Action]:
        of_service = sa.select(sa.func.max(actions.c.seq)).where(actions.c.service_uuid == services.c.uuid)
        newest = sa.select(of_service.scalar_subquery()).where(services.c.uuid.in_(service_uuids), visible_to(viewer))
        found = select_actions(counts_deliveries=False).where(actions.c.seq.in_(newest))
        with self._database.read() as connection:
            of_services = actions_from(connection, connection.execute(found), self._clock())
        return {action.service_uuid: action for action in of_services}

    def failed_actions(self, viewer: User) -> tuple[Action, ...]:
        now = self._clock()
        later = actions.alias("later")
        has_later = sa.select(later.c.seq).where(
            later.c.service_uuid == actions.c.service_uuid, later.c.seq > actions.c.seq
        )
        ended = later.c.state.in_([ActionState.SUCCESS.value, ActionState.FAILED.value])
        failed = select_actions(counts_deliveries=False).where(FAILED, actions.c.created > now - MAX_FAILURE_AGE)
        is_newest = sa.and_(~has_later.where(ended).exists(), visible_to(viewer), sa.not_(services.c.terminated))
        with self._database.read() as connection:
            newest_first = failed.where(is_newest).order_by(actions.c.seq.desc())
            return actions_from(connection, connection.execute(newest_first.limit(_MAX_FAILED)), now)

    def recent_actions(self, viewer: User, limit: int, *, failed: bool = False) -> tuple[Action, ...]:
        found = select_actions(counts_deliveries=False).where(visible_to(viewer), sa.not_(services.c.terminated))
        with self._database.read() as connection:
            chosen = FAILED if failed else actions.c.seq.in_(_read_newest(connection, viewer, limit))
            newest_first = found.where(chosen).order_by(actions.c.seq.desc())
            return actions_from(connection, connection.execute(newest_first.limit(limit)), self._clock())

    def requesters(self, viewer: User, action_uuids: Sequence[str]) -> Mapping[str, Requester]:
        called = (
            sa.select(actions.c.uuid, first_handler().label("handler"))
            .join(services, services.c.uuid == actions.c.service_uuid)
            .where(actions.c.uuid.in_(action_uuids), visible_to(viewer))
            .subquery()
        )
        named = join_shown_handlers(
            sa.select(called, handlers.c.seq, handlers.c.name, IS_GROUP).select_from(called), called.c.handler
        )
        with self._database.read() as connection:
            users = audit.read_requesters(connection, viewer, action_uuids)
            return {
                row.uuid: Requester(
                    users=users.get(row.uuid, ()),
                    handler=row.seq,
                    handler_name=row.name,
                    is_call=row.handler is not None,
                    is_group=bool(row.is_group),
                )
                for row in connection.execute(named)
            }


def _read_newest(connection: sa.Connection, viewer: User, limit: int) -> list[int]:
    """Return the numbers of the newest actions of all services that the viewer sees.

    For a viewer who does not see all services, the newest actions belong to at most as many services: those whose
    newest actions are the newest. So the database reads one index entry for each service, and no action of another
    viewer's service.
    """
    numbers = sa.select(actions.c.seq).order_by(actions.c.seq.desc())
    if viewer.is_admin and not viewer.access.is_narrow:
        # By the primary key, from its end.
        return list(
            connection.scalars(
                numbers.join(services, services.c.uuid == actions.c.service_uuid)
                .where(sa.not_(services.c.terminated), actions.c.seq > 0)
                .limit(limit)
            )
        )
    newest = numbers.where(actions.c.service_uuid == services.c.uuid).limit(1).scalar_subquery()
    chosen = connection.scalars(
        sa.select(services.c.uuid)
        .where(visible_to(viewer), sa.not_(services.c.terminated))
        .order_by(sa.func.coalesce(newest, 0).desc())
        .limit(limit)
    ).all()
    each = [numbers.where(actions.c.service_uuid == uuid).limit(limit).subquery() for uuid in chosen]
    found = connection.scalars(sa.union_all(*(sa.select(part.c.seq) for part in each))).all() if each else []
    return sorted(found, reverse=True)[:limit]
