"""The store's overview for the dashboard: what failed, runs and waits, and what is odd."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.model import ActionState, EngineInfo, HandlerName, Overview, User
from tutumd.store import call_counts
from tutumd.store.action_lists import read_running, read_waiting, select_summaries, summary_from
from tutumd.store.database import StorePart
from tutumd.store.row_mapping import sees_all, value_from, visible_to
from tutumd.store.service_list import count_states, read_summaries, select_groups, select_summarized
from tutumd.store.tables.actions import FAILED, actions, deliveries
from tutumd.store.tables.services import engines, handlers, services

MAX_FAILURE_AGE = timedelta(days=7)
"""An older failure is no news."""

_MAX_FAILED = 10
_MAX_LIVE = 20
_MAX_WARNED = 10
_MAX_UNUSED = 5
_HAS_WARNINGS = sa.and_(services.c.bound, sa.cast(services.c.warnings, sa.Text) != "[]")


class SqlOverview(StorePart):
    """The part of Dashboard in tutumd.ports that is about everything at once."""

    def overview(self, viewer: User, *, unused_before: datetime) -> Overview:
        now = self._clock()
        with self._database.read() as connection:
            failed = connection.execute(select_failed(viewer, now - MAX_FAILURE_AGE)).all()
            infos = connection.execute(_select_engines(viewer).order_by(engines.c.name))
            warned = connection.execute(select_summarized(viewer).where(_HAS_WARNINGS).limit(_MAX_WARNED)).all()
            with_warnings = sa.select(services.c.uuid).where(_HAS_WARNINGS, _is_visible(viewer))
            unused = _select_unused(viewer, unused_before)
            has_handlers = connection.execute(_select_handlers(viewer).limit(1)).first() is not None
            return Overview(
                failed=tuple(summary_from(row, now) for row in failed),
                running=read_running(connection, viewer, now, _MAX_LIVE),
                waiting=read_waiting(connection, viewer, now, _MAX_LIVE),
                engines=tuple(value_from(row, EngineInfo) for row in infos),
                counts=count_states(connection.execute(select_groups(viewer, matches=sa.true())).all()),
                warned=read_summaries(connection, warned, now),
                warnings=_count(connection, with_warnings),
                unused_handlers=_count(connection, unused),
                unused=_read_names(connection, unused),
                has_handlers=has_handlers,
                has_calls=has_handlers and _was_called(connection, viewer),
            )


def select_failed(viewer: User, since: datetime) -> sa.Select[Any]:
    """Select the newest actions of services that failed, newest first."""
    later = actions.alias("later")
    has_later = sa.select(later.c.seq).where(
        later.c.service_uuid == actions.c.service_uuid, later.c.seq > actions.c.seq
    )
    ended = later.c.state.in_([ActionState.SUCCESS.value, ActionState.FAILED.value])
    return (
        select_summaries()
        .where(FAILED, actions.c.created > since, ~has_later.where(ended).exists(), _is_visible(viewer))
        .order_by(actions.c.seq.desc())
        .limit(_MAX_FAILED)
    )


def _is_visible(viewer: User) -> sa.ColumnElement[bool]:
    return sa.and_(visible_to(viewer), sa.not_(services.c.terminated))


def _select_engines(viewer: User) -> sa.Select[Any]:
    """Select the engines; for narrow credentials those of the services that they are for."""
    seen = sa.select(services.c.engine).where(_is_visible(viewer))
    return sa.select(engines).where(engines.c.name.in_(seen) if viewer.access.is_narrow else sa.true())


def _count(connection: sa.Connection, statement: sa.Select[Any]) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(statement.subquery())).scalar_one())


def _select_handlers(viewer: User) -> sa.Select[Any]:
    statement = sa.select(handlers.c.seq)
    if sees_all(viewer):  # a service that is terminated has none
        return statement
    return statement.join(services, services.c.uuid == handlers.c.service_uuid).where(_is_visible(viewer))


def _was_called(connection: sa.Connection, viewer: User) -> bool:
    """Return whether a handler of the viewer was ever called."""
    counted = _select_handlers(viewer).where(handlers.c.last_called.isnot(None))
    of_handler = deliveries.c.handler_seq == handlers.c.seq
    uncounted = _select_handlers(viewer).join(deliveries, of_handler).where(call_counts.is_uncounted(connection))
    return any(connection.execute(called.limit(1)).first() is not None for called in (counted, uncounted))


def _select_unused(viewer: User, before: datetime) -> sa.Select[Any]:
    """Select handlers that are not called, as of the last count of calls, which is at most a minute old."""
    last_used = sa.func.coalesce(handlers.c.last_called, handlers.c.created, type_=handlers.c.created.type)
    return _select_handlers(viewer).where(last_used < before)


def _read_names(connection: sa.Connection, unused: sa.Select[Any]) -> tuple[HandlerName, ...]:
    """Return the names of handlers that were last called, or created, first."""
    columns: tuple[sa.ColumnElement[Any], ...] = (
        handlers.c.seq.label("number"),
        handlers.c.service_uuid,
        handlers.c.name,
    )
    oldest_first = sa.func.coalesce(handlers.c.last_called, handlers.c.created)
    rows = connection.execute(unused.with_only_columns(*columns).order_by(oldest_first).limit(_MAX_UNUSED))
    return tuple(value_from(row, HandlerName) for row in rows)
