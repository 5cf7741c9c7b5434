"""What the application reads and writes: services, handlers, actions and request rows."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.errors import ConflictError, NotFoundError
from tutumd.model import (
    Action,
    ActionState,
    Container,
    Definition,
    Delivery,
    EngineInfo,
    Handler,
    Line,
    Operation,
    Origin,
    Page,
    Query,
    Service,
    ServiceState,
    User,
    Verb,
)
from tutumd.ports import Clock
from tutumd.store import pending
from tutumd.store.accounts import SqlAccounts
from tutumd.store.database import Database
from tutumd.store.rows import (
    NOT_FOUND,
    SERVICE_STATE,
    action_from,
    container_from,
    definition_document,
    delivery_from,
    filtered,
    handler_from,
    lock_service,
    new_uuid,
    present_containers,
    read_service,
    select_actions,
    select_services,
    service_from,
    visible,
)
from tutumd.store.signal import Signal
from tutumd.store.tables import action_lines, actions, containers, deliveries, engines, handlers, requests, services

_REQUEST_LIFE = timedelta(minutes=1)
MAX_LINES = 1000


class SqlStore(SqlAccounts):
    """Store of ports.py."""

    def __init__(self, database: Database, clock: Clock, signal: Signal) -> None:
        """Take the database, the clock, and what wakes the workers of this process."""
        super().__init__(database, clock)
        self._signal = signal

    def engines(self) -> tuple[EngineInfo, ...]:
        """See ports.py."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(engines).order_by(engines.c.name)).all()
        return tuple(
            EngineInfo(name=row.name, kind=row.kind, creates=row.creates, error=row.error, seen=row.seen)
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

    def handlers(self, viewer: User, service_uuid: str, query: Query) -> Page[Handler]:
        """See ports.py."""
        statement = sa.select(handlers).where(handlers.c.service_uuid == service_uuid)
        page, count = filtered(statement, query, {"uuid": handlers.c.uuid, "name": handlers.c.name})
        with self._database.read() as connection:
            read_service(connection, viewer, service_uuid)
            rows = connection.execute(page.order_by(handlers.c.seq)).all()
            total = connection.execute(count).scalar_one()
        return Page(objects=tuple(handler_from(row) for row in rows), total=total)

    def handler(self, viewer: User, service_uuid: str, uuid: str) -> Handler:
        """See ports.py."""
        with self._database.read() as connection:
            read_service(connection, viewer, service_uuid)
            row = connection.execute(
                sa.select(handlers).where(handlers.c.uuid == uuid, handlers.c.service_uuid == service_uuid)
            ).first()
        if row is None:
            raise NotFoundError(NOT_FOUND)
        return handler_from(row)

    def add_handlers(
        self, viewer: User, service_uuid: str, entries: Sequence[tuple[str | None, Operation]]
    ) -> tuple[Handler, ...]:
        """See ports.py."""
        now = self._clock()
        made = tuple(
            Handler(uuid=new_uuid(), service_uuid=service_uuid, name=name, operation=operation, created=now)
            for name, operation in entries
        )
        with self._database.write() as connection:
            read_service(connection, viewer, service_uuid)
            if made:
                connection.execute(sa.insert(handlers), [_handler_values(handler) for handler in made])
        return made

    def delete_handler(self, viewer: User, service_uuid: str, uuid: str) -> None:
        """See ports.py."""
        with self._database.write() as connection:
            read_service(connection, viewer, service_uuid)
            deleted = connection.execute(
                sa.delete(handlers).where(handlers.c.uuid == uuid, handlers.c.service_uuid == service_uuid)
            )
            if not deleted.rowcount:
                raise NotFoundError(NOT_FOUND)

    def actions(self, viewer: User, query: Query) -> Page[Action]:
        """See ports.py."""
        columns = {
            "uuid": actions.c.uuid,
            "state": actions.c.state,
            "object": actions.c.service_uuid,
            "start_date": actions.c.created,
            "end_date": actions.c.ended,
        }
        statement = select_actions().join(services, services.c.uuid == actions.c.service_uuid).where(visible(viewer))
        page, count = filtered(statement, query, columns)
        with self._database.read() as connection:
            rows = connection.execute(page.order_by(actions.c.seq.desc())).all()
            total = connection.execute(count).scalar_one()
        return Page(objects=tuple(action_from(row) for row in rows), total=total)

    def action(self, viewer: User, uuid: str) -> Action:
        """See ports.py."""
        statement = select_actions().join(services, services.c.uuid == actions.c.service_uuid)
        with self._database.read() as connection:
            row = connection.execute(statement.where(actions.c.uuid == uuid, visible(viewer))).first()
        if row is None:
            raise NotFoundError(NOT_FOUND)
        return action_from(row)

    def submit(self, service_uuid: str, verb: Verb, *, target: int | None, origin: Origin) -> Action:
        """See ports.py."""
        with self._database.write() as connection:
            service = lock_service(connection, service_uuid)
            new = pending.new_action(
                service_uuid, service.engine, verb, target=target, origin=origin, now=self._clock()
            )
            uuid = _joinable(connection, service_uuid, verb, target)
            if uuid is None:
                if verb is not Verb.REDEPLOY:
                    pending.close_all(connection, service_uuid)
                pending.insert(connection, [new])
                uuid = str(new["uuid"])
            if verb is Verb.SCALE and target is not None:
                connection.execute(
                    sa.update(services).where(services.c.uuid == service_uuid).values(target=target, fingerprint="")
                )
            row = connection.execute(select_actions().where(actions.c.uuid == uuid)).one()
            self._signal.tell_others(connection)
        self._signal.notify()
        return action_from(row)

    def cancel(self, viewer: User, uuid: str) -> Action:
        """See ports.py."""
        with self._database.write() as connection:
            action = lock_action(connection, viewer, uuid)
            if not action.can_be_canceled:
                raise ConflictError(
                    f"the action is {action.state.value}: only a pending or running one can be canceled"
                )
            if action.state is ActionState.PENDING:
                values: dict[str, Any] = {
                    "state": ActionState.CANCELED.value,
                    "open": False,
                    "ended": self._clock(),
                    "reason": "canceled on request before it began",
                }
            else:
                values = {"cancel": True}
            connection.execute(sa.update(actions).where(actions.c.uuid == uuid).values(**values))
            if action.verb is Verb.SCALE:
                connection.execute(
                    sa.update(services).where(services.c.uuid == action.service_uuid).values(fingerprint="")
                )
            row = connection.execute(select_actions().where(actions.c.uuid == uuid)).one()
            self._signal.tell_others(connection)
        self._signal.notify()
        return action_from(row)

    def retry(self, viewer: User, uuid: str, origin: Origin) -> Action:
        """See ports.py."""
        with self._database.write() as connection:
            old = lock_action(connection, viewer, uuid)
            if not old.can_be_retried:
                raise ConflictError(f"the action is {old.state.value}: only a failed or canceled one can be retried")
            service = lock_service(connection, old.service_uuid)
            amount = 0
            if old.verb is Verb.SCALEUP:
                amount = sum(amounts_of(connection, uuid))
            pending.close_all(connection, old.service_uuid)
            new = pending.new_action(
                old.service_uuid,
                service.engine,
                old.verb,
                target=None if old.verb is Verb.SCALEUP else old.target,
                amount=amount,
                origin=origin,
                now=self._clock(),
            )
            pending.insert(connection, [{**new, "open": False}])
            row = connection.execute(select_actions().where(actions.c.uuid == new["uuid"])).one()
            self._signal.tell_others(connection)
        self._signal.notify()
        return action_from(row)

    def lines(self, viewer: User, action_uuid: str, after: int) -> tuple[Line, ...]:
        """See ports.py."""
        self.action(viewer, action_uuid)
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(action_lines)
                .where(action_lines.c.action_uuid == action_uuid, action_lines.c.seq > after)
                .order_by(action_lines.c.seq)
                .limit(MAX_LINES)
            ).all()
        return tuple(Line(number=row.seq, at=row.at, text=row.line) for row in rows)

    def deliveries(self, viewer: User, service_uuid: str, handler_uuid: str, query: Query) -> Page[Delivery]:
        """See ports.py."""
        self.handler(viewer, service_uuid, handler_uuid)
        statement = sa.select(deliveries).where(deliveries.c.handler_uuid == handler_uuid)
        page, count = filtered(statement, query, {})
        with self._database.read() as connection:
            rows = connection.execute(page.order_by(deliveries.c.seq.desc())).all()
            total = connection.execute(count).scalar_one()
        return Page(objects=tuple(delivery_from(row) for row in rows), total=total)

    def ask(self, service: Service, kind: str, arguments: Mapping[str, object]) -> str:
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
            self._signal.tell_others(connection)
        self._signal.notify()
        return uuid

    def answer(self, request_uuid: str) -> Mapping[str, object] | None:
        """See ports.py."""
        with self._database.read() as connection:
            answer = connection.execute(sa.select(requests.c.answer).where(requests.c.uuid == request_uuid)).scalar()
        if answer is None:
            return None
        with self._database.write() as connection:
            connection.execute(sa.delete(requests).where(requests.c.uuid == request_uuid))
        found: Mapping[str, object] = answer
        return found


def lock_action(connection: sa.Connection, viewer: User, uuid: str) -> Action:
    """Read an action that the viewer may see, and keep it as it is until the transaction ends."""
    service_uuid = connection.execute(
        sa.select(actions.c.service_uuid)
        .join(services, services.c.uuid == actions.c.service_uuid)
        .where(actions.c.uuid == uuid, sa.not_(services.c.terminated), visible(viewer))
    ).scalar()
    if service_uuid is None:
        raise NotFoundError(NOT_FOUND)
    lock_service(connection, service_uuid)
    return action_from(connection.execute(select_actions().where(actions.c.uuid == uuid)).one())


def amounts_of(connection: sa.Connection, action_uuid: str) -> tuple[int, ...]:
    """List what a SCALEUP is to add: what a retry brought from the action before it, then its calls in order."""
    brought = connection.execute(sa.select(actions.c.amount).where(actions.c.uuid == action_uuid)).scalar() or 0
    rows = connection.execute(
        sa.select(deliveries.c.amount).where(deliveries.c.action_uuid == action_uuid).order_by(deliveries.c.seq)
    )
    return (*((brought,) if brought else ()), *(row.amount for row in rows))


def _joinable(connection: sa.Connection, service_uuid: str, verb: Verb, target: int | None) -> str | None:
    """Find the pending action that already is what is wanted."""
    if verb is Verb.REDEPLOY:
        return pending.open_actions(connection, [service_uuid]).get((service_uuid, verb))
    newest = connection.execute(
        sa.select(actions)
        .where(actions.c.service_uuid == service_uuid, actions.c.state == sa.literal_column("'Pending'"))
        .order_by(actions.c.seq.desc())
        .limit(1)
    ).first()
    if newest is not None and (newest.verb, newest.target) == (verb.value, target):
        return str(newest.uuid)
    return None


def _handler_values(handler: Handler) -> dict[str, Any]:
    return {
        "uuid": handler.uuid,
        "service_uuid": handler.service_uuid,
        "name": handler.name,
        "operation": handler.operation.value,
        "created": handler.created,
    }
