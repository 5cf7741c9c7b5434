"""The store's reads for the dashboard: the list of services, and the overview of what failed, runs, waits or is odd."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.model import (
    ActionState,
    EngineInfo,
    HandlerName,
    Overview,
    ServiceCounts,
    ServiceList,
    ServiceState,
    ServiceSummary,
    User,
)
from tutumd.ports.dashboard import Dashboard
from tutumd.store.objects.action_rows import action_from, select_actions
from tutumd.store.objects.actions import read_running, read_waiting
from tutumd.store.objects.delivery_lists import SqlDeliveryLists
from tutumd.store.objects.row_mapping import (
    SERVICE_STATE,
    Row,
    sees_all,
    select_services,
    service_from,
    value_from,
    visible_to,
)
from tutumd.store.sql.database import StorePart
from tutumd.store.tables.actions import FAILED, actions, deliveries
from tutumd.store.tables.schema import storable
from tutumd.store.tables.services import engines, handlers, services
from tutumd.store.upkeep import call_counts

_MAX_SEARCH = 255
_BY_STACK = (services.c.stack, services.c.name, services.c.uuid)


class SqlServiceList(StorePart):
    """The part of Dashboard in tutumd.ports that is about services."""

    def service_list(
        self,
        viewer: User,
        *,
        search: str = "",
        state: ServiceState | None = None,
        stack: str | None = None,
        engine: str | None = None,
        gone: bool = False,
        after: str | None = None,
        limit: int = 50,
    ) -> ServiceList:
        matches = _matches(search)
        filters = [matches, services.c.bound != gone]
        given = ((SERVICE_STATE, state and state.value), (services.c.stack, stack), (services.c.engine, engine))
        filters += [column == value for column, value in given if value is not None]
        by_name = select_groups(viewer, services.c.engine, services.c.stack, matches=matches)
        with self._database.read() as connection:
            groups = connection.execute(by_name).all()
            page = select_services(viewer).with_only_columns(services.c.uuid).where(*filters)
            if after is not None:
                page = page.where(_is_behind(connection, viewer, after))
            # Without the wide columns, which would be sorted too.
            of_page = services.c.uuid.in_(page.order_by(*_BY_STACK).limit(limit + 1))
            rows = connection.execute(select_summarized(viewer).where(of_page)).all()
            found = read_summaries(connection, rows[:limit], self._clock())
        counted = [group for group in groups if stack in (None, group.stack) and engine in (None, group.engine)]
        return ServiceList(
            services=found,
            next=found[-1].service.uuid if len(rows) > limit else None,
            counts=count_states(counted),
            stacks=tuple(sorted({group.stack for group in groups if group.stack})),
            engines=tuple(sorted({group.engine for group in groups})),
        )


def select_groups(viewer: User, *by: sa.Column[str], matches: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Select how many of the viewer's services match, by columns, whether they are bound, and state."""
    groups = (*by, services.c.bound, SERVICE_STATE.label("state_now"))
    number = sa.func.sum(sa.case((matches, 1), else_=0)).label("number")
    return select_services(viewer).with_only_columns(*groups, number).group_by(*groups)


def count_states(groups: Collection[Row]) -> ServiceCounts:
    """Return the counts of rows of `select_groups`."""
    states: Counter[ServiceState] = Counter()
    for group in groups:
        if group.bound and group.number:
            states[ServiceState(group.state_now)] += group.number
    return ServiceCounts(states=states, gone=sum(group.number for group in groups if not group.bound))


def select_summarized(viewer: User) -> sa.Select[Any]:
    """Select services with what `read_summaries` needs, by stack and name."""
    count = sa.select(sa.func.count()).where(handlers.c.service_uuid == services.c.uuid)
    newest = sa.select(sa.func.max(actions.c.seq)).where(actions.c.service_uuid == services.c.uuid)
    return (
        select_services(viewer)
        .add_columns(count.scalar_subquery().label("handlers"), newest.scalar_subquery().label("last_action"))
        .order_by(*_BY_STACK)
    )


def read_summaries(connection: sa.Connection, rows: Sequence[Row], now: datetime) -> tuple[ServiceSummary, ...]:
    """Return the summaries of rows of `select_summarized`."""
    seqs = [row.last_action for row in rows if row.last_action is not None]
    newest = connection.execute(select_actions(counts_deliveries=False).where(actions.c.seq.in_(seqs)))
    by_seq = {row.seq: action_from(row, now) for row in newest}
    return tuple(
        ServiceSummary(service=service_from(row, ()), handlers=row.handlers, last_action=by_seq.get(row.last_action))
        for row in rows
    )


def _is_behind(connection: sa.Connection, viewer: User, uuid: str) -> sa.ColumnElement[bool]:
    last = sa.select(*_BY_STACK).where(services.c.uuid == uuid, visible_to(viewer))
    place = connection.execute(last).first()
    return sa.true() if place is None else sa.tuple_(*_BY_STACK) > sa.tuple_(*place)


def _matches(search: str) -> sa.ColumnElement[bool]:
    text = storable(search).strip()[:_MAX_SEARCH]
    return sa.or_(*(each.icontains(text, autoescape=True) for each in _searched())) if text else sa.true()


def _searched() -> Iterator[sa.ColumnElement[str]]:
    """Yield what people call a service, and its image."""
    yield services.c.stack + "/" + services.c.name
    yield services.c.image_name
    yield sa.case((services.c.engine_kind == "kubernetes", services.c.selector), else_="")


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
                failed=tuple(action_from(row, now) for row in failed),
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
        select_actions(counts_deliveries=False)
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


class SqlDashboard(SqlServiceList, SqlDeliveryLists, SqlOverview, Dashboard):
    """Dashboard of tutumd.ports."""
