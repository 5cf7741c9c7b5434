"""The store's engines, services and containers, for the application."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.errors import ConflictError, decode_reasons
from tutumd.model import (
    AuditEvent,
    Container,
    Definition,
    EngineInfo,
    Page,
    Query,
    Service,
    ServiceGroup,
    ServiceState,
    User,
)
from tutumd.store.objects import audit
from tutumd.store.objects.row_mapping import (
    SERVICE_STATE,
    Row,
    conditions,
    container_from,
    present_containers,
    read_one,
    read_page,
    read_service,
    select_services,
    service_from,
    value_from,
    visible_to,
)
from tutumd.store.queue.snapshots import end_service, insert_service, lock_services
from tutumd.store.sql import ENDS, StorePart
from tutumd.store.tables import RUNNING, actions, containers, engines, handlers, new_uuid, services, storable

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

_CONTAINER_FILTERS = {
    "uuid": containers.c.uuid,
    "name": containers.c.name,
    "state": containers.c.state,
    "service": containers.c.service_uuid,
    "service__stack__name": services.c.stack,
}


class SqlServices(StorePart):
    """The part of Store in tutumd.ports about engines, services and containers."""

    def engines(self, viewer: User | None = None) -> tuple[EngineInfo, ...]:
        statement = sa.select(engines).order_by(engines.c.name)
        if viewer is not None and viewer.access.is_narrow:
            statement = statement.where(
                engines.c.name.in_(select_services(viewer).with_only_columns(services.c.engine))
            )
        return tuple(
            value_from(row, EngineInfo, faults=decode_reasons(row.faults)) for row in self._database.fetch(statement)
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
        return tuple(
            value_from(row, ServiceGroup, state=ServiceState(row.state_now)) for row in self._database.fetch(statement)
        )

    def service(self, viewer: User, uuid: str) -> Service:
        with self._database.read() as connection:
            return read_service(connection, viewer, uuid, self._clock())

    def create_service(
        self, viewer: User, *, engine: str, name: str, image: str, definition: Definition, target: int
    ) -> Service:
        uuid = new_uuid()
        with self._database.write() as connection:
            # Locked, so that two simultaneous requests do not both find the name free.
            kind = connection.scalar(sa.select(engines.c.kind).where(engines.c.name == engine).with_for_update())
            same_name = sa.select(services.c.uuid).where(
                services.c.engine == engine, services.c.name == name, sa.not_(services.c.terminated)
            )
            if connection.execute(same_name).first() is not None:
                raise ConflictError(f"engine {engine!r} has a service {name!r} already: choose another name")
            insert_service(
                connection,
                uuid=uuid,
                engine=engine,
                engine_kind=kind or "local",
                selector=uuid,
                name=name,
                full_name=name,
                stack="",
                owner=viewer.name,
                state=ServiceState.NOT_RUNNING.value,
                target=target,
                image_name=image,
                run_command=definition.command,
                definition=asdict(definition),
                created=self._clock(),
            )
            service = read_service(connection, None, uuid)
            audit.record(connection, viewer, AuditEvent.SERVICE_CREATED, self._clock(), service=service)
            return service

    def update_service(
        self, viewer: User, uuid: str, *, definition: Definition, image: str, target: int | None = None
    ) -> Service:
        with self._database.write() as connection:
            before = read_service(connection, viewer, uuid)
            connection.execute(
                sa.update(services)
                .where(services.c.uuid == uuid)
                .values(
                    definition=asdict(definition),
                    run_command=definition.command,
                    image_name=image,
                    target=services.c.target if target is None else target,
                    revision=services.c.revision + 1,
                )
            )
            service = read_service(connection, viewer, uuid)
            number = [f"target_num_containers to {service.target}"] if before.target != service.target else []
            audit.record(
                connection,
                viewer,
                AuditEvent.SERVICE_CHANGED,
                self._clock(),
                service=service,
                details=audit.describe_changes(_fields(before), _fields(service), *number),
            )
            return service

    def forget(self, viewer: User, uuid: str) -> Service:
        with self._change_service(viewer, uuid) as (connection, woken, service, now):
            if service.gone_since is None:
                raise ConflictError(
                    f"{service.full_name} is not gone: engine {service.engine!r} shows it. Remove it there first"
                )
            if connection.execute(sa.select(actions.c.uuid).where(actions.c.service_uuid == uuid, RUNNING)).first():
                raise ConflictError(f"an action of {service.full_name} runs: wait for its end, or cancel it")
            woken |= {service.engine, ENDS}
            revoked = connection.scalar(
                sa.select(sa.func.count()).where(handlers.c.service_uuid == uuid, handlers.c.group_seq.is_(None))
            )
            audit.record(
                connection,
                viewer,
                AuditEvent.SERVICE_FORGOTTEN,
                now,
                service=service,
                details=f"handlers revoked: {revoked}",
            )
            woken |= end_service(connection, uuid, now, "the service was forgotten")
            return replace(service, state=ServiceState.TERMINATED)

    def containers(self, viewer: User, query: Query) -> Page[Container]:
        with self._database.read() as connection:
            return read_page(
                connection,
                _select_containers(viewer).where(containers.c.present, sa.not_(services.c.terminated)),
                query,
                [services.c.name, services.c.uuid, containers.c.position],
                lambda rows: map(container_from, rows),
                _CONTAINER_FILTERS,
            )

    def container(self, viewer: User, uuid: str) -> Container:
        with self._database.read() as connection:
            return container_from(read_one(connection, _select_containers(viewer).where(containers.c.uuid == uuid)))

    @contextmanager
    def _change_service(
        self, viewer: User, service_uuid: str
    ) -> Iterator[tuple[sa.Connection, set[str], Service, datetime]]:
        """Open a transaction like `Wakeup.write` in which a service is locked. Raises NotFoundError."""
        now = self._clock()
        with self._wakeup.write(self._database) as (connection, woken):
            lock_services(connection, [service_uuid])
            yield connection, woken, read_service(connection, viewer, service_uuid), now


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


def _fields(service: Service) -> dict[str, object]:
    return {"image": service.image_name, **(asdict(service.definition) if service.definition else {})}


def _select_containers(viewer: User) -> sa.Select[tuple[object, ...]]:
    return sa.select(containers).join(services).where(visible_to(viewer))
