"""The store's list of services for the dashboard, with what its filters offer."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.model import ServiceCounts, ServiceList, ServiceState, ServiceSummary, User
from tutumd.store.action_lists import select_summaries, summary_from
from tutumd.store.database import StorePart
from tutumd.store.row_mapping import SERVICE_STATE, Row, select_services, service_from, visible_to
from tutumd.store.tables.actions import actions
from tutumd.store.tables.schema import storable
from tutumd.store.tables.services import handlers, services

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
    newest = connection.execute(select_summaries().where(actions.c.seq.in_(seqs)))
    by_seq = {row.seq: summary_from(row, now) for row in newest}
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
