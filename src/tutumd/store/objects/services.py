"""The store's lists of services by stack and name, and their counts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from tutumd.errors import decode_reasons
from tutumd.model import EngineInfo, Page, Query, Service, ServiceGroup, ServiceState, User
from tutumd.store.objects.row_mapping import (
    SERVICE_STATE,
    Row,
    conditions,
    present_containers,
    read_page,
    select_services,
    service_from,
    value_from,
)
from tutumd.store.sql import StorePart
from tutumd.store.tables import containers, engines, services, storable

_MAX_SEARCH = 255
_HAS_WARNINGS = sa.and_(services.c.bound, sa.cast(services.c.warnings, sa.Text) != "[]")
_FILTERS: Mapping[str, sa.ColumnElement[object]] = {
    "uuid": services.c.uuid,
    "name": services.c.name,
    "state": SERVICE_STATE,
    "stack": services.c.stack,
    "stack__name": services.c.stack,
    "group_stack": sa.case((services.c.part_of != "", services.c.part_of), else_=services.c.stack),
    "engine": services.c.engine,
    "gone": sa.case((services.c.bound, "no"), else_="yes"),
    "warned": sa.case((_HAS_WARNINGS, "yes"), else_="no"),
}


class SqlServices(StorePart):
    """The part of Store in tutumd.ports that lists services."""

    def engines(self, viewer: User | None = None) -> tuple[EngineInfo, ...]:
        statement = sa.select(engines).order_by(engines.c.name)
        if viewer is not None and viewer.access.is_narrow:
            statement = statement.where(
                engines.c.name.in_(select_services(viewer).with_only_columns(services.c.engine))
            )
        with self._database.read() as connection:
            return tuple(
                value_from(row, EngineInfo, faults=decode_reasons(row.faults)) for row in connection.execute(statement)
            )

    def services(self, viewer: User, query: Query) -> Page[Service]:
        filters = dict(query.filters)
        reference, search = filters.pop("reference", None), filters.pop("search", "")
        statement = select_services(viewer).where(_matches(search), *conditions(filters, _FILTERS))
        order = [services.c.stack, services.c.name, services.c.engine, services.c.uuid]
        with self._database.read() as connection:

            def make(rows: Sequence[Row]) -> list[Service]:
                present = present_containers(connection, [row.uuid for row in rows])
                return [service_from(row, present.get(row.uuid, ()), self._clock()) for row in rows]

            if reference is not None or filters.keys() & {"name", "uuid__startswith"}:
                statement = _narrow(connection, statement, reference)
            return read_page(connection, statement, query, order, make)

    def service_groups(self, viewer: User, search: str = "") -> tuple[ServiceGroup, ...]:
        number = sa.func.sum(sa.case((_matches(search), 1), else_=0)).label("number")
        by = services.c
        groups: list[sa.ColumnElement[Any]] = [by.engine, by.stack, by.bound, SERVICE_STATE.label("state_now")]
        statement: sa.Select[Any] = select_services(viewer).with_only_columns(*groups, number).group_by(*groups)
        with self._database.read() as connection:
            return tuple(
                value_from(row, ServiceGroup, state=ServiceState(row.state_now))
                for row in connection.execute(statement)
            )


def _matches(search: str) -> sa.ColumnElement[bool]:
    text = storable(search).strip()[:_MAX_SEARCH]
    searched = (services.c.stack + "/" + services.c.name, services.c.full_name, services.c.image_name)
    return sa.or_(*(each.icontains(text, autoescape=True) for each in searched)) if text else sa.true()


def _narrow(connection: sa.Connection, statement: sa.Select[Any], reference: str | None) -> sa.Select[Any]:
    """Return a statement of services, limited to the services that a reference names and that are not gone.

    If all matches are gone, they stay.

    Args:
        reference: The reference; None: the statement itself selects the matches.
    """
    for meaning in [sa.true()] if reference is None else _meanings(reference):
        matching = statement.where(meaning)
        for found in (matching.where(services.c.bound), matching):
            if connection.execute(found.limit(1)).first() is not None:
                return found
    return statement.where(sa.false())


def _meanings(reference: str) -> Iterator[sa.ColumnElement[bool]]:
    """Yield the possible meanings of a reference; the first meaning that matches a service counts."""
    if not reference:
        return
    stack, _, name = reference.partition("/")
    yield sa.or_(
        services.c.name == reference,
        sa.and_(services.c.stack == stack, services.c.name == name),
        services.c.full_name == reference,
        services.c.alias == reference,
    )
    # `docker ps` shows a task of Swarm as `shop_web.1.TASK`, or of a global service as `shop_web.NODE.TASK`.
    yield services.c.uuid.in_(
        sa.select(containers.c.service_uuid).where(
            containers.c.present,
            sa.or_(containers.c.name == reference, containers.c.object_id == reference.rpartition(".")[2]),
        )
    )
    yield services.c.uuid.startswith(reference.lower(), autoescape=True)
