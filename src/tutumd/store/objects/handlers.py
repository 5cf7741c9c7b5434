"""The store's webhook handlers, for the application."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.errors import ConflictError, about
from tutumd.model import (
    AuditEvent,
    EvaluationNeeded,
    Handler,
    HandlerPath,
    NewHandler,
    Operation,
    Page,
    Query,
    Rotation,
    Service,
    User,
)
from tutumd.store.objects import audit
from tutumd.store.objects.accounts import check_handlers, check_rotation
from tutumd.store.objects.issuers import name_issuers
from tutumd.store.objects.row_mapping import Row, read_one, read_page, read_service, value_from, visible_to
from tutumd.store.queue.snapshots import lock_services
from tutumd.store.sql import StorePart
from tutumd.store.tables import deliveries, handlers, new_uuid, services
from tutumd.store.upkeep import delivery_log

_CALLABLE = (
    sa.select(
        *(handlers.c[name] for name in ("uuid", "service_uuid", "options", "version", "uses", "old_uuid", "old_until"))
    )
    .outerjoin(services, services.c.uuid == handlers.c.service_uuid)
    .where(sa.or_(handlers.c.service_uuid.is_(None), sa.not_(services.c.terminated)), handlers.c.group_seq.is_(None))
)
_IS_SHOWN = handlers.c.group_seq.is_(None)


class SqlHandlers(StorePart):
    """The webhook handlers part of Store in tutumd.ports."""

    def handlers(self, viewer: User, service_uuid: str, query: Query) -> Page[Handler]:
        filters = {"uuid": handlers.c.uuid, "name": handlers.c.name}
        statement = sa.select(handlers).where(handlers.c.service_uuid == service_uuid, _IS_SHOWN)
        with self._database.read() as connection:
            read_service(connection, viewer, service_uuid)
            return read_page(
                connection, statement, query, [handlers.c.seq], lambda rows: self._make(connection, rows), filters
            )

    def handler(self, viewer: User, service_uuid: str, reference: str | int) -> Handler:
        with self._database.read() as connection:
            return self._read_handler(connection, viewer, service_uuid, reference)

    def callable_handlers(self, paths: Sequence[HandlerPath]) -> Mapping[HandlerPath, EvaluationNeeded]:
        uuids, now = [uuid for _, uuid in paths], self._clock()
        is_called = sa.or_(handlers.c.uuid.in_(uuids), handlers.c.old_uuid.in_(uuids))
        found: dict[HandlerPath, EvaluationNeeded] = {}
        for row in self._database.fetch(_CALLABLE.where(is_called)):
            needed = EvaluationNeeded(options=json.loads(row.options), version=row.version, uses=row.uses)
            found[row.service_uuid or "", row.uuid] = needed
            if row.old_until is not None and row.old_until > now:
                found[row.service_uuid or "", row.old_uuid] = needed
        return found

    def add_handlers(self, viewer: User, service_uuid: str, entries: Sequence[NewHandler]) -> tuple[Handler, ...]:
        with self._database.write() as connection:
            return self._add(connection, viewer, service_uuid, entries)

    def add_handler_once(
        self, viewer: User, service_uuid: str, entry: NewHandler, form_sha256: str
    ) -> tuple[Handler, bool]:
        of_form = _select_of_service(viewer, service_uuid).where(handlers.c.form_sha256 == form_sha256)
        with self._database.write() as connection:
            # If the form is sent twice at the same time, the second request waits, and finds the handler of the first.
            lock_services(connection, [service_uuid])
            if row := connection.execute(of_form).first():
                return self._make(connection, [row])[0], False
            (handler,) = self._add(connection, viewer, service_uuid, [entry], form_sha256)
            _refuse_twin(connection, service_uuid, handler.name, handler.number)
            return handler, True

    def _add(
        self,
        connection: sa.Connection,
        viewer: User,
        service_uuid: str,
        entries: Sequence[NewHandler],
        form_sha256: str | None = None,
    ) -> tuple[Handler, ...]:
        service, now = read_service(connection, viewer, service_uuid), self._clock()
        if not entries:
            return ()
        new = [
            {
                "uuid": new_uuid(),
                "service_uuid": service_uuid,
                "name": entry.name,
                "operation": entry.operation.value,
                "created": now,
                "options": json.dumps(dict(entry.options)),
                "maker_uuid": viewer.uuid,
                "form_sha256": form_sha256,
            }
            for entry in entries
        ]
        statement = sa.insert(handlers).returning(handlers, sort_by_parameter_order=True)
        made = tuple(_handler_from(row, 0, None, now) for row in connection.execute(statement, new))
        check_handlers(connection, viewer.uuid, now, len(made))
        name_issuers(connection, [entry.options for entry in entries])
        for handler in made:
            self._record_handler(connection, viewer, AuditEvent.HANDLER_CREATED, handler, service=service)
        return made

    def change_handler(
        self,
        viewer: User,
        service_uuid: str,
        uuid: str,
        change: Callable[[Handler], NewHandler],
        *,
        keeps_names_apart: bool = False,
    ) -> Handler:
        with self._database.write() as connection:
            handler = self._read_handler(connection, viewer, service_uuid, uuid, locks=True)
            changed = change(handler)
            connection.execute(
                sa.update(handlers)
                .where(handlers.c.uuid == uuid)
                .values(name=changed.name, options=json.dumps(dict(changed.options)), version=handlers.c.version + 1)
            )
            name_issuers(connection, [changed.options])
            if keeps_names_apart and changed.name != handler.name:
                _refuse_twin(connection, service_uuid, changed.name, handler.number)
            self._record_handler(
                connection,
                viewer,
                AuditEvent.HANDLER_CHANGED,
                handler,
                audit.describe_changes(_fields(handler), _fields(changed)),
            )
            return self._read_handler(connection, viewer, service_uuid, uuid)

    def rotate_handler(self, viewer: User, service_uuid: str, uuid: str, old_until: datetime) -> Handler:
        new = new_uuid()
        with self._database.write() as connection:
            check_rotation(connection, viewer.uuid, self._clock())
            handler = self._read_handler(connection, viewer, service_uuid, uuid, locks=True)
            self._record_handler(
                connection,
                viewer,
                AuditEvent.HANDLER_ROTATED,
                handler,
                f"the old URL is accepted until {old_until:%Y-%m-%d %H:%M:%S} UTC",
            )
            connection.execute(
                sa.update(handlers)
                .where(handlers.c.uuid == uuid)
                .values(uuid=new, old_uuid=uuid, old_until=old_until, old_called=None, old_address=None)
            )
            return self._read_handler(connection, viewer, service_uuid, new)

    def delete_handler(self, viewer: User, service_uuid: str, uuid: str) -> None:
        with self._database.write() as connection:
            handler = self._read_handler(connection, viewer, service_uuid, uuid, locks=True)
            self._record_handler(connection, viewer, AuditEvent.HANDLER_REVOKED, handler)
            connection.execute(sa.delete(handlers).where(handlers.c.uuid == uuid))

    def unused_handlers(
        self, viewer: User, before: datetime | None, query: Query, *, by_age: bool = False
    ) -> Page[Handler]:
        with self._database.read() as connection:
            statement = sa.select(handlers).join(services).where(_is_visible(viewer), _IS_SHOWN)
            last_used = sa.func.coalesce(handlers.c.last_called, handlers.c.created, type_=handlers.c.created.type)
            if before is not None:
                statement = statement.where(last_used < before)
            if before is not None and not by_age:
                uncounted = sa.select(deliveries.c.handler_seq).where(delivery_log.is_uncounted(connection))
                statement = statement.where(handlers.c.seq.not_in(uncounted))
            return read_page(
                connection,
                statement,
                query,
                [last_used if by_age else services.c.name, handlers.c.seq],
                lambda rows: self._make(connection, rows),
            )

    def _read_handler(
        self, connection: sa.Connection, viewer: User, service_uuid: str, reference: str | int, *, locks: bool = False
    ) -> Handler:
        """Return a handler; with `locks`, no call sees it change before the transaction ends."""
        if locks:
            lock_services(connection, [service_uuid])
        return self._make(connection, [read_one(connection, select_handler(viewer, service_uuid, reference))])[0]

    def _record_handler(
        self,
        connection: sa.Connection,
        viewer: User,
        what: AuditEvent,
        handler: Handler,
        more: str = "",
        *,
        service: Service | None = None,
    ) -> None:
        named = f"{handler.operation} {handler.name!r}" if handler.name else str(handler.operation)
        audit.record(
            connection,
            viewer,
            what,
            self._clock(),
            service=service or read_service(connection, viewer, handler.service_uuid),
            handler=handler.number,
            details="; ".join(filter(None, (named, more))),
        )

    def _make(self, connection: sa.Connection, rows: Sequence[Row]) -> list[Handler]:
        """Return the handlers of rows, including calls that are not yet counted in the rows."""
        recent = delivery_log.recent_calls(connection, [row.seq for row in rows])
        return [_handler_from(row, *recent.get(row.seq, (0, None)), self._clock()) for row in rows]


def select_handler(viewer: User, service_uuid: str, reference: str | int) -> sa.Select[Any]:
    """Select a handler of a service that the viewer may see, by its UUID or its number."""
    column: sa.Column[Any] = handlers.c.seq if isinstance(reference, int) else handlers.c.uuid
    return _select_of_service(viewer, service_uuid).where(column == reference)


def _select_of_service(viewer: User, service_uuid: str) -> sa.Select[Any]:
    return (
        sa.select(handlers)
        .join(services, services.c.uuid == handlers.c.service_uuid)
        .where(services.c.uuid == service_uuid, _is_visible(viewer), _IS_SHOWN)
    )


def _is_visible(viewer: User) -> sa.ColumnElement[bool]:
    return sa.and_(visible_to(viewer), sa.not_(services.c.terminated))


def _refuse_twin(connection: sa.Connection, service_uuid: str, name: str | None, number: int) -> None:
    """Raise ConflictError if another handler of the service has the new name of this handler."""
    twin = connection.scalar(
        sa.select(handlers.c.seq)
        .where(handlers.c.service_uuid == service_uuid, handlers.c.name == name)
        .where(handlers.c.seq != number, handlers.c.name != "")
        .limit(1)
    )
    if twin is not None:
        with about("name"):
            raise ConflictError(f"handler {twin} of this service has the name {name!r}: choose another name")


def _fields(handler: Handler | NewHandler) -> dict[str, object]:
    return {"name": handler.name, **handler.options}


def _handler_from(row: Row, recent_calls: int, last_call: datetime | None, now: datetime) -> Handler:
    is_rotated = row.old_uuid is not None and row.old_until is not None and row.old_until > now
    return value_from(
        row,
        Handler,
        number=row.seq,
        operation=Operation(row.operation),
        options=json.loads(row.options),
        calls=row.calls + recent_calls,
        last_called=last_call or row.last_called,
        rotation=value_from(row, Rotation) if is_rotated else None,
    )
