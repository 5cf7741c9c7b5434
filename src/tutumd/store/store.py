"""What the application reads and writes: services, containers and request rows; and what its parts are about."""

from collections.abc import Mapping
from datetime import timedelta

import sqlalchemy as sa

from tutumd.errors import NOT_FOUND, ConflictError, NotFoundError
from tutumd.model import (
    Container,
    Definition,
    EngineInfo,
    Page,
    Query,
    Service,
    ServiceState,
    User,
)
from tutumd.store.accounts import SqlAccounts
from tutumd.store.actions import SqlActions
from tutumd.store.handlers import SqlHandlers
from tutumd.store.row_mapping import (
    SERVICE_STATE,
    container_from,
    definition_document,
    filtered,
    new_uuid,
    present_containers,
    read_service,
    select_services,
    service_from,
    visible,
)
from tutumd.store.tables import containers, engines, requests, services

_REQUEST_LIFE = timedelta(minutes=1)


class SqlStore(SqlActions, SqlHandlers, SqlAccounts):
    """Store of ports.py."""

    def engines(self) -> tuple[EngineInfo, ...]:
        """See ports.py."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(engines).order_by(engines.c.name)).all()
        return tuple(
            EngineInfo(name=row.name, kind=row.kind, can_create=row.creates, error=row.error, last_heartbeat=row.seen)
            for row in rows
        )

    def services(self, viewer: User, query: Query) -> Page[Service]:
        """See ports.py."""
        columns = {
            "uuid": services.c.uuid,
            "name": services.c.name,
            "state": SERVICE_STATE,
            "stack": services.c.stack,
            "stack__name": services.c.stack,
        }
        page, count = filtered(select_services(viewer), query, columns)
        with self._database.read() as connection:
            rows = connection.execute(page.order_by(services.c.name, services.c.engine, services.c.uuid)).all()
            running = present_containers(connection, [row.uuid for row in rows])
            total = connection.execute(count).scalar_one()
        return Page(objects=tuple(service_from(row, running.get(row.uuid, ())) for row in rows), total=total)

    def service(self, viewer: User, uuid: str) -> Service:
        """See ports.py."""
        with self._database.read() as connection:
            return read_service(connection, viewer, uuid)

    def create_service(
        self, *, engine: str, name: str, image: str, owner: str, definition: Definition, target: int
    ) -> Service:
        """See ports.py."""
        uuid = new_uuid()
        with self._database.write() as connection:
            kind = connection.execute(sa.select(engines.c.kind).where(engines.c.name == engine)).scalar()
            taken = connection.execute(
                sa.select(services.c.uuid).where(
                    services.c.engine == engine, services.c.name == name, sa.not_(services.c.terminated)
                )
            ).first()
            if taken is not None:
                raise ConflictError(f"engine {engine!r} has a service {name!r} already: choose another name")
            connection.execute(
                sa.insert(services).values(
                    uuid=uuid,
                    engine=engine,
                    engine_kind=kind or "local",
                    selector=uuid,
                    name=name,
                    stack="",
                    owner=owner,
                    bound=True,
                    terminated=False,
                    state=ServiceState.NOT_RUNNING.value,
                    target=target,
                    running=0,
                    stopped=0,
                    image_name=image,
                    run_command=definition.command,
                    definition=definition_document(definition),
                    warnings=[],
                    created=self._clock(),
                    fingerprint="",
                )
            )
            return read_service(connection, None, uuid)

    def update_service(self, uuid: str, *, definition: Definition, image: str, target: int) -> Service:
        """See ports.py."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(services)
                .where(services.c.uuid == uuid)
                .values(
                    definition=definition_document(definition),
                    run_command=definition.command,
                    image_name=image,
                    target=target,
                )
            )
            return read_service(connection, None, uuid)

    def containers(self, viewer: User, query: Query) -> Page[Container]:
        """See ports.py."""
        columns = {
            "uuid": containers.c.uuid,
            "name": containers.c.name,
            "state": containers.c.state,
            "service": containers.c.service_uuid,
            "service__stack__name": services.c.stack,
        }
        statement = (
            sa.select(containers)
            .join(services, services.c.uuid == containers.c.service_uuid)
            .where(containers.c.present, sa.not_(services.c.terminated), visible(viewer))
        )
        page, count = filtered(statement, query, columns)
        order = (services.c.name, services.c.uuid, containers.c.position)
        with self._database.read() as connection:
            rows = connection.execute(page.order_by(*order)).all()
            total = connection.execute(count).scalar_one()
        return Page(objects=tuple(container_from(row) for row in rows), total=total)

    def container(self, viewer: User, uuid: str) -> Container:
        """See ports.py."""
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(containers)
                .join(services, services.c.uuid == containers.c.service_uuid)
                .where(containers.c.uuid == uuid, visible(viewer))
            ).first()
        if row is None:
            raise NotFoundError(NOT_FOUND)
        return container_from(row)

    def add_request(self, service: Service, kind: str, arguments: Mapping[str, object]) -> str:
        """See ports.py."""
        uuid = new_uuid()
        now = self._clock()
        with self._database.write() as connection:
            connection.execute(sa.delete(requests).where(requests.c.created < now - _REQUEST_LIFE))
            connection.execute(
                sa.insert(requests).values(
                    uuid=uuid,
                    engine=service.engine,
                    service_uuid=service.uuid,
                    kind=kind,
                    arguments=dict(arguments),
                    created=now,
                    taken=False,
                )
            )
            self._wakeup.tell_others(connection)
        self._wakeup.notify()
        return uuid

    def pop_response(self, request_uuid: str) -> Mapping[str, object] | None:
        """See ports.py."""
        with self._database.read() as connection:
            answer = connection.execute(sa.select(requests.c.answer).where(requests.c.uuid == request_uuid)).scalar()
        if answer is None:
            return None
        with self._database.write() as connection:
            connection.execute(sa.delete(requests).where(requests.c.uuid == request_uuid))
        found: Mapping[str, object] = answer
        return found
