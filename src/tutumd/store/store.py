"""The store that the application reads and writes, with its engines, services, containers and engine requests."""

from collections.abc import Mapping
from dataclasses import asdict, replace

import sqlalchemy as sa

from tutumd.errors import ConflictError
from tutumd.model import AuditEvent, Container, Definition, Page, Query, Service, ServiceState, User
from tutumd.ports.store import Store
from tutumd.store.objects import audit
from tutumd.store.objects.accounts import SqlAccounts
from tutumd.store.objects.action_rows import SqlRecentActions
from tutumd.store.objects.deliveries import SqlDeliveries
from tutumd.store.objects.freeze_windows import SqlFreezeWindows
from tutumd.store.objects.groups import SqlGroups
from tutumd.store.objects.handlers import SqlHandlers
from tutumd.store.objects.issuers import SqlIssuers
from tutumd.store.objects.notifications import SqlTargets
from tutumd.store.objects.revisions import SqlRevisions
from tutumd.store.objects.rollbacks import SqlRollbacks
from tutumd.store.objects.row_mapping import (
    container_from,
    read_one,
    read_page,
    read_service,
    visible_to,
)
from tutumd.store.objects.services import SqlServices
from tutumd.store.queue.snapshots import end_service, insert_service
from tutumd.store.sql import ENDS
from tutumd.store.tables import RUNNING, actions, containers, engines, handlers, new_uuid, requests, services
from tutumd.store.upkeep.retention import MAX_REQUEST_AGE

_CONTAINER_FILTERS = {
    "uuid": containers.c.uuid,
    "name": containers.c.name,
    "state": containers.c.state,
    "service": containers.c.service_uuid,
    "service__stack__name": services.c.stack,
}


class SqlStore(
    SqlRecentActions,
    SqlHandlers,
    SqlGroups,
    SqlDeliveries,
    SqlAccounts,
    SqlRollbacks,
    SqlServices,
    SqlRevisions,
    SqlTargets,
    SqlIssuers,
    SqlFreezeWindows,
    Store,
):
    """Store of tutumd.ports."""

    def wal_bytes(self) -> int:
        return self._database.dialect.wal_bytes()

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
            audit.record(
                connection,
                viewer,
                AuditEvent.SERVICE_CHANGED,
                self._clock(),
                service=service,
                details=_changed_fields(before, service),
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

    def add_request(self, service: Service, kind: str, arguments: Mapping[str, object]) -> str:
        uuid = new_uuid()
        now = self._clock()
        with self._wakeup.write(self._database) as (connection, woken):
            woken.add(service.engine)
            connection.execute(sa.delete(requests).where(requests.c.created < now - MAX_REQUEST_AGE))
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
        return uuid

    def pop_response(self, request_uuid: str) -> Mapping[str, object] | None:
        this_request = requests.c.uuid == request_uuid
        with self._database.read() as connection:
            response = connection.execute(sa.select(requests.c.answer).where(this_request)).scalar()
        if response is None:
            return None
        with self._database.write() as connection:
            connection.execute(sa.delete(requests).where(this_request))
        return dict(response)

    def wait_for_end(self, seen: int, timeout_s: float) -> int:
        self._wakeup.topics.add(ENDS)
        return self._wakeup.wait(seen, timeout_s)


def _changed_fields(before: Service, after: Service) -> str:
    """Return the names of the changed fields, without values: variables may be secrets."""
    old, new = (
        {"image": each.image_name, **(asdict(each.definition) if each.definition else {})} for each in (before, after)
    )
    changed = sorted(name for name in new if old.get(name) != new[name])
    number = [f"target_num_containers to {after.target}"] if before.target != after.target else []
    return "changed: " + (", ".join(changed + number) or "nothing")


def _select_containers(viewer: User) -> sa.Select[tuple[object, ...]]:
    return sa.select(containers).join(services).where(visible_to(viewer))
