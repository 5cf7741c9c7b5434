"""Webhook handlers as the application sees them, what they received, and what came of it."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.errors import NOT_FOUND, NotFoundError
from tutumd.model import (
    Delivery,
    DeliveryOutcome,
    Handler,
    NewHandler,
    Operation,
    Page,
    Progress,
    Query,
    Rotation,
    User,
)
from tutumd.ports import Clock
from tutumd.store import call_counts
from tutumd.store.database import Database
from tutumd.store.row_mapping import Row, action_from, filtered, new_uuid, read_service, select_actions, visible
from tutumd.store.tables import actions, deliveries, handlers, services


class SqlHandlers:
    """The part of Store of ports.py that is about webhook handlers and deliveries."""

    _database: Database
    _clock: Clock

    def handlers(self, viewer: User, service_uuid: str, query: Query) -> Page[Handler]:
        """See ports.py."""
        statement = sa.select(handlers).where(handlers.c.service_uuid == service_uuid)
        page, count = filtered(statement, query, {"uuid": handlers.c.uuid, "name": handlers.c.name})
        with self._database.read() as connection:
            read_service(connection, viewer, service_uuid)
            found = self._read(connection, page.order_by(handlers.c.seq))
            total = connection.execute(count).scalar_one()
        return Page(objects=found, total=total)

    def handler(self, viewer: User, service_uuid: str, uuid: str) -> Handler:
        """See ports.py."""
        with self._database.read() as connection:
            read_service(connection, viewer, service_uuid)
            return self._one(connection, service_uuid, uuid)

    def add_handlers(self, viewer: User, service_uuid: str, entries: Sequence[NewHandler]) -> tuple[Handler, ...]:
        """See ports.py."""
        now = self._clock()
        made = tuple(
            Handler(
                uuid=new_uuid(),
                service_uuid=service_uuid,
                name=entry.name,
                operation=entry.operation,
                created=now,
                options=entry.options,
            )
            for entry in entries
        )
        with self._database.write() as connection:
            read_service(connection, viewer, service_uuid)
            if made:
                connection.execute(sa.insert(handlers), [_values(handler) for handler in made])
        return made

    def change_handler(
        self, viewer: User, service_uuid: str, uuid: str, change: Callable[[Handler], NewHandler]
    ) -> Handler:
        """See ports.py."""
        with self._database.write() as connection:
            read_service(connection, viewer, service_uuid)
            wanted = change(self._locked(connection, service_uuid, uuid))
            connection.execute(
                sa.update(handlers)
                .where(handlers.c.uuid == uuid)
                .values(name=wanted.name, options=json.dumps(dict(wanted.options)), version=handlers.c.version + 1)
            )
            return self._one(connection, service_uuid, uuid)

    def rotate_handler(self, viewer: User, service_uuid: str, uuid: str, old_until: datetime) -> Handler:
        """See ports.py."""
        new = new_uuid()
        with self._database.write() as connection:
            read_service(connection, viewer, service_uuid)
            self._locked(connection, service_uuid, uuid)
            connection.execute(
                sa.update(handlers)
                .where(handlers.c.uuid == uuid)
                .values(uuid=new, old_uuid=uuid, old_until=old_until, old_called=None, old_address=None)
            )
            return self._one(connection, service_uuid, new)

    def delete_handler(self, viewer: User, service_uuid: str, uuid: str) -> None:
        """See ports.py."""
        with self._database.write() as connection:
            read_service(connection, viewer, service_uuid)
            deleted = connection.execute(
                sa.delete(handlers).where(handlers.c.uuid == uuid, handlers.c.service_uuid == service_uuid)
            )
            if not deleted.rowcount:
                raise NotFoundError(NOT_FOUND)

    def unused_handlers(self, viewer: User, before: datetime, query: Query) -> Page[Handler]:
        """See ports.py."""
        with self._database.read() as connection:
            recent = sa.select(deliveries.c.handler_seq).where(deliveries.c.seq > call_counts.counted(connection))
            statement = (
                sa.select(handlers)
                .join(services, services.c.uuid == handlers.c.service_uuid)
                .where(
                    visible(viewer),
                    sa.not_(services.c.terminated),
                    handlers.c.created < before,
                    sa.or_(handlers.c.last_called.is_(None), handlers.c.last_called < before),
                    handlers.c.seq.not_in(recent),
                )
            )
            total = connection.execute(sa.select(sa.func.count()).select_from(statement.subquery())).scalar_one()
            page = statement.order_by(services.c.name, handlers.c.seq).limit(query.limit).offset(query.offset)
            found = self._read(connection, page)
        return Page(objects=found, total=total)

    def deliveries(self, viewer: User, service_uuid: str, handler_uuid: str, query: Query) -> Page[Delivery]:
        """See ports.py."""
        with self._database.read() as connection:
            read_service(connection, viewer, service_uuid)
            number = self._number(connection, service_uuid, handler_uuid)
            caused = (
                sa.select(deliveries.c.seq)
                .join(actions, actions.c.seq == deliveries.c.action_seq)
                .where(actions.c.service_uuid == service_uuid, deliveries.c.handler_seq == number)
            )
            apart = sa.select(deliveries.c.seq).where(
                deliveries.c.action_seq.is_(None), deliveries.c.handler_seq == number
            )
            all_ = sa.union_all(caused, apart).subquery()
            total = connection.execute(sa.select(sa.func.count()).select_from(all_)).scalar_one()
            of_page = sa.select(all_.c.seq).order_by(all_.c.seq.desc()).limit(query.limit).offset(query.offset)
            rows = connection.execute(
                _select_deliveries().where(deliveries.c.seq.in_(of_page)).order_by(deliveries.c.seq.desc())
            ).all()
        return Page(objects=tuple(_delivery_from(row) for row in rows), total=total)

    def delivery(self, viewer: User, service_uuid: str, handler_uuid: str, number: int) -> Delivery:
        """See ports.py."""
        with self._database.read() as connection:
            read_service(connection, viewer, service_uuid)
            of_handler = deliveries.c.handler_seq == self._number(connection, service_uuid, handler_uuid)
            row = connection.execute(_select_deliveries().where(deliveries.c.seq == number, of_handler)).first()
        if row is None:
            raise NotFoundError(NOT_FOUND)
        return _delivery_from(row, raw=row.content or "{}")

    def progress(self, wanted: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], Progress]:
        """See ports.py."""
        with self._database.read() as connection:
            rows = connection.execute(select_actions().where(actions.c.seq.in_({action for _, action in wanted}))).all()
            seen = {row.seq: action_from(row, self._clock()) for row in rows}
            found = connection.execute(
                sa.select(handlers.c.seq, handlers.c.service_uuid, handlers.c.options).where(
                    handlers.c.seq.in_({handler for handler, _ in wanted})
                )
            )
            present = {row.seq: row for row in found}
        return {
            (handler, action): Progress(action=seen[action], options=json.loads(present[handler].options))
            for handler, action in wanted
            if handler in present and action in seen and present[handler].service_uuid == seen[action].service_uuid
        }

    def _one(self, connection: sa.Connection, service_uuid: str, uuid: str) -> Handler:
        found = self._read(connection, _select_one(service_uuid, uuid))
        if not found:
            raise NotFoundError(NOT_FOUND)
        return found[0]

    def _locked(self, connection: sa.Connection, service_uuid: str, uuid: str) -> Handler:
        """Read a handler that stays as it is until the transaction ends."""
        connection.execute(_select_one(service_uuid, uuid).with_for_update()).all()
        return self._one(connection, service_uuid, uuid)

    def _number(self, connection: sa.Connection, service_uuid: str, uuid: str) -> int:
        row = connection.execute(_select_one(service_uuid, uuid)).first()
        if row is None:
            raise NotFoundError(NOT_FOUND)
        return int(row.seq)

    def _read(self, connection: sa.Connection, statement: sa.Select[Any]) -> tuple[Handler, ...]:
        rows = connection.execute(statement).all()
        fresh = call_counts.not_counted(connection, [row.seq for row in rows])
        return tuple(_handler_from(row, *fresh.get(row.seq, (0, None)), self._clock()) for row in rows)


def _select_one(service_uuid: str, uuid: str) -> sa.Select[Any]:
    return sa.select(handlers).where(handlers.c.uuid == uuid, handlers.c.service_uuid == service_uuid)


def _select_deliveries() -> sa.Select[Any]:
    return sa.select(deliveries, actions.c.uuid.label("action_uuid")).outerjoin(
        actions, actions.c.seq == deliveries.c.action_seq
    )


def _handler_from(row: Row, calls: int, last: datetime | None, now: datetime) -> Handler:
    rotation = None
    if row.old_uuid is not None and row.old_until is not None and row.old_until > now:
        rotation = Rotation(old_until=row.old_until, old_called=row.old_called, old_address=row.old_address)
    return Handler(
        uuid=row.uuid,
        service_uuid=row.service_uuid,
        name=row.name,
        operation=Operation(row.operation),
        created=row.created,
        options=json.loads(row.options),
        calls=row.calls + calls,
        last_called=last or row.last_called,
        rotation=rotation,
    )


def _delivery_from(row: Row, raw: str = "{}") -> Delivery:
    return Delivery(
        number=row.seq,
        action_uuid=row.action_uuid,
        amount=row.amount,
        received=row.received,
        address=row.address,
        user_agent=row.user_agent,
        body_size=row.body_size,
        outcome=DeliveryOutcome(row.outcome),
        reason=row.reason,
        tag=row.tag,
        content=json.loads(raw),
        raw=raw,
    )


def _values(handler: Handler) -> dict[str, Any]:
    return {
        "uuid": handler.uuid,
        "service_uuid": handler.service_uuid,
        "name": handler.name,
        "operation": handler.operation.value,
        "created": handler.created,
        "options": json.dumps(dict(handler.options)),
    }
