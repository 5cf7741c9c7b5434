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
    User,
)
from tutumd.store.objects import audit
from tutumd.store.objects.accounts import check_handlers, check_rotation
from tutumd.store.objects.groups import IMAGE, check_selector, group_columns, group_fields, select_groups
from tutumd.store.objects.issuers import name_issuers
from tutumd.store.objects.row_mapping import Row, read_one, read_page, read_service, value_from, visible_to
from tutumd.store.queue.snapshots import lock_services
from tutumd.store.sql import StorePart, insert
from tutumd.store.tables import deliveries, groups, handlers, new_uuid, services, users
from tutumd.store.upkeep import delivery_log

_CALLABLE = (
    sa.select(
        *(handlers.c[name] for name in ("uuid", "service_uuid", "options", "version", "uses", "old_uuid", "old_until"))
    )
    .outerjoin(services, services.c.uuid == handlers.c.service_uuid)
    .where(sa.or_(handlers.c.service_uuid.is_(None), sa.not_(services.c.terminated)), handlers.c.group_seq.is_(None))
)
_IS_SHOWN = handlers.c.group_seq.is_(None)
_NO_GROUP = {name: getattr(NewHandler(), name) for name in ("selector", "sequence", "on_failure")} | {"owner": ""}


class SqlHandlers(StorePart):
    """The part of Store in tutumd.ports about webhook handlers, and groups, which are handlers without a service."""

    def handlers(self, viewer: User, service_uuid: str, query: Query) -> Page[Handler]:
        filters = {"uuid": handlers.c.uuid, "name": handlers.c.name}
        shown = select_handlers(viewer, service_uuid)
        with self._database.read() as connection:
            if service_uuid:
                read_service(connection, viewer, service_uuid)
            return read_page(
                connection, shown, query, [handlers.c.seq], lambda rows: self._make(connection, rows), filters
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
        return self._add(viewer, service_uuid, entries)[0]

    def add_handler_once(
        self, viewer: User, service_uuid: str, entry: NewHandler, form_sha256: str
    ) -> tuple[Handler, bool]:
        (handler,), is_new = self._add(viewer, service_uuid, [entry], form_sha256)
        return handler, is_new

    def _add(
        self, viewer: User, service_uuid: str, entries: Sequence[NewHandler], form_sha256: str | None = None
    ) -> tuple[tuple[Handler, ...], bool]:
        now = self._clock()
        new = [
            {
                "uuid": new_uuid(),
                "service_uuid": service_uuid or None,
                "operation": entry.operation.value,
                "created": now,
                "maker_uuid": viewer.uuid,
                "form_sha256": form_sha256,
                **_columns(entry),
            }
            for entry in entries
        ]
        shown = select_handlers(viewer, service_uuid).order_by(handlers.c.seq)
        with self._database.write() as connection:
            if service_uuid:
                read_service(connection, viewer, service_uuid)
            else:
                for entry in entries:
                    check_selector(connection, viewer, entry.selector)
            if not new:
                return (), True
            added = insert(connection, handlers).on_conflict_do_nothing()
            seqs = connection.scalars(added.returning(handlers.c.seq, sort_by_parameter_order=True), new).all()
            if not seqs:
                is_of_form = sa.and_(handlers.c.maker_uuid == viewer.uuid, handlers.c.form_sha256 == form_sha256)
                return tuple(self._make(connection, [read_one(connection, shown.where(is_of_form))])), False
            if not service_uuid:
                for seq, entry in zip(seqs, entries, strict=True):
                    of_group = {"handler_seq": seq, "user_uuid": viewer.uuid, **group_columns(entry)}
                    connection.execute(sa.insert(groups).values(of_group))
            check_handlers(connection, viewer.uuid, now, len(seqs))
            name_issuers(connection, [entry.options for entry in entries])
            made = self._make(connection, connection.execute(shown.where(handlers.c.seq.in_(seqs))).all())
            for handler in made:
                if form_sha256 or handler.is_group:
                    _refuse_twin(connection, handler)
            self._record_handlers(connection, viewer, AuditEvent.HANDLER_CREATED, made)
            return tuple(made), True

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
            new = change(handler)
            if new.selector != handler.selector:
                check_selector(connection, viewer, new.selector)
            changed = {**_columns(new), "version": handlers.c.version + 1}
            connection.execute(sa.update(handlers).where(handlers.c.seq == handler.number).values(changed))
            if handler.is_group:
                of_group = groups.c.handler_seq == handler.number
                connection.execute(sa.update(groups).where(of_group).values(group_columns(new)))
            name_issuers(connection, [new.options])
            self._record_handlers(
                connection,
                viewer,
                AuditEvent.HANDLER_CHANGED,
                [handler],
                audit.describe_changes(_fields(handler), _fields(new)),
            )
            changed_handler = self._read_handler(connection, viewer, service_uuid, uuid)
            if (keeps_names_apart or handler.is_group) and new.name != handler.name:
                _refuse_twin(connection, changed_handler)
            return changed_handler

    def rotate_handler(self, viewer: User, service_uuid: str, uuid: str, old_until: datetime) -> Handler:
        new = new_uuid()
        with self._database.write() as connection:
            check_rotation(connection, viewer.uuid, self._clock())
            handler = self._read_handler(connection, viewer, service_uuid, uuid, locks=True)
            until = f"the old URL is accepted until {old_until:%Y-%m-%d %H:%M:%S} UTC"
            self._record_handlers(connection, viewer, AuditEvent.HANDLER_ROTATED, [handler], until)
            rotated = {"uuid": new, "old_uuid": uuid, "old_until": old_until, "old_called": None, "old_address": None}
            connection.execute(sa.update(handlers).where(handlers.c.seq == handler.number).values(rotated))
            return self._read_handler(connection, viewer, service_uuid, new)

    def delete_handler(self, viewer: User, service_uuid: str, uuid: str) -> None:
        with self._database.write() as connection:
            handler = self._read_handler(connection, viewer, service_uuid, uuid, locks=True)
            self._record_handlers(connection, viewer, AuditEvent.HANDLER_REVOKED, [handler])
            connection.execute(sa.delete(handlers).where(handlers.c.seq == handler.number))

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
        chosen = select_handler(viewer, service_uuid, reference)
        if locks and service_uuid:
            lock_services(connection, [service_uuid])
        elif locks:
            read_one(connection, chosen.with_for_update(of=groups, key_share=True))
        return self._make(connection, [read_one(connection, chosen)])[0]

    def _record_handlers(
        self,
        connection: sa.Connection,
        viewer: User,
        what: AuditEvent,
        changed: Sequence[Handler],
        more: str = "",
    ) -> None:
        """Record an event of handlers of one service, or of groups."""
        service_uuid = changed[0].service_uuid
        service = read_service(connection, viewer, service_uuid) if service_uuid else None
        for handler in changed:
            kind = handler.operation.value if service else "group"
            details = "; ".join(filter(None, (f"{kind} {handler.name!r}" if handler.name else kind, more)))
            audit.record(
                connection, viewer, what, self._clock(), service=service, handler=handler.number, details=details
            )

    def _make(self, connection: sa.Connection, rows: Sequence[Row]) -> list[Handler]:
        """Return the handlers of rows, including calls that are not yet counted in the rows."""
        recent = delivery_log.recent_calls(connection, [row.seq for row in rows])
        return [_handler_from(row, *recent.get(row.seq, (0, None)), self._clock()) for row in rows]


def select_handler(viewer: User, service_uuid: str, reference: str | int) -> sa.Select[Any]:
    """Select a handler that the viewer may see, by its UUID or its number."""
    column: sa.Column[Any] = handlers.c.seq if isinstance(reference, int) else handlers.c.uuid
    return select_handlers(viewer, service_uuid).where(column == reference)


def select_handlers(viewer: User, service_uuid: str) -> sa.Select[Any]:
    """Select the handlers of a service that the viewer may see, or their groups if `service_uuid` is empty."""
    if not service_uuid:
        return select_groups(viewer)
    of_service = sa.select(handlers).join(services, services.c.uuid == handlers.c.service_uuid)
    return of_service.where(services.c.uuid == service_uuid, _is_visible(viewer), _IS_SHOWN)


def _is_visible(viewer: User) -> sa.ColumnElement[bool]:
    return sa.and_(visible_to(viewer), sa.not_(services.c.terminated))


def _columns(new: NewHandler) -> dict[str, Any]:
    """Return the columns that a change sets."""
    options = dict(new.options) | ({IMAGE: new.selector.image} if new.selector.image else {})
    return {"name": new.name, "options": json.dumps(options)}


def _refuse_twin(connection: sa.Connection, handler: Handler) -> None:
    """Raise ConflictError if another handler of the service, or another group of the owner, has the handler's name."""
    is_near, place = handlers.c.service_uuid == handler.service_uuid, " of this service"
    if handler.is_group:
        of_owner = sa.select(groups.c.handler_seq).join(users, users.c.uuid == groups.c.user_uuid)
        is_near, place = handlers.c.seq.in_(of_owner.where(users.c.name == handler.owner)), ""
    is_twin = sa.and_(is_near, handlers.c.name == handler.name, handlers.c.seq != handler.number)
    twin = connection.scalar(sa.select(handlers.c.seq).where(is_twin, handlers.c.name != "").limit(1))
    if twin is not None:
        kind = "group" if handler.is_group else "handler"
        with about("name"):
            raise ConflictError(f"{kind} {twin}{place} has the name {handler.name!r}: choose another name")


def _fields(handler: NewHandler) -> dict[str, object]:
    return {"name": handler.name, **group_columns(handler), **handler.options}


def _handler_from(row: Row, recent_calls: int, last_call: datetime | None, now: datetime) -> Handler:
    is_rotated = row.old_uuid is not None and row.old_until is not None and row.old_until > now
    options = json.loads(row.options)
    options.pop(IMAGE, None)
    return value_from(
        row,
        Handler,
        number=row.seq,
        operation=Operation(row.operation),
        options=options,
        calls=row.calls + recent_calls,
        last_called=last_call or row.last_called,
        rotation=value_from(row, Rotation) if is_rotated else None,
        **(group_fields(row) if row.service_uuid is None else _NO_GROUP),
    )
